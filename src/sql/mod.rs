//! Trino's SQL: lexer, parser, and what a statement mentions.
//!
//! The parser is our own, because no other one has the whole of Trino's language, and what a parser does
//! not know is a way round the policy. It is lossless: a statement is its tokens, and the facts point into
//! them. It takes a subset of what Trino 476 takes; what it does not understand is an error.

mod error;
mod expression;
mod facts;
mod keyword;
mod kind;
mod lexer;
mod name;
mod parser;
mod print;
mod repeat;
mod statement;
#[cfg(test)]
mod tests;

pub use error::SqlError;
pub use expression::Expression;
pub use facts::{Call, Position, Reference, Relation, Scope, ScopeId, Special, SpecialKind};
pub use keyword::Keyword;
pub use kind::{Change, Kind, Like, Other};
pub use lexer::{Symbol, Token, TokenKind};
pub use name::{
    Ident, fold_column, fold_name, is_same_column, push_identifier, quote_identifier, quote_string,
};
pub use print::{Edits, Printed, SourceMap};
pub use repeat::{Repeat, repeatable_functions};
pub use statement::Statement;

/// How much of a text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest text, in bytes.
    pub bytes: usize,
    /// The most tokens.
    pub tokens: usize,
    /// The deepest nesting, in levels. A level takes some hundred bytes of stack in a release build, and
    /// some thousand in a debug build.
    pub depth: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1_000_000, tokens: 400_000, depth: 200 }
    }
}

impl Limits {
    fn check(&self, text: &str) -> Result<(), SqlError> {
        let limit = self.bytes.min(u32::MAX as usize / 2);
        if text.len() > limit { Err(SqlError::TooLong { limit, unit: "bytes" }) } else { Ok(()) }
    }
}

fn count(tokens: &[Token]) -> u32 {
    u32::try_from(tokens.len()).unwrap_or(u32::MAX)
}

fn slice<'a>(text: &'a str, tokens: &[Token], range: std::ops::Range<u32>) -> &'a str {
    if range.is_empty() || range.start as usize >= tokens.len() {
        return "";
    }
    // What is behind the last token is nothing.
    let last = tokens.get(range.end as usize - 1).or(tokens.last());
    match (tokens.get(range.start as usize), last) {
        (Some(first), Some(last)) => &text[first.start as usize..last.end as usize],
        _ => "",
    }
}
