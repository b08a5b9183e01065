//! A statement: its tokens, its kind, what it mentions.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::facts::Facts;
use super::lexer::{self, Token, TokenKind};
use super::name::unquoted;
use super::parser::{Parser, References};
use super::{
    Call, Edits, Ident, Kind, Limits, Printed, Reference, Relation, Repeat, Scope, Special, SqlError, print,
    repeat,
};

/// A statement that has been read to its end.
#[derive(Clone, Debug)]
pub struct Statement {
    text: Arc<str>,
    tokens: Vec<Token>,
    kind: Kind,
    facts: Facts,
}

impl Statement {
    /// Reads a statement. Nothing may stand behind it, also no semicolon: Trino takes none.
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, SqlError> {
        Self::read(text, limits, References::Qualified)
    }

    /// The same, but the columns that it names are not noted: [`Self::references`] is empty.
    pub fn parse_relations(text: &str, limits: &Limits) -> Result<Self, SqlError> {
        Self::read(text, limits, References::None)
    }

    fn read(text: &str, limits: &Limits, references: References) -> Result<Self, SqlError> {
        limits.check(text)?;
        let tokens = lexer::tokens(text, limits.tokens)?;
        let mut parser = Parser::new(text, &tokens, limits, references);
        let kind = parser.statement(None)?;
        let facts = parser.facts;
        Ok(Self { text: text.into(), tokens, kind, facts })
    }

    /// A statement that is the end of another's text.
    pub(super) fn from_parts(text: &str, tokens: Vec<Token>, kind: Kind, facts: Facts) -> Self {
        Self { text: text.into(), tokens, kind, facts }
    }

    /// All its tokens, by their numbers.
    pub fn whole(&self) -> Range<u32> {
        0..super::count(&self.tokens)
    }

    /// What it is.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The relations that it names, CTEs left out, in the order of the text. Those of a statement within it
    /// (PREPARE, EXPLAIN) are the inner statement's.
    pub fn relations(&self) -> &[Relation] {
        &self.facts.relations
    }

    /// Its query specifications.
    pub fn scopes(&self) -> &[Scope] {
        &self.facts.scopes
    }

    /// Its dotted names of two parts and more, and its qualified stars.
    pub fn references(&self) -> &[Reference] {
        &self.facts.references
    }

    /// The functions that it calls.
    pub fn calls(&self) -> &[Call] {
        &self.facts.calls
    }

    /// What it computes without calling a function.
    pub fn specials(&self) -> &[Special] {
        &self.facts.specials
    }

    /// Whether it has functions of its own.
    pub fn has_inline_functions(&self) -> bool {
        self.facts.inline_functions
    }

    /// The session properties that it sets for itself.
    pub fn session_properties(&self) -> &[Vec<Ident>] {
        &self.facts.session_properties
    }

    /// What its answer depends on besides the tables that it reads. Of a statement within it (PREPARE, EXPLAIN), ask that.
    pub fn repeat(&self) -> Repeat {
        repeat::of(&self.tokens, &self.facts.calls, &self.facts.specials, |tokens| self.slice(tokens))
    }

    /// Its tokens.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The text of some of its tokens, as it was read.
    pub fn slice(&self, tokens: Range<u32>) -> &str {
        super::slice(&self.text, &self.tokens, tokens)
    }

    /// The name that a token is, its case kept; none where it is no identifier.
    pub fn identifier(&self, token: u32) -> Option<Cow<'_, str>> {
        let text = self.slice(token..token + 1);
        match self.tokens.get(token as usize)?.kind {
            TokenKind::Quoted => Some(unquoted(text)),
            // Words with a meaning of their own elsewhere are names all the same.
            TokenKind::Keyword(keyword) if keyword.is_reserved() => None,
            TokenKind::Word | TokenKind::Keyword(_) => Some(Cow::Borrowed(text)),
            _ => None,
        }
    }

    /// Prints it, with some tokens replaced.
    pub fn print(&self, edits: &Edits) -> Printed {
        self.print_range(0..super::count(&self.tokens), edits)
    }

    /// Prints some of its tokens.
    pub fn print_range(&self, tokens: Range<u32>, edits: &Edits) -> Printed {
        print::print(&self.text, &self.tokens, tokens, edits)
    }
}
