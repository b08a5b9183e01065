//! Row patterns: MATCH_RECOGNIZE and window frames.

use super::{Parsed, Parser};
use crate::sql::Keyword;
use crate::sql::lexer::{Symbol, TokenKind};

impl Parser<'_> {
    /// Behind MATCH_RECOGNIZE.
    pub(super) fn match_recognize(&mut self) -> Parsed {
        self.open()?;
        if self.take(Keyword::Partition) {
            self.expect(Keyword::By)?;
            self.list(Self::expression)?;
        }
        if self.is(Keyword::Order) {
            self.order_by()?;
        }
        self.measures()?;
        if self.take(Keyword::One) {
            self.expect_all(&[Keyword::Row, Keyword::Per, Keyword::Match])?;
        } else if self.take(Keyword::All) {
            self.expect_all(&[Keyword::Rows, Keyword::Per, Keyword::Match])?;
            if self.take_any(&[Keyword::Show, Keyword::Omit]) {
                self.expect_all(&[Keyword::Empty, Keyword::Matches])?;
            } else if self.take(Keyword::With) {
                self.expect_all(&[Keyword::Unmatched, Keyword::Rows])?;
            }
        }
        self.pattern_clauses()?;
        self.close()?;
        if self.take(Keyword::As) || (self.is_identifier() && !self.query_goes_on()) {
            let sampled = self.is(Keyword::Tablesample)
                && (self.is_at(1, Keyword::Bernoulli) || self.is_at(1, Keyword::System));
            if !sampled {
                self.skip_identifier()?;
                if self.is_symbol(Symbol::Open) {
                    self.column_aliases()?;
                }
            }
        }
        Ok(())
    }

    fn measures(&mut self) -> Parsed {
        if !self.is(Keyword::Measures) {
            return Ok(());
        }
        self.at += 1;
        self.list(|parser| {
            parser.expression()?;
            parser.expect(Keyword::As)?;
            parser.skip_identifier()
        })
    }

    /// AFTER MATCH, PATTERN, SUBSET, DEFINE, each of which may be absent.
    fn pattern_clauses(&mut self) -> Parsed {
        if self.is(Keyword::After) && self.is_at(1, Keyword::Match) {
            self.at += 2;
            self.skip_to()?;
        }
        self.take_any(&[Keyword::Initial, Keyword::Seek]);
        if self.is(Keyword::Pattern) && self.is_symbol_at(1, Symbol::Open) {
            self.at += 2;
            self.row_pattern()?;
            self.close()?;
        }
        if self.take(Keyword::Subset) {
            self.list(|parser| {
                parser.skip_identifier()?;
                parser.expect_symbol(Symbol::Equal, "'='")?;
                parser.column_aliases()
            })?;
        }
        if self.take(Keyword::Define) {
            self.list(|parser| {
                parser.skip_identifier()?;
                parser.expect(Keyword::As)?;
                parser.expression()
            })?;
        }
        Ok(())
    }

    fn skip_to(&mut self) -> Parsed {
        self.expect(Keyword::Skip)?;
        if self.take(Keyword::Past) {
            return self.expect_all(&[Keyword::Last, Keyword::Row]);
        }
        self.expect(Keyword::To)?;
        if self.is(Keyword::Next) && self.is_at(1, Keyword::Row) {
            self.at += 2;
            return Ok(());
        }
        if self.is_any(&[Keyword::First, Keyword::Last]) && self.is_identifier_at(1) {
            self.at += 1;
        }
        self.skip_identifier()
    }

    /// Alternatives of sequences of pattern elements.
    fn row_pattern(&mut self) -> Parsed {
        self.nested(|parser| {
            loop {
                parser.pattern_element()?;
                while parser.take_symbol(Symbol::Pipe) {
                    parser.pattern_element()?;
                }
                let ends = parser.is_symbol(Symbol::Close)
                    || parser.is_symbol(Symbol::Comma)
                    || parser.is_symbol(Symbol::ExclusionClose);
                if ends {
                    return Ok(());
                }
            }
        })
    }

    fn pattern_element(&mut self) -> Parsed {
        if self.take_symbol(Symbol::Open) {
            if !self.is_symbol(Symbol::Close) {
                self.row_pattern()?;
            }
            self.close()?;
        } else if self.take_symbol(Symbol::ExclusionOpen) {
            self.row_pattern()?;
            self.expect_symbol(Symbol::ExclusionClose, "'-}'")?;
        } else if self.is(Keyword::Permute) && self.is_symbol_at(1, Symbol::Open) {
            self.at += 2;
            self.list(Self::row_pattern)?;
            self.close()?;
        } else if !self.take_symbol(Symbol::Caret) && !self.take_symbol(Symbol::Dollar) {
            self.skip_identifier()?;
        }
        self.pattern_quantifier()
    }

    fn pattern_quantifier(&mut self) -> Parsed {
        if self.take_symbol(Symbol::BraceOpen) {
            let first = self.kind(0) == Some(TokenKind::Integer);
            self.at += usize::from(first);
            if self.take_symbol(Symbol::Comma) {
                self.at += usize::from(self.kind(0) == Some(TokenKind::Integer));
            } else if !first {
                return Err(self.expected("a whole number"));
            }
            self.expect_symbol(Symbol::BraceClose, "'}'")?;
        } else if !self.take_symbol(Symbol::Asterisk)
            && !self.take_symbol(Symbol::Plus)
            && !self.take_symbol(Symbol::Question)
        {
            return Ok(());
        }
        self.take_symbol(Symbol::Question);
        Ok(())
    }

    /// The frame of a window, which may be absent.
    pub(super) fn window_frame(&mut self) -> Parsed {
        if self.is_symbol(Symbol::Close) {
            return Ok(());
        }
        self.measures()?;
        self.expect_any(&[Keyword::Range, Keyword::Rows, Keyword::Groups])?;
        if self.take(Keyword::Between) {
            self.frame_bound()?;
            self.expect(Keyword::And)?;
        }
        self.frame_bound()?;
        self.pattern_clauses()
    }

    fn frame_bound(&mut self) -> Parsed {
        const SIDES: [Keyword; 2] = [Keyword::Preceding, Keyword::Following];
        if self.is(Keyword::Unbounded) && (self.is_at(1, SIDES[0]) || self.is_at(1, SIDES[1])) {
            self.at += 2;
            return Ok(());
        }
        if self.is(Keyword::Current) && self.is_at(1, Keyword::Row) {
            self.at += 2;
            return Ok(());
        }
        // Not a whole expression: AND would be taken for the one of BETWEEN.
        self.nested(Self::value_expression)?;
        self.expect_any(&SIDES)
    }
}
