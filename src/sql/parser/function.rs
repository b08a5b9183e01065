//! Functions of a statement's own, written in SQL.

use super::{Parsed, Parser};
use crate::sql::Keyword;
use crate::sql::lexer::Symbol;

impl Parser<'_> {
    /// `FUNCTION name(parameters) RETURNS type ... body`. Trino allows no queries in it.
    pub(super) fn function(&mut self) -> Parsed {
        let before = self.facts.relations.len();
        self.expect(Keyword::Function)?;
        self.function_declaration()?;
        self.expect(Keyword::Returns)?;
        self.data_type()?;
        loop {
            if self.take(Keyword::Language) {
                self.skip_identifier()?;
            } else if self.is(Keyword::Not) && self.is_at(1, Keyword::Deterministic) {
                self.at += 2;
            } else if self.take(Keyword::Deterministic) {
            } else if self.take(Keyword::Returns) {
                self.expect_all(&[Keyword::Null, Keyword::On, Keyword::Null, Keyword::Input])?;
            } else if self.take(Keyword::Called) {
                self.expect_all(&[Keyword::On, Keyword::Null, Keyword::Input])?;
            } else if self.take(Keyword::Security) {
                self.expect_any(&[Keyword::Definer, Keyword::Invoker])?;
            } else if self.take(Keyword::Comment) {
                self.string()?;
            } else {
                break;
            }
        }
        if self.is_any(&[Keyword::With, Keyword::As]) {
            return self.unsupported("functions in other languages than SQL are");
        }
        self.control_statement()?;
        if self.facts.relations.len() > before {
            return self.unsupported("queries in functions are");
        }
        Ok(())
    }

    pub(super) fn function_declaration(&mut self) -> Parsed {
        self.qualified_name()?;
        self.open()?;
        if !self.is_symbol(Symbol::Close) {
            self.list(|parser| {
                // `name type`, or a type alone; a field of a row is written in the same way.
                parser.row_field()
            })?;
        }
        self.close()
    }

    fn control_statement(&mut self) -> Parsed {
        self.nested(Self::control)
    }

    fn control(&mut self) -> Parsed {
        if self.is_identifier() && self.is_symbol_at(1, Symbol::Colon) {
            self.at += 2;
            if !self.is_any(&[Keyword::Loop, Keyword::While, Keyword::Repeat]) {
                return Err(self.expected("LOOP, WHILE or REPEAT"));
            }
        }
        if self.take(Keyword::Return) {
            return self.value_expression();
        }
        if self.take(Keyword::Set) {
            self.skip_identifier()?;
            self.expect_symbol(Symbol::Equal, "'='")?;
            return self.expression();
        }
        if self.take_any(&[Keyword::Iterate, Keyword::Leave]) {
            return self.skip_identifier();
        }
        if self.take(Keyword::Case) {
            if !self.is(Keyword::When) {
                self.expression()?;
            }
            while self.take(Keyword::When) {
                self.expression()?;
                self.expect(Keyword::Then)?;
                self.control_list()?;
            }
            return self.control_end(Keyword::Case);
        }
        if self.take(Keyword::If) {
            self.expression()?;
            self.expect(Keyword::Then)?;
            self.control_list()?;
            while self.take(Keyword::Elseif) {
                self.expression()?;
                self.expect(Keyword::Then)?;
                self.control_list()?;
            }
            return self.control_end(Keyword::If);
        }
        if self.take(Keyword::Begin) {
            while self.take(Keyword::Declare) {
                self.declaration()?;
            }
            if !self.is(Keyword::End) {
                self.control_list()?;
            }
            return self.expect(Keyword::End);
        }
        if self.take(Keyword::Loop) {
            self.control_list()?;
            return self.expect_all(&[Keyword::End, Keyword::Loop]);
        }
        if self.take(Keyword::While) {
            self.expression()?;
            self.expect(Keyword::Do)?;
            self.control_list()?;
            return self.expect_all(&[Keyword::End, Keyword::While]);
        }
        self.expect(Keyword::Repeat)?;
        self.control_list()?;
        self.expect(Keyword::Until)?;
        self.expression()?;
        self.expect_all(&[Keyword::End, Keyword::Repeat])
    }

    fn control_end(&mut self, of: Keyword) -> Parsed {
        if self.take(Keyword::Else) {
            self.control_list()?;
        }
        self.expect_all(&[Keyword::End, of])
    }

    fn declaration(&mut self) -> Parsed {
        self.list(Self::skip_identifier)?;
        self.data_type()?;
        if self.take(Keyword::Default) {
            self.value_expression()?;
        }
        self.expect_symbol(Symbol::Semicolon, "';'")
    }

    /// One or more, each with a semicolon behind it.
    fn control_list(&mut self) -> Parsed {
        loop {
            self.control_statement()?;
            self.expect_symbol(Symbol::Semicolon, "';'")?;
            if self.is_any(&[Keyword::End, Keyword::Else, Keyword::Elseif, Keyword::When, Keyword::Until]) {
                return Ok(());
            }
        }
    }
}
