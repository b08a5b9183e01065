//! The kinds of statements of Trino 476.

use std::ops::Range;

use super::{Ident, Statement};

/// `LIKE pattern ESCAPE escape`: the tokens of both, as they stand in the statement.
pub type Like = Range<u32>;

/// What a statement is. The kinds that are not only denied are parsed to their end.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A query.
    Query,
    /// SHOW CATALOGS
    ShowCatalogs {
        /// The pattern.
        like: Option<Like>,
    },
    /// SHOW SCHEMAS
    ShowSchemas {
        /// Of this catalog; else of the session's.
        catalog: Option<Ident>,
        /// The pattern.
        like: Option<Like>,
    },
    /// SHOW TABLES
    ShowTables {
        /// Of this schema, one or two parts; else of the session's.
        schema: Option<Vec<Ident>>,
        /// The pattern.
        like: Option<Like>,
    },
    /// SHOW COLUMNS, DESCRIBE, DESC: of the one relation of the statement.
    ShowColumns {
        /// The pattern.
        like: Option<Like>,
    },
    /// SHOW FUNCTIONS
    ShowFunctions,
    /// SHOW SESSION
    ShowSession,
    /// SHOW CREATE TABLE and kin: of the one relation of the statement.
    ShowCreateTable,
    /// SHOW STATS FOR a table or a query: of the relations of the statement.
    ShowStats,
    /// USE
    Use {
        /// The catalog, if it is named.
        catalog: Option<Ident>,
        /// The schema.
        schema: Ident,
    },
    /// SET SESSION
    SetSession {
        /// The property: one part, or a catalog's name and one.
        name: Vec<Ident>,
    },
    /// RESET SESSION
    ResetSession {
        /// The property.
        name: Vec<Ident>,
    },
    /// PREPARE
    Prepare {
        /// The name.
        name: Ident,
        /// What is prepared.
        inner: Box<Statement>,
    },
    /// EXECUTE
    Execute {
        /// The name.
        name: Ident,
        /// The values of the parameters, with commas: the tokens behind USING.
        arguments: Option<Range<u32>>,
    },
    /// EXECUTE IMMEDIATE
    ExecuteImmediate {
        /// The statement, decoded.
        text: String,
        /// The values of the parameters, with commas: the tokens behind USING.
        arguments: Option<Range<u32>>,
    },
    /// DEALLOCATE PREPARE
    Deallocate {
        /// The name.
        name: Ident,
    },
    /// DESCRIBE INPUT
    DescribeInput {
        /// The prepared statement.
        name: Ident,
    },
    /// DESCRIBE OUTPUT
    DescribeOutput {
        /// The prepared statement.
        name: Ident,
    },
    /// EXPLAIN and EXPLAIN ANALYZE
    Explain {
        /// Whether the statement is run.
        analyze: bool,
        /// Whether it is `(TYPE VALIDATE)`, which shows no plan.
        validate: bool,
        /// The tokens in front of the statement.
        prefix: Range<u32>,
        /// What is explained.
        inner: Box<Statement>,
    },
    /// A statement that changes tables, views or schemas: those of its relations that are targets.
    Change(Change),
    /// START TRANSACTION
    StartTransaction,
    /// COMMIT
    Commit,
    /// ROLLBACK
    Rollback,
    /// A kind that is only denied. It has been read to its end all the same.
    Other(Other),
}

impl Kind {
    /// The kind's name, as in Trino's documentation; for messages, the audit and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Query => "SELECT",
            Self::ShowCatalogs { .. } => "SHOW CATALOGS",
            Self::ShowSchemas { .. } => "SHOW SCHEMAS",
            Self::ShowTables { .. } => "SHOW TABLES",
            Self::ShowColumns { .. } => "SHOW COLUMNS",
            Self::ShowFunctions => "SHOW FUNCTIONS",
            Self::ShowSession => "SHOW SESSION",
            Self::ShowCreateTable => "SHOW CREATE TABLE",
            Self::ShowStats => "SHOW STATS",
            Self::Use { .. } => "USE",
            Self::SetSession { .. } => "SET SESSION",
            Self::ResetSession { .. } => "RESET SESSION",
            Self::Prepare { .. } => "PREPARE",
            Self::Execute { .. } => "EXECUTE",
            Self::ExecuteImmediate { .. } => "EXECUTE IMMEDIATE",
            Self::Deallocate { .. } => "DEALLOCATE PREPARE",
            Self::DescribeInput { .. } => "DESCRIBE INPUT",
            Self::DescribeOutput { .. } => "DESCRIBE OUTPUT",
            Self::Explain { analyze: false, .. } => "EXPLAIN",
            Self::Explain { analyze: true, .. } => "EXPLAIN ANALYZE",
            Self::Change(change) => change.name(),
            Self::StartTransaction => "START TRANSACTION",
            Self::Commit => "COMMIT",
            Self::Rollback => "ROLLBACK",
            Self::Other(other) => other.name(),
        }
    }
}

