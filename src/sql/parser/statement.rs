//! Statements.

use std::ops::Range;

use super::{Parsed, Parser};
use crate::sql::facts::{Facts, Position};
use crate::sql::kind::{Change, Kind, Other};
use crate::sql::lexer::{Symbol, TokenKind};
use crate::sql::{Ident, Keyword, Statement};

impl Parser<'_> {
    /// One statement and nothing behind it. `outer` names the statement that this one stands in.
    pub(in crate::sql) fn statement(&mut self, outer: Option<&'static str>) -> Parsed<Kind> {
        let kind = self.kind_of_statement(outer)?;
        self.expect_end()?;
        Ok(kind)
    }

    fn kind_of_statement(&mut self, outer: Option<&'static str>) -> Parsed<Kind> {
        let Some(TokenKind::Keyword(first)) = self.kind(0) else {
            if self.is_symbol(Symbol::Open) {
                self.root_query()?;
                return Ok(Kind::Query);
            }
            return Err(self.expected("a statement"));
        };
        match first {
            Keyword::Select | Keyword::With | Keyword::Table | Keyword::Values => {
                self.root_query()?;
                Ok(Kind::Query)
            }
            Keyword::Show => {
                self.at += 1;
                self.show()
            }
            Keyword::Desc => {
                self.at += 1;
                self.show_target()?;
                Ok(Kind::ShowColumns { like: None })
            }
            Keyword::Describe => {
                self.at += 1;
                self.describe()
            }
            Keyword::Use => {
                self.at += 1;
                let name = self.identifier()?;
                if self.take_symbol(Symbol::Dot) {
                    return Ok(Kind::Use { catalog: Some(name), schema: self.identifier()? });
                }
                Ok(Kind::Use { catalog: None, schema: name })
            }
            Keyword::Set | Keyword::Reset => self.set(),
            Keyword::Insert
            | Keyword::Delete
            | Keyword::Update
            | Keyword::Merge
            | Keyword::Truncate
            | Keyword::Create
            | Keyword::Drop
            | Keyword::Alter
            | Keyword::Comment
            | Keyword::Analyze
            | Keyword::Refresh => self.change(first),
            Keyword::Call | Keyword::Grant | Keyword::Revoke | Keyword::Deny => self.other(first),
            Keyword::Start => {
                self.at += 1;
                self.start_transaction()
            }
            Keyword::Commit => {
                self.at += 1;
                self.take(Keyword::Work);
                Ok(Kind::Commit)
            }
            Keyword::Rollback => {
                self.at += 1;
                self.take(Keyword::Work);
                Ok(Kind::Rollback)
            }
            Keyword::Prepare if outer.is_none() => {
                self.at += 1;
                let name = self.identifier()?;
                self.expect(Keyword::From)?;
                Ok(Kind::Prepare { name, inner: Box::new(self.inner("PREPARE")?) })
            }
            Keyword::Deallocate => {
                self.at += 1;
                self.expect(Keyword::Prepare)?;
                Ok(Kind::Deallocate { name: self.identifier()? })
            }
            Keyword::Execute => {
                self.at += 1;
                self.execute()
            }
            Keyword::Explain if outer != Some("EXPLAIN") => self.explain(),
            Keyword::Prepare | Keyword::Explain => {
                self.unsupported("statements within a statement of this kind are")
            }
            _ => Err(self.expected("a statement")),
        }
    }

    /// The statement that the rest of the text is.
    fn inner(&mut self, outer: &'static str) -> Parsed<Statement> {
        let start = self.at;
        let kind = self.statement(Some(outer))?;
        let facts = std::mem::take(&mut self.facts);
        let tokens = self.tokens[start..].to_vec();
        self.at = self.tokens.len();
        let shift = super::index(start);
        Ok(Statement::from_parts(self.text, tokens, kind_shifted(kind, shift), shifted(facts, shift)))
    }

    fn show(&mut self) -> Parsed<Kind> {
        let Some(TokenKind::Keyword(what)) = self.kind(0) else {
            return Err(self.expected("what to show"));
        };
        self.at += 1;
        match what {
            Keyword::Catalogs => Ok(Kind::ShowCatalogs { like: self.like()? }),
            Keyword::Schemas => {
                let catalog = if self.take_any(&[Keyword::From, Keyword::In]) {
                    Some(self.identifier()?)
                } else {
                    None
                };
                Ok(Kind::ShowSchemas { catalog, like: self.like()? })
            }
            Keyword::Tables => {
                let schema = if self.take_any(&[Keyword::From, Keyword::In]) {
                    Some(self.schema_name()?)
                } else {
                    None
                };
                Ok(Kind::ShowTables { schema, like: self.like()? })
            }
            Keyword::Columns => {
                self.expect_any(&[Keyword::From, Keyword::In])?;
                self.show_target()?;
                Ok(Kind::ShowColumns { like: self.like()? })
            }
            Keyword::Functions => {
                if self.take_any(&[Keyword::From, Keyword::In]) {
                    self.schema_name()?;
                }
                self.like()?;
                Ok(Kind::ShowFunctions)
            }
            Keyword::Session => {
                self.like()?;
                Ok(Kind::ShowSession)
            }
            Keyword::Create => self.show_create(),
            Keyword::Stats => {
                self.expect(Keyword::For)?;
                if self.take_symbol(Symbol::Open) {
                    self.root_query()?;
                    self.close()?;
                } else {
                    self.show_target()?;
                }
                Ok(Kind::ShowStats)
            }
            Keyword::Current => {
                self.expect(Keyword::Roles)?;
                self.of_catalog()?;
                Ok(Kind::Other(Other::ShowRoles))
            }
            Keyword::Roles => {
                self.of_catalog()?;
                Ok(Kind::Other(Other::ShowRoles))
            }
            Keyword::Role => {
                self.expect(Keyword::Grants)?;
                self.of_catalog()?;
                Ok(Kind::Other(Other::ShowRoleGrants))
            }
            Keyword::Grants => {
                if self.take(Keyword::On) {
                    self.granted_object()?;
                }
                Ok(Kind::Other(Other::ShowGrants))
            }
            _ => {
                self.at -= 1;
                Err(self.expected("what to show"))
            }
        }
    }

    fn of_catalog(&mut self) -> Parsed {
        if self.take_any(&[Keyword::From, Keyword::In]) { self.skip_identifier() } else { Ok(()) }
    }

    fn show_create(&mut self) -> Parsed<Kind> {
        if self.take(Keyword::Table) {
            self.show_target()?;
            return Ok(Kind::ShowCreateTable);
        }
        let other = if self.take(Keyword::View) {
            Other::ShowCreateView
        } else if self.take(Keyword::Materialized) {
            self.expect(Keyword::View)?;
            Other::ShowCreateMaterializedView
        } else if self.take(Keyword::Schema) {
            Other::ShowCreateSchema
        } else {
            self.expect(Keyword::Function)?;
            Other::ShowCreateFunction
        };
        self.qualified_name()?;
        Ok(Kind::Other(other))
    }

    fn like(&mut self) -> Parsed<Option<Range<u32>>> {
        let start = self.at;
        if !self.take(Keyword::Like) {
            return Ok(None);
        }
        self.string()?;
        if self.take(Keyword::Escape) {
            self.string()?;
        }
        Ok(Some(self.range(start)))
    }

    fn schema_name(&mut self) -> Parsed<Vec<Ident>> {
        let at = self.at;
        let (name, _) = self.qualified_name()?;
        if name.len() > 2 {
            self.at = at;
            return Err(self.error("a schema's name has at most two parts"));
        }
        Ok(name)
    }

    fn show_target(&mut self) -> Parsed {
        if let Some(relation) = self.table_name(Position::ShowTarget)? {
            self.facts.relations.push(relation);
        }
        Ok(())
    }

    fn describe(&mut self) -> Parsed<Kind> {
        // INPUT and OUTPUT are also names of tables.
        if self.is(Keyword::Input) && self.is_identifier_at(1) {
            self.at += 1;
            return Ok(Kind::DescribeInput { name: self.identifier()? });
        }
        if self.is(Keyword::Output) && self.is_identifier_at(1) {
            self.at += 1;
            return Ok(Kind::DescribeOutput { name: self.identifier()? });
        }
        self.show_target()?;
        Ok(Kind::ShowColumns { like: None })
    }

    fn execute(&mut self) -> Parsed<Kind> {
        if self.is(Keyword::Immediate) && self.is_string_at(1) {
            self.at += 1;
            if self.kind(0) == Some(TokenKind::UnicodeString) {
                return self.unsupported("unicode strings in EXECUTE IMMEDIATE are");
            }
            let token = self.tokens[self.at];
            self.string()?;
            let text = self.text[token.start as usize + 1..token.end as usize - 1].replace("''", "'");
            return Ok(Kind::ExecuteImmediate { text, arguments: self.using()? });
        }
        let name = self.identifier()?;
        Ok(Kind::Execute { name, arguments: self.using()? })
    }

    fn set(&mut self) -> Parsed<Kind> {
        let reset = self.is(Keyword::Reset);
        self.at += 1;
        if self.take(Keyword::Session) {
            if self.is(Keyword::Authorization) && !self.is_symbol_at(1, Symbol::Equal) {
                self.at += 1;
                if reset {
                    return Ok(Kind::Other(Other::ResetSessionAuthorization));
                }
                if self.is_string_at(0) {
                    self.string()?;
                } else {
                    self.skip_identifier()?;
                }
                return Ok(Kind::Other(Other::SetSessionAuthorization));
            }
            let (name, _) = self.qualified_name()?;
            if reset {
                return Ok(Kind::ResetSession { name });
            }
            self.expect_symbol(Symbol::Equal, "'='")?;
            self.expression()?;
            return Ok(Kind::SetSession { name });
        }
        if reset {
            return Err(self.expected("SESSION"));
        }
        if self.take(Keyword::Role) {
            self.skip_identifier()?;
            if self.take(Keyword::In) {
                self.skip_identifier()?;
            }
            return Ok(Kind::Other(Other::SetRole));
        }
        if self.take(Keyword::Path) {
            self.list(|parser| {
                parser.skip_identifier()?;
                if parser.take_symbol(Symbol::Dot) { parser.skip_identifier() } else { Ok(()) }
            })?;
            return Ok(Kind::Other(Other::SetPath));
        }
        self.expect_all(&[Keyword::Time, Keyword::Zone])?;
        if self.is(Keyword::Local) && self.at + 1 == self.tokens.len() {
            self.at += 1;
        } else {
            self.expression()?;
        }
        Ok(Kind::Other(Other::SetTimeZone))
    }

    fn using(&mut self) -> Parsed<Option<Range<u32>>> {
        if !self.take(Keyword::Using) {
            return Ok(None);
        }
        let start = self.at;
        self.list(Self::expression)?;
        Ok(Some(self.range(start)))
    }

    fn explain(&mut self) -> Parsed<Kind> {
        let start = self.at;
        self.at += 1;
        // What stands behind ANALYZE may also be the table of an ANALYZE statement.
        let of_table = matches!(self.kind(1), Some(TokenKind::Word | TokenKind::Quoted));
        let analyze = !of_table && self.take(Keyword::Analyze);
        let mut validate = false;
        if analyze {
            self.take(Keyword::Verbose);
        } else if self.is_symbol(Symbol::Open)
            && (self.is_at(1, Keyword::Type) || self.is_at(1, Keyword::Format))
        {
            self.at += 1;
            let (mut formats, mut types) = (0, 0);
            self.list(|parser| {
                // Of two of a kind Trino takes the first; nobody means two.
                if parser.is(Keyword::Format) && formats > 0 || parser.is(Keyword::Type) && types > 0 {
                    return parser.unsupported("options of EXPLAIN that are given twice are");
                }
                if parser.take(Keyword::Format) {
                    formats += 1;
                    return parser.expect_any(&[Keyword::Text, Keyword::Graphviz, Keyword::Json]);
                }
                parser.expect(Keyword::Type)?;
                types += 1;
                validate = parser.is(Keyword::Validate);
                parser.expect_any(&[Keyword::Logical, Keyword::Distributed, Keyword::Validate, Keyword::Io])
            })?;
            self.close()?;
        }
        let prefix = self.range(start);
        Ok(Kind::Explain { analyze, validate, prefix, inner: Box::new(self.inner("EXPLAIN")?) })
    }

    fn start_transaction(&mut self) -> Parsed<Kind> {
        self.expect(Keyword::Transaction)?;
        if !self.at_end() {
            self.list(|parser| {
                if parser.take(Keyword::Read) {
                    return parser.expect_any(&[Keyword::Only, Keyword::Write]);
                }
                parser.expect_all(&[Keyword::Isolation, Keyword::Level])?;
                if parser.take(Keyword::Repeatable) {
                    return parser.expect(Keyword::Read);
                }
                if parser.take(Keyword::Serializable) {
                    return Ok(());
                }
                parser.expect(Keyword::Read)?;
                parser.expect_any(&[Keyword::Uncommitted, Keyword::Committed])
            })?;
        }
        Ok(Kind::StartTransaction)
    }
}

