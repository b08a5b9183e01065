//! A scalar expression on its own: the SQL of a policy.

use std::sync::Arc;

use super::facts::{Call, Facts, Reference, Scope, Special, SpecialKind};
use super::lexer::{self, Token};
use super::parser::Parser;
use super::{Edits, Limits, Printed, Relation, Repeat, SqlError, print, repeat};

/// A scalar expression on its own.
#[derive(Clone, Debug)]
pub struct Expression {
    text: Arc<str>,
    tokens: Vec<Token>,
    facts: Facts,
}

impl Expression {
    /// Reads an expression. Nothing may stand behind it.
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, SqlError> {
        limits.check(text)?;
        let tokens = lexer::tokens(text, limits.tokens)?;
        let mut parser = Parser::for_expression(text, &tokens, limits);
        parser.expression_and_end()?;
        let facts = parser.facts;
        Ok(Self { text: text.into(), tokens, facts })
    }

    /// The columns that it names: dotted names that are neither functions nor lambda parameters.
    pub fn columns(&self) -> &[Reference] {
        &self.facts.references
    }

    /// The functions that it calls.
    pub fn calls(&self) -> &[Call] {
        &self.facts.calls
    }

    /// The values that it uses without calling a function, and the operators that are functions in disguise.
    pub fn specials(&self) -> &[Special] {
        &self.facts.specials
    }

    /// Whether it holds a query.
    pub fn has_subquery(&self) -> bool {
        self.subqueries() > 0
    }

    /// How many queries are operands in it.
    pub fn subqueries(&self) -> usize {
        self.facts.specials.iter().filter(|special| special.kind == SpecialKind::Subquery).count()
    }

    /// The scopes that its columns are looked up in. The first is that outside of all queries.
    pub fn scopes(&self) -> &[Scope] {
        &self.facts.scopes
    }

    /// The relations that its queries read.
    pub fn relations(&self) -> &[Relation] {
        &self.facts.relations
    }

    /// The text of some of its tokens.
    pub fn slice(&self, tokens: std::ops::Range<u32>) -> &str {
        super::slice(&self.text, &self.tokens, tokens)
    }

    /// Prints it, with some tokens replaced.
    pub fn print(&self, edits: &Edits) -> Printed {
        print::print(&self.text, &self.tokens, 0..super::count(&self.tokens), edits)
    }

    /// What its value depends on besides the columns that it reads. Calls of `literals` are not looked at.
    pub fn repeat(&self, literals: &[&str]) -> Repeat {
        let is_literal = |call: &&Call| match &call.name[..] {
            [name] => literals.contains(&name.value.to_lowercase().as_str()),
            _ => false,
        };
        let calls = self.facts.calls.iter().filter(|call| !is_literal(call));
        repeat::of(&self.tokens, calls, &self.facts.specials, |tokens| self.slice(tokens))
    }

    /// Its tokens.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// How many tokens it has.
    pub fn token_count(&self) -> u32 {
        super::count(&self.tokens)
    }
}