/// What a statement changes, and how.
#[derive(Clone, Debug)]
pub enum Change {
    /// INSERT of the rows of a query.
    Insert,
    /// CREATE TABLE AS
    CreateTableAs {
        /// The names of the table's properties, in lower case.
        properties: Vec<String>,
    },
    /// CREATE TABLE with columns. Tables that it is LIKE are relations.
    CreateTable {
        /// The names of the properties of the table and of its columns, in lower case.
        properties: Vec<String>,
        /// Whether it takes those of a table that it is LIKE.
        copies_properties: bool,
    },
    /// DROP TABLE
    DropTable,
    /// TRUNCATE TABLE
    Truncate,
    /// DELETE
    Delete,
    /// UPDATE
    Update,
    /// MERGE
    Merge,
    /// ALTER TABLE ... RENAME TO: the second target is the new name, whose missing parts are those of the first.
    RenameTable,
    /// ALTER TABLE ... ADD COLUMN
    AddColumn {
        /// The names of the column's properties, in lower case.
        properties: Vec<String>,
    },
    /// ALTER TABLE ... DROP COLUMN
    DropColumn,
    /// ALTER TABLE ... RENAME COLUMN
    RenameColumn {
        /// The column, or a field within it.
        from: Vec<Ident>,
        /// Its new name.
        to: Ident,
    },
    /// ALTER TABLE ... ALTER COLUMN
    AlterColumn,
    /// ALTER TABLE ... SET PROPERTIES
    SetProperties {
        /// The names of the properties, in lower case.
        properties: Vec<String>,
    },
    /// ALTER TABLE ... EXECUTE
    Execute {
        /// The procedure.
        procedure: Ident,
    },
    /// COMMENT ON TABLE, VIEW or COLUMN
    Comment,
    /// ANALYZE
    Analyze,
    /// CREATE VIEW
    CreateView {
        /// The names of the properties, in lower case.
        properties: Vec<String>,
    },
    /// ALTER VIEW ... RENAME TO: as [`Self::RenameTable`].
    RenameView,
    /// DROP VIEW
    DropView,
    /// CREATE MATERIALIZED VIEW
    CreateMaterializedView {
        /// The names of the properties, in lower case.
        properties: Vec<String>,
    },
    /// REFRESH MATERIALIZED VIEW
    RefreshMaterializedView,
    /// DROP MATERIALIZED VIEW
    DropMaterializedView,
    /// CREATE SCHEMA
    CreateSchema {
        /// The name, one or two parts, and its tokens.
        name: (Vec<Ident>, Range<u32>),
        /// Whether it has an owner of its own, or properties.
        decorated: bool,
    },
    /// DROP SCHEMA
    DropSchema {
        /// The name, one or two parts, and its tokens.
        name: (Vec<Ident>, Range<u32>),
        /// Whether all that is in it goes, too.
        cascade: bool,
    },
}

impl Change {
    /// The kind's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::CreateTableAs { .. } => "CREATE TABLE AS",
            Self::CreateTable { .. } => "CREATE TABLE",
            Self::DropTable => "DROP TABLE",
            Self::Truncate => "TRUNCATE TABLE",
            Self::Delete => "DELETE",
            Self::Update => "UPDATE",
            Self::Merge => "MERGE",
            Self::RenameTable => "ALTER TABLE RENAME",
            Self::AddColumn { .. } => "ALTER TABLE ADD COLUMN",
            Self::DropColumn => "ALTER TABLE DROP COLUMN",
            Self::RenameColumn { .. } => "ALTER TABLE RENAME COLUMN",
            Self::AlterColumn => "ALTER TABLE ALTER COLUMN",
            Self::SetProperties { .. } => "ALTER TABLE SET PROPERTIES",
            Self::Execute { .. } => "ALTER TABLE EXECUTE",
            Self::Comment => "COMMENT",
            Self::Analyze => "ANALYZE",
            Self::CreateView { .. } => "CREATE VIEW",
            Self::RenameView => "ALTER VIEW RENAME",
            Self::DropView => "DROP VIEW",
            Self::CreateMaterializedView { .. } => "CREATE MATERIALIZED VIEW",
            Self::RefreshMaterializedView => "REFRESH MATERIALIZED VIEW",
            Self::DropMaterializedView => "DROP MATERIALIZED VIEW",
            Self::CreateSchema { .. } => "CREATE SCHEMA",
            Self::DropSchema { .. } => "DROP SCHEMA",
        }
    }

    /// The schema that it makes or drops, and the tokens of its name.
    pub fn schema(&self) -> Option<&(Vec<Ident>, Range<u32>)> {
        match self {
            Self::CreateSchema { name, .. } | Self::DropSchema { name, .. } => Some(name),
            _ => None,
        }
    }
}

macro_rules! others {
    ($($name:ident $text:literal,)*) => {
        /// The kinds that are only denied.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)] // each is named after its words
        pub enum Other { $($name,)* }

        impl Other {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The words that name it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

others! {
    AlterMaterializedView "ALTER MATERIALIZED VIEW",
    AlterSchema "ALTER SCHEMA",
    Call "CALL",
    CreateCatalog "CREATE CATALOG",
    CreateFunction "CREATE FUNCTION",
    CreateRole "CREATE ROLE",
    Deny "DENY",
    DropCatalog "DROP CATALOG",
    DropFunction "DROP FUNCTION",
    DropRole "DROP ROLE",
    Grant "GRANT",
    ResetSessionAuthorization "RESET SESSION AUTHORIZATION",
    Revoke "REVOKE",
    SetAuthorization "SET AUTHORIZATION",
    SetPath "SET PATH",
    SetRole "SET ROLE",
    SetSessionAuthorization "SET SESSION AUTHORIZATION",
    SetTimeZone "SET TIME ZONE",
    ShowCreateFunction "SHOW CREATE FUNCTION",
    ShowCreateMaterializedView "SHOW CREATE MATERIALIZED VIEW",
    ShowCreateSchema "SHOW CREATE SCHEMA",
    ShowCreateView "SHOW CREATE VIEW",
    ShowGrants "SHOW GRANTS",
    ShowRoleGrants "SHOW ROLE GRANTS",
    ShowRoles "SHOW ROLES",
}
