//! FROM: joins, table names, subqueries, table functions.

use super::query::Inner;
use super::{Parsed, Parser};
use crate::sql::Keyword;
use crate::sql::facts::{Position, Relation};
use crate::sql::lexer::{Symbol, TokenKind};

impl Parser<'_> {
    pub(super) fn relation(&mut self) -> Parsed {
        self.sampled_relation()?;
        self.joins()
    }

    fn joins(&mut self) -> Parsed {
        loop {
            if self.take(Keyword::Cross) {
                self.expect(Keyword::Join)?;
                self.sampled_relation()?;
            } else if self.take(Keyword::Natural) {
                self.join_type()?;
                self.sampled_relation()?;
            } else if self.is_any(&[
                Keyword::Join,
                Keyword::Inner,
                Keyword::Left,
                Keyword::Right,
                Keyword::Full,
            ]) {
                self.join_type()?;
                // The right side may hold joins of its own in front of its criteria.
                self.nested(Self::relation)?;
                self.join_criteria()?;
            } else {
                return Ok(());
            }
        }
    }

    fn join_type(&mut self) -> Parsed {
        if self.take_any(&[Keyword::Left, Keyword::Right, Keyword::Full]) {
            self.take(Keyword::Outer);
        } else {
            self.take(Keyword::Inner);
        }
        self.expect(Keyword::Join)
    }

    fn join_criteria(&mut self) -> Parsed {
        if self.take(Keyword::On) {
            return self.expression();
        }
        if self.take(Keyword::Using) {
            return self.column_aliases();
        }
        Err(self.expected("ON or USING"))
    }

    fn sampled_relation(&mut self) -> Parsed {
        let first = self.facts.relations.len();
        self.aliased_relation()?;
        self.sample(first)
    }

    /// What may follow an aliased relation; `first` is the first relation that it may apply to.
    fn sample(&mut self, first: usize) -> Parsed {
        if self.is(Keyword::MatchRecognize) && self.is_symbol_at(1, Symbol::Open) {
            self.at += 1;
            self.match_recognize()?;
        }
        if self.is(Keyword::Tablesample) {
            self.at += 1;
            self.expect_any(&[Keyword::Bernoulli, Keyword::System])?;
            self.open()?;
            self.expression()?;
            self.close()?;
            for relation in &mut self.facts.relations[first..] {
                relation.sampled = true;
            }
        }
        Ok(())
    }

    fn aliased_relation(&mut self) -> Parsed {
        if self.take(Keyword::Unnest) {
            self.open()?;
            self.list(Self::expression)?;
            self.close()?;
            if self.take(Keyword::With) {
                self.expect(Keyword::Ordinality)?;
            }
            return self.alias().map(drop);
        }
        if self.is(Keyword::Lateral) && self.is_symbol_at(1, Symbol::Open) {
            self.at += 2;
            self.subquery()?;
            return self.alias().map(drop);
        }
        if self.is(Keyword::Table) && self.is_symbol_at(1, Symbol::Open) {
            self.at += 2;
            self.table_function()?;
            self.close()?;
            return self.alias().map(drop);
        }
        if self.take(Keyword::JsonTable) {
            self.json_table()?;
            return self.alias().map(drop);
        }
        if self.take_symbol(Symbol::Open) {
            self.nested(Self::parenthesized)?;
            return self.alias().map(drop);
        }
        self.named_relation()
    }

    fn named_relation(&mut self) -> Parsed {
        let relation = self.table_name(Position::From)?;
        let (version, version_is_literal) = self.version()?;
        let alias = self.alias()?;
        match relation {
            Some(relation) => {
                self.facts.relations.push(Relation { version, version_is_literal, alias, ..relation });
                Ok(())
            }
            None if version.is_some() => Err(self.error("a WITH query has no versions")),
            None => Ok(()),
        }
    }

    /// `FOR VERSION AS OF e` and `FOR TIMESTAMP AS OF e`.
    fn version(&mut self) -> Parsed<(Option<std::ops::Range<u32>>, bool)> {
        let start = self.at;
        if !self.take(Keyword::For) {
            return Ok((None, false));
        }
        self.expect_any(&[Keyword::Timestamp, Keyword::Version])?;
        self.expect_all(&[Keyword::As, Keyword::Of])?;
        let value = self.at;
        let before = self.facts.relations.len();
        self.value_expression()?;
        let tokens = &self.tokens[value..self.at];
        let literal = match tokens {
            [only] => matches!(only.kind, TokenKind::Integer | TokenKind::String),
            [of, text] => {
                matches!(of.kind, TokenKind::Keyword(Keyword::Timestamp | Keyword::Date))
                    && text.kind == TokenKind::String
            }
            _ => false,
        };
        // A relation in the expression would stand inside the tokens of this one.
        if self.facts.relations.len() > before {
            return self.unsupported("queries in a version clause are");
        }
        Ok((Some(self.range(start)), literal))
    }

    /// `AS? alias (columns)?`. A word that goes on with the FROM clause is not an alias.
    fn alias(&mut self) -> Parsed<Option<crate::sql::Ident>> {
        if !self.take(Keyword::As) && (!self.is_identifier() || self.continues_relation()) {
            return Ok(None);
        }
        let alias = self.identifier()?;
        if self.is_symbol(Symbol::Open) {
            self.column_aliases()?;
        }
        Ok(Some(alias))
    }

    /// The words that are not reserved and that can follow a relation.
    pub(super) fn continues_relation(&self) -> bool {
        match self.kind(0) {
            Some(TokenKind::Keyword(Keyword::MatchRecognize)) => self.is_symbol_at(1, Symbol::Open),
            Some(TokenKind::Keyword(Keyword::Tablesample)) => {
                self.is_at(1, Keyword::Bernoulli) || self.is_at(1, Keyword::System)
            }
            Some(TokenKind::Keyword(Keyword::Window)) => {
                self.is_identifier_at(1) && self.is_at(2, Keyword::As)
            }
            Some(TokenKind::Keyword(Keyword::Partition)) => self.is_at(1, Keyword::By),
            Some(TokenKind::Keyword(Keyword::Prune | Keyword::Keep)) => self.is_at(1, Keyword::When),
            _ => self.query_goes_on(),
        }
    }

    /// Behind an opening parenthesis in FROM: a query or a relation, up to the closing one.
    fn parenthesized(&mut self) -> Parsed<Inner> {
        if self.query_begins() {
            self.query_in_from(super::Parser::query)?;
            self.close()?;
            return Ok(Inner::Query);
        }
        if !self.is_symbol(Symbol::Open) {
            self.relation()?;
            self.close()?;
            return Ok(Inner::Other);
        }
        let first = self.facts.relations.len();
        self.at += 1;
        let inner = self.nested(Self::parenthesized)?;
        if inner == Inner::Query && self.query_goes_on() {
            self.query_in_from(|parser| {
                parser.set_operations(None)?;
                parser.query_tail(None)
            })?;
            self.close()?;
            return Ok(Inner::Query);
        }
        if inner == Inner::Query && self.take_symbol(Symbol::Close) {
            return Ok(Inner::Query);
        }
        self.alias()?;
        self.sample(first)?;
        self.joins()?;
        self.close()?;
        Ok(Inner::Other)
    }

    /// A subquery in FROM does not see the relations beside it.
    fn query_in_from(&mut self, rule: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        let scope = self.scope;
        self.scope = scope.and_then(|scope| self.facts.scopes[scope as usize].parent);
        rule(self)?;
        self.scope = scope;
        Ok(())
    }

    fn table_function(&mut self) -> Parsed {
        let (name, tokens) = self.qualified_name()?;
        let call = self.note_call(name, tokens, true);
        self.open()?;
        if !self.is_symbol(Symbol::Close) && !self.is(Keyword::Copartition) {
            self.list(Self::table_function_argument)?;
        }
        if self.take(Keyword::Copartition) {
            self.list(|parser| {
                parser.open()?;
                parser.list(|parser| parser.qualified_name().map(drop))?;
                parser.close()
            })?;
        }
        self.close()?;
        self.end_call(call, false);
        Ok(())
    }

    fn table_function_argument(&mut self) -> Parsed {
        if self.is_identifier() && self.is_symbol_at(1, Symbol::FatArrow) {
            self.at += 2;
        }
        if self.is(Keyword::Table) && self.is_symbol_at(1, Symbol::Open) {
            return self.table_argument();
        }
        if self.is(Keyword::Descriptor) && self.is_symbol_at(1, Symbol::Open) {
            self.at += 2;
            self.list(|parser| {
                parser.skip_identifier()?;
                if !parser.is_symbol(Symbol::Comma) && !parser.is_symbol(Symbol::Close) {
                    parser.data_type()?;
                }
                Ok(())
            })?;
            return self.close();
        }
        if self.is(Keyword::Cast)
            && self.is_symbol_at(1, Symbol::Open)
            && self.is_at(2, Keyword::Null)
            && self.is_at(3, Keyword::As)
            && self.is_at(4, Keyword::Descriptor)
            && self.is_symbol_at(5, Symbol::Close)
        {
            self.at += 6;
            return Ok(());
        }
        self.expression()
    }

    fn table_argument(&mut self) -> Parsed {
        self.at += 2;
        if self.query_begins() || self.is_symbol(Symbol::Open) {
            self.query_in_from(super::Parser::query)?;
            self.close()?;
            self.alias()?;
        } else {
            let relation = self.table_name(Position::TableArgument)?;
            self.close()?;
            let alias = self.alias()?;
            if let Some(relation) = relation {
                self.facts.relations.push(Relation { alias, ..relation });
            }
        }
        if self.take(Keyword::Partition) {
            self.expect(Keyword::By)?;
            self.grouped(Self::expression)?;
        }
        if self.take_any(&[Keyword::Prune, Keyword::Keep]) {
            self.expect_all(&[Keyword::When, Keyword::Empty])?;
        }
        if self.take(Keyword::Order) {
            self.expect(Keyword::By)?;
            self.grouped(Self::sort_item)?;
        }
        Ok(())
    }

    /// `(a, b)`, `()` or `a`.
    fn grouped(&mut self, item: impl FnMut(&mut Self) -> Parsed) -> Parsed {
        let mut item = item;
        if !self.take_symbol(Symbol::Open) {
            return item(self);
        }
        if !self.is_symbol(Symbol::Close) {
            self.list(item)?;
        }
        self.close()
    }
}
