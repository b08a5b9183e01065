//! Expressions: boolean, comparisons, arithmetic. Calls and literals are in `primary`.

use super::{Parsed, Parser};
use crate::sql::Keyword;
use crate::sql::facts::SpecialKind;
use crate::sql::lexer::{Symbol, TokenKind};

impl Parser<'_> {
    /// An expression. How tightly the operators bind does not matter here, so that one loop reads any
    /// number of them at one level of nesting.
    pub(in crate::sql) fn expression(&mut self) -> Parsed {
        self.nested(|parser| {
            parser.boolean_operand()?;
            parser.boolean_rest()
        })
    }

    /// An expression that is the whole text.
    pub(in crate::sql) fn expression_and_end(&mut self) -> Parsed {
        self.expression()?;
        self.expect_end()
    }

    /// Goes on behind a value that has been read already.
    pub(super) fn expression_behind_value(&mut self) -> Parsed {
        self.predicates()?;
        self.boolean_rest()
    }

    fn boolean_rest(&mut self) -> Parsed {
        while self.take_any(&[Keyword::And, Keyword::Or]) {
            self.boolean_operand()?;
        }
        Ok(())
    }

    fn boolean_operand(&mut self) -> Parsed {
        if !self.pending {
            while self.take(Keyword::Not) {}
        }
        self.value_expression()?;
        self.predicates()
    }

    /// A value has at most one predicate behind it.
    fn predicates(&mut self) -> Parsed {
        if let Some(TokenKind::Symbol(symbol)) = self.kind(0)
            && Symbol::COMPARISONS.contains(&symbol)
        {
            self.at += 1;
            let quantified = self.is_any(&[Keyword::All, Keyword::Some, Keyword::Any])
                && self.is_symbol_at(1, Symbol::Open)
                && self.leads_to_query(2);
            if quantified {
                self.at += 2;
                self.note(SpecialKind::Subquery, self.at - 1);
                return self.subquery();
            }
            return self.value_expression();
        }
        if self.take(Keyword::Is) {
            self.take(Keyword::Not);
            if self.take(Keyword::Distinct) {
                self.expect(Keyword::From)?;
                return self.value_expression();
            }
            return self.expect(Keyword::Null);
        }
        let negated = self.is(Keyword::Not);
        let ahead = usize::from(negated);
        match self.kind(ahead) {
            Some(TokenKind::Keyword(Keyword::Between)) => {
                self.at += ahead + 1;
                self.value_expression()?;
                self.expect(Keyword::And)?;
                self.value_expression()
            }
            Some(TokenKind::Keyword(Keyword::In)) => {
                self.at += ahead + 1;
                self.in_list()
            }
            Some(TokenKind::Keyword(Keyword::Like)) => {
                self.at += ahead + 1;
                self.value_expression()?;
                if self.take(Keyword::Escape) {
                    self.value_expression()?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn in_list(&mut self) -> Parsed {
        let start = self.at;
        self.open()?;
        if self.query_begins() {
            self.note(SpecialKind::Subquery, start);
            return self.subquery();
        }
        // `IN ((SELECT ...))` may be a query or a list of one: both have the same tokens.
        self.nested(|parser| {
            if parser.is_symbol(Symbol::Open) && parser.leads_to_query(0) {
                let ended = parser.query_or_expression()?;
                if ended == super::query::Inner::Query && parser.query_goes_on() {
                    parser.set_operations(None)?;
                    parser.query_tail(None)?;
                    return parser.close();
                }
                parser.behind_primary()?;
                return parser.close();
            }
            parser.list(Self::expression)?;
            parser.close()
        })
    }

    /// Whether, `ahead` from here and behind any number of opening parentheses, a query begins.
    pub(super) fn leads_to_query(&self, ahead: usize) -> bool {
        let mut at = ahead;
        while self.is_symbol_at(at, Symbol::Open) {
            at += 1;
        }
        matches!(
            self.kind(at),
            Some(TokenKind::Keyword(Keyword::Select | Keyword::With | Keyword::Values | Keyword::Table))
        )
    }

    pub(super) fn value_expression(&mut self) -> Parsed {
        self.value_operand()?;
        while let Some(TokenKind::Symbol(
            symbol @ (Symbol::Plus
            | Symbol::Minus
            | Symbol::Asterisk
            | Symbol::Slash
            | Symbol::Percent
            | Symbol::Concat),
        )) = self.kind(0)
        {
            self.at += 1;
            if symbol == Symbol::Concat {
                self.note(SpecialKind::Concat, self.at - 1);
            }
            self.value_operand()?;
        }
        Ok(())
    }

    fn value_operand(&mut self) -> Parsed {
        if !self.pending {
            while self.take_symbol(Symbol::Minus) || self.take_symbol(Symbol::Plus) {}
        }
        self.primary()?;
        while self.is(Keyword::At) && self.is_at(1, Keyword::Time) && self.is_at(2, Keyword::Zone) {
            let start = self.at;
            self.at += 3;
            self.note(SpecialKind::AtTimeZone, start);
            if self.is(Keyword::Interval) {
                self.at += 1;
                self.interval()?;
            } else {
                self.string()?;
            }
        }
        Ok(())
    }

    /// `'1' DAY TO SECOND`, behind INTERVAL.
    pub(super) fn interval(&mut self) -> Parsed {
        if !self.take_symbol(Symbol::Minus) {
            self.take_symbol(Symbol::Plus);
        }
        self.string()?;
        self.interval_fields()
    }

    pub(super) fn interval_fields(&mut self) -> Parsed {
        const FIELDS: [Keyword; 6] =
            [Keyword::Year, Keyword::Month, Keyword::Day, Keyword::Hour, Keyword::Minute, Keyword::Second];
        self.expect_any(&FIELDS)?;
        if self.is(Keyword::To) {
            self.at += 1;
            self.expect_any(&FIELDS)?;
        }
        Ok(())
    }
}
