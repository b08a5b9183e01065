//! A recursive-descent parser after Trino's grammar.
//!
//! It builds no tree of expressions, because nothing here needs one: what is not a relation keeps its tokens.
//! It notes what the text mentions while it walks it, one token ahead, in time linear in the text. Each
//! level of nesting is counted.

mod change;
mod expression;
mod function;
mod json;
mod other;
mod pattern;
mod primary;
mod query;
mod relation;
mod statement;
mod types;

use std::collections::HashMap;
use std::ops::Range;

use super::error::{SqlError, locate};
use super::facts::{Call, Facts, Reference, ScopeId, Special, SpecialKind};
use super::lexer::{Symbol, Token, TokenKind};
use super::name::unquoted;
use super::{Ident, Keyword, Limits, fold_column};

/// What a rule gives: a value, or why the text is not of the language.
pub(super) type Parsed<T = ()> = Result<T, SqlError>;

pub(super) struct Parser<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
    depth: u32,
    limits: &'a Limits,
    pub(super) facts: Facts,
    /// The CTE names that are visible here, folded; the innermost last.
    ctes: Names,
    /// The names of the recursive WITH queries around.
    recursive: Vec<String>,
    /// The names of lambda parameters that are visible here, folded.
    lambdas: Names,
    /// The query specification that names are looked up in.
    scope: Option<ScopeId>,
    /// A primary expression has been read already; the expression goes on behind it.
    pending: bool,
    references: References,
}

/// Which names of columns are noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum References {
    /// None: whoever asks for the relations alone.
    None,
    /// Those of two parts and more, and qualified stars.
    Qualified,
    /// All: in a text that is an expression on its own.
    Every,
}

/// Names that are visible, the innermost last; each is found at once, however many there are.
#[derive(Default)]
struct Names {
    order: Vec<String>,
    count: HashMap<String, u32>,
}

impl Names {
    fn len(&self) -> usize {
        self.order.len()
    }

    fn contains(&self, name: &str) -> bool {
        self.count.contains_key(name)
    }

    fn push(&mut self, name: String) {
        *self.count.entry(name.clone()).or_default() += 1;
        self.order.push(name);
    }

    /// Forgets all but the outermost.
    fn truncate(&mut self, length: usize) {
        for name in self.order.drain(length.min(self.order.len())..) {
            if let Some(count) = self.count.get_mut(&name) {
                *count -= 1;
                if *count == 0 {
                    self.count.remove(&name);
                }
            }
        }
    }
}

impl<'a> Parser<'a> {
    pub(super) fn new(
        text: &'a str,
        tokens: &'a [Token],
        limits: &'a Limits,
        references: References,
    ) -> Self {
        Self {
            text,
            tokens,
            at: 0,
            depth: 0,
            limits,
            facts: Facts::default(),
            ctes: Names::default(),
            recursive: Vec::new(),
            lambdas: Names::default(),
            scope: None,
            pending: false,
            references,
        }
    }

    /// A parser of one expression, in which every reference is noted.
    pub(super) fn for_expression(text: &'a str, tokens: &'a [Token], limits: &'a Limits) -> Self {
        let mut parser = Self::new(text, tokens, limits, References::Every);
        parser.scope = Some(parser.new_scope(None));
        parser
    }

    // Looking.

    fn kind(&self, ahead: usize) -> Option<TokenKind> {
        self.tokens.get(self.at + ahead).map(|token| token.kind)
    }

    fn is(&self, keyword: Keyword) -> bool {
        self.is_at(0, keyword)
    }

    fn is_at(&self, ahead: usize, keyword: Keyword) -> bool {
        self.kind(ahead) == Some(TokenKind::Keyword(keyword))
    }

    fn is_any(&self, keywords: &[Keyword]) -> bool {
        matches!(self.kind(0), Some(TokenKind::Keyword(keyword)) if keywords.contains(&keyword))
    }

    fn is_symbol(&self, symbol: Symbol) -> bool {
        self.is_symbol_at(0, symbol)
    }

    fn is_symbol_at(&self, ahead: usize, symbol: Symbol) -> bool {
        self.kind(ahead) == Some(TokenKind::Symbol(symbol))
    }

    fn is_identifier_at(&self, ahead: usize) -> bool {
        match self.kind(ahead) {
            Some(TokenKind::Word | TokenKind::Quoted) => true,
            Some(TokenKind::Keyword(keyword)) => !keyword.is_reserved(),
            _ => false,
        }
    }

    fn is_identifier(&self) -> bool {
        self.is_identifier_at(0)
    }

    fn is_string_at(&self, ahead: usize) -> bool {
        matches!(self.kind(ahead), Some(TokenKind::String | TokenKind::UnicodeString))
    }

    fn at_end(&self) -> bool {
        self.at == self.tokens.len()
    }

    // Taking.

    fn take(&mut self, keyword: Keyword) -> bool {
        let found = self.is(keyword);
        self.at += usize::from(found);
        found
    }

    fn take_symbol(&mut self, symbol: Symbol) -> bool {
        let found = self.is_symbol(symbol);
        self.at += usize::from(found);
        found
    }

    fn take_any(&mut self, keywords: &[Keyword]) -> bool {
        let found = self.is_any(keywords);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, keyword: Keyword) -> Parsed {
        if self.take(keyword) { Ok(()) } else { Err(self.expected(keyword.text())) }
    }

    fn expect_symbol(&mut self, symbol: Symbol, shown: &str) -> Parsed {
        if self.take_symbol(symbol) { Ok(()) } else { Err(self.expected(shown)) }
    }

