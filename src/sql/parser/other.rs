//! Statements that are read to their end and denied: CALL, GRANT and kin.

use super::{Parsed, Parser};
use crate::sql::Keyword;
use crate::sql::kind::{Kind, Other};
use crate::sql::lexer::Symbol;

const PRIVILEGES: [Keyword; 5] =
    [Keyword::Create, Keyword::Select, Keyword::Delete, Keyword::Insert, Keyword::Update];

impl Parser<'_> {
    /// A statement that begins with `first`, where the parser stands.
    pub(super) fn other(&mut self, first: Keyword) -> Parsed<Kind> {
        self.at += 1;
        let other = match first {
            Keyword::Call => {
                self.qualified_name()?;
                self.call_arguments()?;
                Other::Call
            }
            Keyword::Grant => {
                self.granted(Keyword::To)?;
                Other::Grant
            }
            Keyword::Revoke => {
                let option = self.is_any(&[Keyword::Grant, Keyword::Admin]) && self.is_at(1, Keyword::Option);
                if option {
                    self.at += 2;
                    self.expect(Keyword::For)?;
                }
                self.granted(Keyword::From)?;
                Other::Revoke
            }
            _ => {
                self.granted(Keyword::To)?;
                Other::Deny
            }
        };
        Ok(Kind::Other(other))
    }

    /// `(a, name => b)`
    pub(super) fn call_arguments(&mut self) -> Parsed {
        self.open()?;
        if !self.is_symbol(Symbol::Close) {
            self.list(|parser| {
                if parser.is_identifier() && parser.is_symbol_at(1, Symbol::FatArrow) {
                    parser.at += 2;
                }
                parser.expression()
            })?;
        }
        self.close()
    }

    /// What is granted, on what, and to or from whom.
    fn granted(&mut self, to: Keyword) -> Parsed {
        let all = self.is(Keyword::All) && self.is_at(1, Keyword::Privileges);
        if all {
            self.at += 2;
        } else {
            self.list(|parser| if parser.take_any(&PRIVILEGES) { Ok(()) } else { parser.skip_identifier() })?;
        }
        if self.take(Keyword::On) {
            self.granted_object()?;
            self.expect(to)?;
            self.principal()?;
            if self.take(Keyword::With) {
                self.expect_all(&[Keyword::Grant, Keyword::Option])?;
            }
            return Ok(());
        }
        self.expect(to)?;
        self.list(Self::principal)?;
        if self.take(Keyword::With) {
            self.expect_all(&[Keyword::Admin, Keyword::Option])?;
        }
        if self.take(Keyword::Granted) {
            self.expect(Keyword::By)?;
            self.grantor()?;
        }
        self.in_catalog()
    }

    /// A name with the kind of the thing in front of it or without.
    pub(super) fn granted_object(&mut self) -> Parsed {
        let kind = self.is(Keyword::Table)
            || (self.is_identifier() && self.is_identifier_at(1) && !self.is_at(1, Keyword::To));
        if kind {
            self.at += 1;
        }
        self.qualified_name().map(drop)
    }

    /// `u`, `USER u` or `ROLE u`.
    pub(super) fn principal(&mut self) -> Parsed {
        if self.is_any(&[Keyword::User, Keyword::Role]) && self.is_identifier_at(1) {
            let ends =
                self.is_at(1, Keyword::With) || self.is_at(1, Keyword::Granted) && self.is_at(2, Keyword::By);
            self.at += usize::from(!ends);
        }
        self.skip_identifier()
    }

    pub(super) fn grantor(&mut self) -> Parsed {
        if self.take_any(&[Keyword::CurrentUser, Keyword::CurrentRole]) { Ok(()) } else { self.principal() }
    }

    pub(super) fn in_catalog(&mut self) -> Parsed {
        if self.take(Keyword::In) { self.skip_identifier() } else { Ok(()) }
    }
}
