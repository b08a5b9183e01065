//! The JSON functions and JSON_TABLE.

use super::{Parsed, Parser};
use crate::sql::Keyword;
use crate::sql::lexer::{Symbol, TokenKind};

impl Parser<'_> {
    pub(super) fn json_exists(&mut self) -> Parsed {
        self.open()?;
        self.json_path()?;
        if self.take_any(&[Keyword::True, Keyword::False, Keyword::Unknown, Keyword::Error]) {
            self.expect_all(&[Keyword::On, Keyword::Error])?;
        }
        self.close()
    }

    pub(super) fn json_value(&mut self) -> Parsed {
        self.open()?;
        self.json_path()?;
        if self.take(Keyword::Returning) {
            self.data_type()?;
        }
        self.json_value_behaviors()?;
        self.close()
    }

    fn json_value_behaviors(&mut self) -> Parsed {
        while self.is_any(&[Keyword::Error, Keyword::Null, Keyword::Default]) {
            if self.take(Keyword::Default) {
                self.expression()?;
            } else {
                self.at += 1;
            }
            self.on_empty_or_error()?;
        }
        Ok(())
    }

    fn on_empty_or_error(&mut self) -> Parsed {
        self.expect(Keyword::On)?;
        self.expect_any(&[Keyword::Empty, Keyword::Error])
    }

    pub(super) fn json_query(&mut self) -> Parsed {
        self.open()?;
        self.json_path()?;
        self.json_returning()?;
        self.json_query_options()?;
        self.close()
    }

    fn json_query_options(&mut self) -> Parsed {
        if self.take(Keyword::Without) {
            self.take(Keyword::Array);
            self.expect(Keyword::Wrapper)?;
        } else if self.take(Keyword::With) {
            self.take_any(&[Keyword::Conditional, Keyword::Unconditional]);
            self.take(Keyword::Array);
            self.expect(Keyword::Wrapper)?;
        }
        if self.take_any(&[Keyword::Keep, Keyword::Omit]) {
            self.expect(Keyword::Quotes)?;
            if self.is(Keyword::On) && self.is_at(1, Keyword::Scalar) {
                self.at += 2;
                self.expect(Keyword::String)?;
            }
        }
        while self.is_any(&[Keyword::Error, Keyword::Null, Keyword::Empty]) {
            if self.take(Keyword::Empty) {
                self.expect_any(&[Keyword::Array, Keyword::Object])?;
            } else {
                self.at += 1;
            }
            self.on_empty_or_error()?;
        }
        Ok(())
    }

    pub(super) fn json_object(&mut self) -> Parsed {
        self.open()?;
        let empty = self.is_symbol(Symbol::Close) || self.is(Keyword::Returning);
        if !empty {
            self.list(Self::json_member)?;
            self.json_nulls()?;
            if self.take_any(&[Keyword::With, Keyword::Without]) {
                self.expect(Keyword::Unique)?;
                self.take(Keyword::Keys);
            }
        }
        self.json_returning()?;
        self.close()
    }

    /// `KEY k VALUE v`, `k VALUE v` or `k : v`.
    fn json_member(&mut self) -> Parsed {
        let key = self.is(Keyword::Key)
            && !self.is_symbol_at(1, Symbol::Colon)
            && !self.is_symbol_at(1, Symbol::Dot)
            && !self.is_symbol_at(1, Symbol::Open)
            && !(self.is_at(1, Keyword::Value) && !self.is_at(2, Keyword::Value));
        self.at += usize::from(key);
        self.expression()?;
        if !self.take_symbol(Symbol::Colon) {
            self.expect(Keyword::Value)?;
        }
        self.json_expression()
    }

    fn json_nulls(&mut self) -> Parsed {
        if self.take_any(&[Keyword::Null, Keyword::Absent]) {
            self.expect_all(&[Keyword::On, Keyword::Null])?;
        }
        Ok(())
    }

    pub(super) fn json_array(&mut self) -> Parsed {
        self.open()?;
        let absent = self.is(Keyword::Null) && self.is_at(1, Keyword::On);
        if !self.is_symbol(Symbol::Close) && !self.is(Keyword::Returning) && !absent {
            self.list(Self::json_expression)?;
            self.json_nulls()?;
        }
        self.json_returning()?;
        self.close()
    }

    fn json_returning(&mut self) -> Parsed {
        if self.take(Keyword::Returning) {
            self.data_type()?;
            if self.take(Keyword::Format) {
                self.json_representation()?;
            }
        }
        Ok(())
    }

    fn json_path(&mut self) -> Parsed {
        self.json_expression()?;
        self.expect_symbol(Symbol::Comma, "','")?;
        self.string()?;
        if self.take(Keyword::As) {
            self.skip_identifier()?;
        }
        if self.take(Keyword::Passing) {
            self.list(|parser| {
                parser.json_expression()?;
                parser.expect(Keyword::As)?;
                parser.skip_identifier()
            })?;
        }
        Ok(())
    }

    fn json_expression(&mut self) -> Parsed {
        self.expression()?;
        if self.take(Keyword::Format) {
            self.json_representation()?;
        }
        Ok(())
    }

    fn json_representation(&mut self) -> Parsed {
        self.expect(Keyword::Json)?;
        if self.take(Keyword::Encoding) {
            self.expect_any(&[Keyword::Utf8, Keyword::Utf16, Keyword::Utf32])?;
        }
        Ok(())
    }

    /// Behind JSON_TABLE.
    pub(super) fn json_table(&mut self) -> Parsed {
        self.open()?;
        self.json_path()?;
        self.json_columns()?;
        if self.take(Keyword::Plan) {
            self.take(Keyword::Default);
            self.open()?;
            self.json_plan()?;
            self.close()?;
        }
        if self.take_any(&[Keyword::Error, Keyword::Empty]) {
            self.expect_all(&[Keyword::On, Keyword::Error])?;
        }
        self.close()
    }

    fn json_columns(&mut self) -> Parsed {
        self.nested(|parser| {
            parser.expect(Keyword::Columns)?;
            parser.open()?;
            parser.list(Self::json_column)?;
            parser.close()
        })
    }

    fn json_column(&mut self) -> Parsed {
        let nested = self.is(Keyword::Nested)
            && (self.is_string_at(1) || (self.is_at(1, Keyword::Path) && self.is_string_at(2)));
        if nested {
            self.at += 1;
            self.take(Keyword::Path);
            self.string()?;
            if self.take(Keyword::As) {
                self.skip_identifier()?;
            }
            return self.json_columns();
        }
        self.skip_identifier()?;
        if self.take(Keyword::For) {
            return self.expect(Keyword::Ordinality);
        }
        self.data_type()?;
        let formatted = self.take(Keyword::Format);
        if formatted {
            self.json_representation()?;
        }
        if self.take(Keyword::Path) {
            self.string()?;
        }
        if formatted { self.json_query_options() } else { self.json_value_behaviors() }
    }

    /// Names, parentheses, commas and the words of a plan: nothing in it can name a relation.
    fn json_plan(&mut self) -> Parsed {
        self.nested(|parser| {
            loop {
                if parser.take_symbol(Symbol::Open) {
                    parser.json_plan()?;
                    parser.close()?;
                } else if !parser.take_any(&[Keyword::Outer, Keyword::Inner, Keyword::Union, Keyword::Cross])
                    && !parser.take_symbol(Symbol::Comma)
                {
                    parser.skip_identifier()?;
                }
                if matches!(parser.kind(0), None | Some(TokenKind::Symbol(Symbol::Close))) {
                    return Ok(());
                }
            }
        })
    }
}
