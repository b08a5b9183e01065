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
    /// INSERT of the rows of a query, into the one relation of the statement that is a target.
    Insert,
    /// CREATE TABLE AS: the target is the one relation of the statement that is one.
    CreateTableAs {
        /// OR REPLACE
        replace: bool,
        /// The names of the table's properties, in lower case.
        properties: Vec<String>,
    },
    /// START TRANSACTION
    StartTransaction,
    /// COMMIT
    Commit,
    /// ROLLBACK
    Rollback,
    /// A kind that is known by its first words and denied.
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
            Self::Insert => "INSERT",
            Self::CreateTableAs { .. } => "CREATE TABLE AS",
            Self::StartTransaction => "START TRANSACTION",
            Self::Commit => "COMMIT",
            Self::Rollback => "ROLLBACK",
            Self::Other(other) => other.name(),
        }
    }
}

macro_rules! others {
    ($($name:ident $text:literal,)*) => {
        /// The kinds that are known by their first words and denied.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)] // each is named after its first words
        pub enum Other { $($name,)* }

        impl Other {
            /// All of them; one whose words begin another's comes after it.
            pub(super) const ALL: &[Self] = &[$(Self::$name,)*];

            /// The first words.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

others! {
    AddColumnOrAlterTable "ALTER TABLE",
    AlterMaterializedView "ALTER MATERIALIZED VIEW",
    AlterSchema "ALTER SCHEMA",
    AlterView "ALTER VIEW",
    AlterBranch "ALTER BRANCH",
    Analyze "ANALYZE",
    Call "CALL",
    CommentOn "COMMENT ON",
    CreateBranch "CREATE BRANCH",
    CreateCatalog "CREATE CATALOG",
    CreateFunction "CREATE FUNCTION",
    CreateMaterializedView "CREATE MATERIALIZED VIEW",
    CreateOrReplace "CREATE OR REPLACE",
    CreateRole "CREATE ROLE",
    CreateSchema "CREATE SCHEMA",
    CreateTable "CREATE TABLE",
    CreateView "CREATE VIEW",
    Delete "DELETE",
    Deny "DENY",
    DropBranch "DROP BRANCH",
    DropCatalog "DROP CATALOG",
    DropFunction "DROP FUNCTION",
    DropMaterializedView "DROP MATERIALIZED VIEW",
    DropRole "DROP ROLE",
    DropSchema "DROP SCHEMA",
    DropTable "DROP TABLE",
    DropView "DROP VIEW",
    Grant "GRANT",
    Merge "MERGE",
    RefreshMaterializedView "REFRESH MATERIALIZED VIEW",
    ResetSessionAuthorization "RESET SESSION AUTHORIZATION",
    Revoke "REVOKE",
    SetPath "SET PATH",
    SetRole "SET ROLE",
    SetSessionAuthorization "SET SESSION AUTHORIZATION",
    SetTimeZone "SET TIME ZONE",
    ShowBranches "SHOW BRANCHES",
    ShowCreateFunction "SHOW CREATE FUNCTION",
    ShowCreateMaterializedView "SHOW CREATE MATERIALIZED VIEW",
    ShowCreateSchema "SHOW CREATE SCHEMA",
    ShowCreateView "SHOW CREATE VIEW",
    ShowCurrentRoles "SHOW CURRENT ROLES",
    ShowGrants "SHOW GRANTS",
    ShowRoleGrants "SHOW ROLE GRANTS",
    ShowRoles "SHOW ROLES",
    Truncate "TRUNCATE TABLE",
    Update "UPDATE",
}