/// The facts with the numbers of tokens that an inner statement has.
fn shifted(mut facts: Facts, by: u32) -> Facts {
    let range = |range: &mut Range<u32>| *range = range.start - by..range.end - by;
    for relation in &mut facts.relations {
        range(&mut relation.tokens);
        if let Some(version) = &mut relation.version {
            range(version);
        }
    }
    for scope in &mut facts.scopes {
        if let Some(from) = &mut scope.from {
            *from -= by;
        }
        if let Some(condition) = &mut scope.condition {
            range(condition);
        }
    }
    for (_, token) in facts.references.iter_mut().flat_map(|reference| &mut reference.parts) {
        *token -= by;
    }
    facts.calls.iter_mut().for_each(|call| range(&mut call.tokens));
    facts.specials.iter_mut().for_each(|special| range(&mut special.tokens));
    facts
}

fn kind_shifted(mut kind: Kind, by: u32) -> Kind {
    match &mut kind {
        Kind::ShowCatalogs { like }
        | Kind::ShowSchemas { like, .. }
        | Kind::ShowTables { like, .. }
        | Kind::ShowColumns { like } => {
            if let Some(like) = like {
                *like = like.start - by..like.end - by;
            }
        }
        Kind::Execute { arguments, .. } | Kind::ExecuteImmediate { arguments, .. } => {
            if let Some(arguments) = arguments {
                *arguments = arguments.start - by..arguments.end - by;
            }
        }
        Kind::Explain { prefix, .. } => *prefix = prefix.start - by..prefix.end - by,
        Kind::Change(Change::CreateSchema { name, .. } | Change::DropSchema { name, .. }) => {
            name.1 = name.1.start - by..name.1.end - by;
        }
        Kind::Query
        | Kind::ShowFunctions
        | Kind::ShowSession
        | Kind::ShowCreateTable
        | Kind::ShowStats
        | Kind::Use { .. }
        | Kind::SetSession { .. }
        | Kind::ResetSession { .. }
        | Kind::Prepare { .. }
        | Kind::Deallocate { .. }
        | Kind::DescribeInput { .. }
        | Kind::DescribeOutput { .. }
        | Kind::Change(_)
        | Kind::StartTransaction
        | Kind::Commit
        | Kind::Rollback
        | Kind::Other(_) => {}
    }
    kind
}