    fn expect_any(&mut self, keywords: &[Keyword]) -> Parsed {
        if self.take_any(keywords) {
            return Ok(());
        }
        let shown: Vec<&str> = keywords.iter().map(|keyword| keyword.text()).collect();
        Err(self.expected(&shown.join(" or ")))
    }

    fn expect_all(&mut self, keywords: &[Keyword]) -> Parsed {
        keywords.iter().try_for_each(|keyword| self.expect(*keyword))
    }

    fn expect_end(&mut self) -> Parsed {
        if self.at_end() { Ok(()) } else { Err(self.expected("the end of the statement")) }
    }

    fn open(&mut self) -> Parsed {
        self.expect_symbol(Symbol::Open, "'('")
    }

    fn close(&mut self) -> Parsed {
        self.expect_symbol(Symbol::Close, "')'")
    }

    fn string(&mut self) -> Parsed {
        if !self.is_string_at(0) {
            return Err(self.expected("a string"));
        }
        let unicode = self.kind(0) == Some(TokenKind::UnicodeString);
        self.at += 1;
        if unicode && self.take(Keyword::Uescape) {
            if self.kind(0) != Some(TokenKind::String) {
                return Err(self.expected("a string"));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn integer(&mut self) -> Parsed {
        if self.kind(0) == Some(TokenKind::Integer) {
            self.at += 1;
            return Ok(());
        }
        Err(self.expected("a whole number"))
    }

    /// The identifier that a token is.
    pub(super) fn ident_of(&self, token: usize) -> Ident {
        let Token { kind, start, end } = self.tokens[token];
        let slice = &self.text[start as usize..end as usize];
        match kind {
            TokenKind::Quoted => Ident { value: unquoted(slice).into_owned(), quoted: true },
            _ => Ident { value: slice.to_owned(), quoted: false },
        }
    }

    fn identifier(&mut self) -> Parsed<Ident> {
        if !self.is_identifier() {
            return Err(self.expected("an identifier"));
        }
        self.at += 1;
        Ok(self.ident_of(self.at - 1))
    }

    fn skip_identifier(&mut self) -> Parsed {
        if !self.is_identifier() {
            return Err(self.expected("an identifier"));
        }
        self.at += 1;
        Ok(())
    }

    fn qualified_name(&mut self) -> Parsed<(Vec<Ident>, Range<u32>)> {
        let start = self.at;
        let mut parts = vec![self.identifier()?];
        while self.take_symbol(Symbol::Dot) {
            parts.push(self.identifier()?);
        }
        Ok((parts, self.range(start)))
    }

    /// One or more, with commas between.
    fn list(&mut self, mut item: impl FnMut(&mut Self) -> Parsed) -> Parsed {
        loop {
            item(self)?;
            if !self.take_symbol(Symbol::Comma) {
                return Ok(());
            }
        }
    }

    // Noting.

    fn range(&self, start: usize) -> Range<u32> {
        index(start)..index(self.at)
    }

    fn note(&mut self, kind: SpecialKind, start: usize) {
        let tokens = self.range(start);
        self.facts.specials.push(Special { kind, tokens });
    }

    /// Notes the dotted name whose parts stand at `start`, `start + 2` and so on.
    fn note_reference(&mut self, start: usize, parts: usize, star: bool) {
        match self.references {
            References::None => return,
            References::Qualified if parts < 2 => return,
            References::Qualified | References::Every => {}
        }
        if self.lambdas.len() > 0 && self.lambdas.contains(&fold_column(&self.ident_of(start).value)) {
            return;
        }
        let parts = (0..parts).map(|n| (self.ident_of(start + 2 * n), index(start + 2 * n))).collect();
        let scope = self.scope.unwrap_or_default();
        self.facts.references.push(Reference { parts, star, scope });
    }

    /// Notes a call whose arguments are still to come; [`Self::end_call`] is told its number.
    fn note_call(&mut self, name: Vec<Ident>, tokens: Range<u32>, table: bool) -> usize {
        self.facts.calls.push(Call { name, extent: tokens.clone(), tokens, window: false, table });
        self.facts.calls.len() - 1
    }

    fn end_call(&mut self, number: usize, window: bool) {
        let end = index(self.at);
        let call = &mut self.facts.calls[number];
        call.extent.end = end;
        call.window = window;
    }

    // Failing.

    fn location_offset(&self) -> usize {
        self.tokens.get(self.at).map_or(self.text.len(), |token| token.start as usize)
    }

    fn error(&self, what: impl Into<String>) -> SqlError {
        SqlError::Syntax { location: locate(self.text, self.location_offset()), what: what.into() }
    }

    fn expected(&self, what: &str) -> SqlError {
        match self.tokens.get(self.at) {
            None => self.error(format!("the statement ends where {what} was expected")),
            Some(token) => {
                let found = &self.text[token.start as usize..token.end as usize];
                let found: String = found.chars().take(40).collect();
                self.error(format!("mismatched input '{found}', expected {what}"))
            }
        }
    }

    fn unsupported<T>(&self, what: &'static str) -> Parsed<T> {
        Err(SqlError::NotSupported { location: locate(self.text, self.location_offset()), what })
    }

    /// Goes one level deeper for the length of a rule.
    fn nested<T>(&mut self, rule: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == self.limits.depth {
            return Err(SqlError::TooDeep {
                location: locate(self.text, self.location_offset()),
                limit: self.limits.depth,
            });
        }
        self.depth += 1;
        let result = rule(self);
        self.depth -= 1;
        result
    }
}

fn index(at: usize) -> u32 {
    // There are at most `Limits::tokens` tokens, which is checked to fit.
    u32::try_from(at).unwrap_or(u32::MAX)
}
