//! Statements that change tables, views and schemas.

use super::{Parsed, Parser};
use crate::sql::facts::{Position, Relation};
use crate::sql::kind::{Change, Kind, Other};
use crate::sql::lexer::Symbol;
use crate::sql::{Ident, Keyword};

impl Parser<'_> {
    /// A statement that begins with `first`, where the parser stands.
    pub(super) fn change(&mut self, first: Keyword) -> Parsed<Kind> {
        self.at += 1;
        let change = match first {
            Keyword::Insert => {
                self.expect(Keyword::Into)?;
                self.target()?;
                if self.names_follow() {
                    self.column_aliases()?;
                }
                self.root_query()?;
                Change::Insert
            }
            Keyword::Delete => {
                self.expect(Keyword::From)?;
                self.scoped(|parser| {
                    parser.target()?;
                    parser.condition()
                })?;
                Change::Delete
            }
            Keyword::Update => {
                self.scoped(|parser| {
                    parser.target()?;
                    parser.expect(Keyword::Set)?;
                    parser.list(Self::assignment)?;
                    parser.condition()
                })?;
                Change::Update
            }
            Keyword::Merge => {
                self.scoped(Self::merge)?;
                Change::Merge
            }
            Keyword::Truncate => {
                self.expect(Keyword::Table)?;
                self.target()?;
                Change::Truncate
            }
            Keyword::Comment => {
                self.comment_on()?;
                Change::Comment
            }
            Keyword::Analyze => {
                self.target()?;
                self.properties()?;
                Change::Analyze
            }
            Keyword::Refresh => {
                self.expect_all(&[Keyword::Materialized, Keyword::View])?;
                self.target()?;
                Change::RefreshMaterializedView
            }
            Keyword::Create => return self.create(),
            Keyword::Drop => return self.drop_object(),
            _ => return self.alter(),
        };
        Ok(Kind::Change(change))
    }

    /// The table that is written to.
    fn target(&mut self) -> Parsed {
        let (name, tokens) = self.qualified_name()?;
        self.note_target(name, tokens)
    }

    fn note_target(&mut self, name: Vec<Ident>, tokens: std::ops::Range<u32>) -> Parsed {
        if name.len() > 3 {
            return Err(self.error("a table's name has at most three parts"));
        }
        self.facts.relations.push(Relation {
            name,
            tokens,
            version: None,
            version_is_literal: false,
            position: Position::Target,
            alias: None,
            sampled: false,
            scope: self.scope,
        });
        Ok(())
    }

    /// What sees the columns of the relations that it names.
    fn scoped(&mut self, rule: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        self.scope = Some(self.new_scope(None));
        rule(self)?;
        self.scope = None;
        Ok(())
    }

    fn condition(&mut self) -> Parsed {
        if self.take(Keyword::Where) { self.expression() } else { Ok(()) }
    }

    fn assignment(&mut self) -> Parsed {
        self.skip_identifier()?;
        self.expect_symbol(Symbol::Equal, "'='")?;
        self.expression()
    }

    fn merge(&mut self) -> Parsed {
        self.expect(Keyword::Into)?;
        self.target()?;
        if self.take(Keyword::As) || self.is_identifier() {
            self.skip_identifier()?;
        }
        self.expect(Keyword::Using)?;
        self.relation()?;
        self.expect(Keyword::On)?;
        self.expression()?;
        loop {
            self.expect(Keyword::When)?;
            let matched = !self.take(Keyword::Not);
            self.expect(Keyword::Matched)?;
            if self.take(Keyword::And) {
                self.expression()?;
            }
            self.expect(Keyword::Then)?;
            if matched {
                if !self.take(Keyword::Delete) {
                    self.expect_all(&[Keyword::Update, Keyword::Set])?;
                    self.list(Self::assignment)?;
                }
            } else {
                self.expect(Keyword::Insert)?;
                if self.is_symbol(Symbol::Open) {
                    self.column_aliases()?;
                }
                self.expect(Keyword::Values)?;
                self.open()?;
                self.list(Self::expression)?;
                self.close()?;
            }
            if !self.is(Keyword::When) {
                return Ok(());
            }
        }
    }

    fn comment_on(&mut self) -> Parsed {
        self.expect(Keyword::On)?;
        if self.take(Keyword::Column) {
            let (mut name, mut tokens) = self.qualified_name()?;
            // The last part is the column's, and the dot in front of it goes with it.
            if name.pop().is_none() || name.is_empty() {
                return Err(self.error("a column's name begins with that of its table"));
            }
            tokens.end -= 2;
            self.note_target(name, tokens)?;
        } else {
            self.expect_any(&[Keyword::Table, Keyword::View])?;
            self.target()?;
        }
        self.expect(Keyword::Is)?;
        if self.take(Keyword::Null) { Ok(()) } else { self.string() }
    }

    /// Whether a list of names in parentheses follows, and not a query.
    fn names_follow(&self) -> bool {
        self.is_symbol(Symbol::Open)
            && self.is_identifier_at(1)
            && (self.is_symbol_at(2, Symbol::Comma) || self.is_symbol_at(2, Symbol::Close))
    }

    fn if_not_exists(&mut self) -> Parsed {
        if self.is(Keyword::If) && self.is_at(1, Keyword::Not) {
            self.at += 2;
            return self.expect(Keyword::Exists);
        }
        Ok(())
    }

    fn if_exists(&mut self) {
        if self.is(Keyword::If) && self.is_at(1, Keyword::Exists) {
            self.at += 2;
        }
    }

    fn comment(&mut self) -> Parsed {
        if self.take(Keyword::Comment) { self.string() } else { Ok(()) }
    }

    /// `WITH (name = value, ...)`, if it is there: the names, in lower case.
    fn properties(&mut self) -> Parsed<Vec<String>> {
        let mut names = Vec::new();
        if self.take(Keyword::With) {
            self.open()?;
            self.assigned_properties(&mut names)?;
            self.close()?;
        }
        Ok(names)
    }

    fn assigned_properties(&mut self, names: &mut Vec<String>) -> Parsed {
        self.list(|parser| {
            names.push(parser.identifier()?.value.to_lowercase());
            parser.expect_symbol(Symbol::Equal, "'='")?;
            // DEFAULT is also a name, and has the same token.
            parser.expression()
        })
    }

    fn create(&mut self) -> Parsed<Kind> {
        let replace = self.is(Keyword::Or);
        if replace {
            self.at += 1;
            self.expect(Keyword::Replace)?;
        }
        let change = if self.take(Keyword::Table) {
            self.create_table()?
        } else if self.take(Keyword::View) {
            self.target()?;
            self.comment()?;
            if self.take(Keyword::Security) {
                self.expect_any(&[Keyword::Definer, Keyword::Invoker])?;
            }
            let properties = self.properties()?;
            self.expect(Keyword::As)?;
            self.root_query()?;
            Change::CreateView { properties }
        } else if self.take(Keyword::Materialized) {
            self.expect(Keyword::View)?;
            self.if_not_exists()?;
            self.target()?;
            if self.take(Keyword::Grace) {
                self.expect_all(&[Keyword::Period, Keyword::Interval])?;
                self.interval()?;
            }
            self.comment()?;
            let properties = self.properties()?;
            self.expect(Keyword::As)?;
            self.root_query()?;
            Change::CreateMaterializedView { properties }
        } else if self.is(Keyword::Function) {
            self.function()?;
            return Ok(Kind::Other(Other::CreateFunction));
        } else if replace {
            return Err(self.expected("TABLE, VIEW, MATERIALIZED VIEW or FUNCTION"));
        } else if self.take(Keyword::Schema) {
            self.if_not_exists()?;
            let name = self.name_of_schema()?;
            let start = self.at;
            self.authorization()?;
            self.properties()?;
            Change::CreateSchema { name, decorated: self.at > start }
        } else if self.take(Keyword::Role) {
            self.skip_identifier()?;
            if self.take(Keyword::With) {
                self.expect(Keyword::Admin)?;
                self.grantor()?;
            }
            self.in_catalog()?;
            return Ok(Kind::Other(Other::CreateRole));
        } else if self.take(Keyword::Catalog) {
            self.if_not_exists()?;
            self.skip_identifier()?;
            self.expect(Keyword::Using)?;
            self.skip_identifier()?;
            self.comment()?;
            self.authorization()?;
            self.properties()?;
            return Ok(Kind::Other(Other::CreateCatalog));
        } else {
            return Err(self.expected("what to create"));
        };
        Ok(Kind::Change(change))
    }

    fn authorization(&mut self) -> Parsed {
        if self.take(Keyword::Authorization) { self.principal() } else { Ok(()) }
    }

    fn name_of_schema(&mut self) -> Parsed<(Vec<Ident>, std::ops::Range<u32>)> {
        let at = self.at;
        let name = self.qualified_name()?;
        if name.0.len() > 2 {
            self.at = at;
            return Err(self.error("a schema's name has at most two parts"));
        }
        Ok(name)
    }

    fn create_table(&mut self) -> Parsed<Change> {
        self.if_not_exists()?;
        self.target()?;
        let columns = self.is_symbol(Symbol::Open) && !self.names_follow();
        if !columns {
            if self.is_symbol(Symbol::Open) {
                self.column_aliases()?;
            }
            self.comment()?;
            let properties = self.properties()?;
            self.expect(Keyword::As)?;
            if self.is_symbol(Symbol::Open) && self.is_at(1, Keyword::With) {
                self.at += 1;
                self.root_query()?;
                self.close()?;
            } else {
                self.root_query()?;
            }
            if self.take(Keyword::With) {
                self.take(Keyword::No);
                self.expect(Keyword::Data)?;
            }
            return Ok(Change::CreateTableAs { properties });
        }
        let mut names = Vec::new();
        let mut copies_properties = false;
        self.open()?;
        self.list(|parser| {
            if parser.take(Keyword::Like) {
                if let Some(relation) = parser.table_name(Position::ShowTarget)? {
                    parser.facts.relations.push(relation);
                }
                if parser.is_any(&[Keyword::Including, Keyword::Excluding]) {
                    copies_properties |= parser.is(Keyword::Including);
                    parser.at += 1;
                    parser.expect(Keyword::Properties)?;
                }
                return Ok(());
            }
            parser.column_definition(&mut names)
        })?;
        self.close()?;
        self.comment()?;
        names.append(&mut self.properties()?);
        Ok(Change::CreateTable { properties: names, copies_properties })
    }

    fn column_definition(&mut self, properties: &mut Vec<String>) -> Parsed {
        self.qualified_name()?;
        self.data_type()?;
        if self.take(Keyword::Not) {
            self.expect(Keyword::Null)?;
        }
        self.comment()?;
        properties.append(&mut self.properties()?);
        Ok(())
    }

    fn drop_object(&mut self) -> Parsed<Kind> {
        if self.take(Keyword::Materialized) {
            self.expect(Keyword::View)?;
            self.if_exists();
            self.target()?;
            return Ok(Kind::Change(Change::DropMaterializedView));
        }
        if self.take(Keyword::Role) {
            self.if_exists();
            self.skip_identifier()?;
            self.in_catalog()?;
            return Ok(Kind::Other(Other::DropRole));
        }
        let Some(what) =
            [Keyword::Table, Keyword::View, Keyword::Schema, Keyword::Catalog, Keyword::Function]
                .into_iter()
                .find(|what| self.is(*what))
        else {
            return Err(self.expected("what to drop"));
        };
        self.at += 1;
        self.if_exists();
        Ok(match what {
            Keyword::Table => {
                self.target()?;
                Kind::Change(Change::DropTable)
            }
            Keyword::View => {
                self.target()?;
                Kind::Change(Change::DropView)
            }
            Keyword::Schema => {
                let name = self.name_of_schema()?;
                let cascade = self.take(Keyword::Cascade);
                if !cascade {
                    self.take(Keyword::Restrict);
                }
                Kind::Change(Change::DropSchema { name, cascade })
            }
            Keyword::Catalog => {
                self.skip_identifier()?;
                self.take_any(&[Keyword::Cascade, Keyword::Restrict]);
                Kind::Other(Other::DropCatalog)
            }
            _ => {
                self.function_declaration()?;
                Kind::Other(Other::DropFunction)
            }
        })
    }

    fn alter(&mut self) -> Parsed<Kind> {
        if self.take(Keyword::Schema) {
            self.name_of_schema()?;
            if self.take(Keyword::Rename) {
                self.expect(Keyword::To)?;
                self.skip_identifier()?;
            } else {
                self.set_authorization()?;
            }
            return Ok(Kind::Other(Other::AlterSchema));
        }
        if self.take(Keyword::Materialized) {
            self.expect(Keyword::View)?;
            self.if_exists();
            self.qualified_name()?;
            if self.take(Keyword::Rename) {
                self.expect(Keyword::To)?;
                self.qualified_name()?;
            } else if self.is(Keyword::Set) && self.is_at(1, Keyword::Authorization) {
                self.set_authorization()?;
            } else {
                self.expect_all(&[Keyword::Set, Keyword::Properties])?;
                self.assigned_properties(&mut Vec::new())?;
            }
            return Ok(Kind::Other(Other::AlterMaterializedView));
        }
        if self.take(Keyword::View) {
            self.target()?;
            if self.take(Keyword::Rename) {
                self.expect(Keyword::To)?;
                self.target()?;
                return Ok(Kind::Change(Change::RenameView));
            }
            self.set_authorization()?;
            return Ok(Kind::Other(Other::SetAuthorization));
        }
        self.expect(Keyword::Table)?;
        self.if_exists();
        self.target()?;
        self.alter_table()
    }

    fn set_authorization(&mut self) -> Parsed {
        self.expect_all(&[Keyword::Set, Keyword::Authorization])?;
        self.principal()
    }

    fn alter_table(&mut self) -> Parsed<Kind> {
        let change = if self.take(Keyword::Rename) {
            if self.take(Keyword::To) {
                self.target()?;
                Change::RenameTable
            } else {
                self.expect(Keyword::Column)?;
                self.if_exists();
                let (from, _) = self.qualified_name()?;
                self.expect(Keyword::To)?;
                Change::RenameColumn { from, to: self.identifier()? }
            }
        } else if self.take(Keyword::Add) {
            self.expect(Keyword::Column)?;
            self.if_not_exists()?;
            let mut properties = Vec::new();
            self.column_definition(&mut properties)?;
            if !self.take(Keyword::First) && self.take(Keyword::After) {
                self.skip_identifier()?;
            } else {
                self.take(Keyword::Last);
            }
            Change::AddColumn { properties }
        } else if self.take(Keyword::Drop) {
            self.expect(Keyword::Column)?;
            self.if_exists();
            self.qualified_name()?;
            Change::DropColumn
        } else if self.take(Keyword::Alter) {
            self.expect(Keyword::Column)?;
            self.qualified_name()?;
            if self.take(Keyword::Drop) {
                self.expect_all(&[Keyword::Not, Keyword::Null])?;
            } else {
                self.expect_all(&[Keyword::Set, Keyword::Data, Keyword::Type])?;
                self.data_type()?;
            }
            Change::AlterColumn
        } else if self.is(Keyword::Set) && self.is_at(1, Keyword::Authorization) {
            self.set_authorization()?;
            return Ok(Kind::Other(Other::SetAuthorization));
        } else if self.take(Keyword::Set) {
            self.expect(Keyword::Properties)?;
            let mut properties = Vec::new();
            self.assigned_properties(&mut properties)?;
            Change::SetProperties { properties }
        } else {
            self.expect(Keyword::Execute)?;
            let procedure = self.identifier()?;
            if self.is_symbol(Symbol::Open) {
                self.call_arguments()?;
            }
            self.scoped(Self::condition)?;
            Change::Execute { procedure }
        };
        Ok(Kind::Change(change))
    }
}
