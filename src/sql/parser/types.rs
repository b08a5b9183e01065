//! Types.

use super::primary::is_time;
use super::{Parsed, Parser};
use crate::sql::facts::SpecialKind;
use crate::sql::lexer::{Symbol, TokenKind};
use crate::sql::{Keyword, fold_column};

impl Parser<'_> {
    pub(super) fn data_type(&mut self) -> Parsed {
        self.nested(|parser| {
            let start = parser.at;
            parser.simple_type(start)?;
            while parser.is(Keyword::Array) {
                parser.at += 1;
                if parser.take_symbol(Symbol::BracketOpen) {
                    parser.integer()?;
                    parser.expect_symbol(Symbol::BracketClose, "']'")?;
                }
            }
            Ok(())
        })
    }

    fn simple_type(&mut self, start: usize) -> Parsed {
        if self.is(Keyword::Row) && self.is_symbol_at(1, Symbol::Open) {
            self.at += 2;
            self.list(Self::row_field)?;
            return self.close();
        }
        if self.is(Keyword::Interval) && self.is_interval_field(1) {
            self.at += 1;
            return self.interval_fields();
        }
        if self.is(Keyword::Double) && self.is_at(1, Keyword::Precision) {
            self.at += 2;
            return Ok(());
        }
        if self.is_any(&[Keyword::Array, Keyword::Map]) && self.is_symbol_at(1, Symbol::Less) {
            // `array<array<bigint>>` would need `>>` to be two tokens, which it is.
            self.at += 2;
            self.list(Self::data_type)?;
            return self.expect_symbol(Symbol::Greater, "'>'");
        }
        if is_time(&fold_column(&self.identifier()?.value)) {
            self.note(SpecialKind::TimeType, start);
        }
        if self.take_symbol(Symbol::Open) {
            self.list(|parser| {
                if parser.kind(0) == Some(TokenKind::Integer) {
                    return parser.integer();
                }
                parser.data_type()
            })?;
            self.close()?;
        }
        let zoned = self.is_any(&[Keyword::With, Keyword::Without])
            && self.is_at(1, Keyword::Time)
            && self.is_at(2, Keyword::Zone);
        if zoned {
            let what = fold_column(&self.ident_of(start).value).into_owned();
            if !matches!(what.as_str(), "time" | "timestamp") {
                return Err(self.expected("')'"));
            }
            self.at += 3;
        }
        Ok(())
    }

    pub(super) fn is_interval_field(&self, ahead: usize) -> bool {
        matches!(
            self.kind(ahead),
            Some(TokenKind::Keyword(
                Keyword::Year
                    | Keyword::Month
                    | Keyword::Day
                    | Keyword::Hour
                    | Keyword::Minute
                    | Keyword::Second
            ))
        )
    }

    /// `type` or `name type`.
    pub(super) fn row_field(&mut self) -> Parsed {
        let named = self.is_identifier()
            && self.is_identifier_at(1)
            && !self.is_at(1, Keyword::Array)
            && !(self.is(Keyword::Double) && self.is_at(1, Keyword::Precision))
            && !(self.is(Keyword::Interval) && self.is_interval_field(1));
        let named_array = self.is_identifier()
            && self.is_at(1, Keyword::Array)
            && (self.is_symbol_at(2, Symbol::Open) || self.is_symbol_at(2, Symbol::Less));
        if named || named_array {
            self.at += 1;
        }
        self.data_type()
    }
}
