//! The words of Trino 476's grammar.
//!
//! The list is that of the supported release. A word that a later release adds is an identifier here, and
//! a statement that uses it as a keyword is then refused as unreadable.

macro_rules! keywords {
    (reserved { $($reserved:ident $reserved_bytes:literal $reserved_text:literal,)* } free { $($free:ident $free_bytes:literal $free_text:literal,)* }) => {
        /// A keyword, reserved or not.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)] // each variant is the word that it is named after
        pub enum Keyword { $($reserved,)* $($free,)* }

        impl Keyword {
            /// The keyword that a word is, whatever its case.
            pub fn find(word: &str) -> Option<Self> {
                let mut upper = [0_u8; LONGEST];
                let upper = upper.get_mut(..word.len())?;
                upper.copy_from_slice(word.as_bytes());
                upper.make_ascii_uppercase();
                match &*upper {
                    $($reserved_bytes => Some(Self::$reserved),)*
                    $($free_bytes => Some(Self::$free),)*
                    _ => None,
                }
            }

            /// Whether the word can be an identifier without quotes.
            pub fn is_reserved(self) -> bool {
                matches!(self, $(Self::$reserved)|*)
            }

            /// The word, in upper case.
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$reserved => $reserved_text,)*
                    $(Self::$free => $free_text,)*
                }
            }
        }
    };
}

/// The length of the longest keyword.
const LONGEST: usize = 17;

keywords! {
    reserved {
        Alter b"ALTER" "ALTER", And b"AND" "AND", As b"AS" "AS", Auto b"AUTO" "AUTO", Between b"BETWEEN" "BETWEEN", By b"BY" "BY", Case b"CASE" "CASE", Cast b"CAST" "CAST",
        Constraint b"CONSTRAINT" "CONSTRAINT", Create b"CREATE" "CREATE", Cross b"CROSS" "CROSS", Cube b"CUBE" "CUBE", CurrentCatalog b"CURRENT_CATALOG" "CURRENT_CATALOG",
        CurrentDate b"CURRENT_DATE" "CURRENT_DATE", CurrentPath b"CURRENT_PATH" "CURRENT_PATH", CurrentRole b"CURRENT_ROLE" "CURRENT_ROLE", CurrentSchema b"CURRENT_SCHEMA" "CURRENT_SCHEMA",
        CurrentTime b"CURRENT_TIME" "CURRENT_TIME", CurrentTimestamp b"CURRENT_TIMESTAMP" "CURRENT_TIMESTAMP", CurrentUser b"CURRENT_USER" "CURRENT_USER",
        Deallocate b"DEALLOCATE" "DEALLOCATE", Delete b"DELETE" "DELETE", Describe b"DESCRIBE" "DESCRIBE", Distinct b"DISTINCT" "DISTINCT", Drop b"DROP" "DROP",
        Else b"ELSE" "ELSE", End b"END" "END", Escape b"ESCAPE" "ESCAPE", Except b"EXCEPT" "EXCEPT", Exists b"EXISTS" "EXISTS", Extract b"EXTRACT" "EXTRACT",
        False b"FALSE" "FALSE", For b"FOR" "FOR", From b"FROM" "FROM", Full b"FULL" "FULL", Group b"GROUP" "GROUP", Grouping b"GROUPING" "GROUPING", Having b"HAVING" "HAVING",
        In b"IN" "IN", Inner b"INNER" "INNER", Insert b"INSERT" "INSERT", Intersect b"INTERSECT" "INTERSECT", Into b"INTO" "INTO", Is b"IS" "IS", Join b"JOIN" "JOIN",
        JsonArray b"JSON_ARRAY" "JSON_ARRAY", JsonExists b"JSON_EXISTS" "JSON_EXISTS", JsonObject b"JSON_OBJECT" "JSON_OBJECT", JsonQuery b"JSON_QUERY" "JSON_QUERY",
        JsonTable b"JSON_TABLE" "JSON_TABLE", JsonValue b"JSON_VALUE" "JSON_VALUE", Left b"LEFT" "LEFT", Like b"LIKE" "LIKE", Listagg b"LISTAGG" "LISTAGG",
        Localtime b"LOCALTIME" "LOCALTIME", Localtimestamp b"LOCALTIMESTAMP" "LOCALTIMESTAMP", Natural b"NATURAL" "NATURAL", Normalize b"NORMALIZE" "NORMALIZE",
        Not b"NOT" "NOT", Null b"NULL" "NULL", On b"ON" "ON", Or b"OR" "OR", Order b"ORDER" "ORDER", Outer b"OUTER" "OUTER", Prepare b"PREPARE" "PREPARE",
        Recursive b"RECURSIVE" "RECURSIVE", Right b"RIGHT" "RIGHT", Rollup b"ROLLUP" "ROLLUP", Select b"SELECT" "SELECT", Skip b"SKIP" "SKIP", Table b"TABLE" "TABLE",
        Then b"THEN" "THEN", Trim b"TRIM" "TRIM", True b"TRUE" "TRUE", Uescape b"UESCAPE" "UESCAPE", Union b"UNION" "UNION", Unnest b"UNNEST" "UNNEST", Using b"USING" "USING",
        Values b"VALUES" "VALUES", When b"WHEN" "WHEN", Where b"WHERE" "WHERE", With b"WITH" "WITH",
    }
    free {
        Absent b"ABSENT" "ABSENT", Add b"ADD" "ADD", Admin b"ADMIN" "ADMIN", After b"AFTER" "AFTER", All b"ALL" "ALL", Analyze b"ANALYZE" "ANALYZE", Any b"ANY" "ANY",
        Array b"ARRAY" "ARRAY", Asc b"ASC" "ASC", At b"AT" "AT", Authorization b"AUTHORIZATION" "AUTHORIZATION", Begin b"BEGIN" "BEGIN", Bernoulli b"BERNOULLI" "BERNOULLI",
        Both b"BOTH" "BOTH", Call b"CALL" "CALL", Called b"CALLED" "CALLED", Cascade b"CASCADE" "CASCADE", Catalog b"CATALOG" "CATALOG", Catalogs b"CATALOGS" "CATALOGS",
        Column b"COLUMN" "COLUMN", Columns b"COLUMNS" "COLUMNS", Comment b"COMMENT" "COMMENT", Commit b"COMMIT" "COMMIT", Committed b"COMMITTED" "COMMITTED",
        Conditional b"CONDITIONAL" "CONDITIONAL", Copartition b"COPARTITION" "COPARTITION", Corresponding b"CORRESPONDING" "CORRESPONDING", Count b"COUNT" "COUNT",
        Current b"CURRENT" "CURRENT", Data b"DATA" "DATA", Date b"DATE" "DATE", Day b"DAY" "DAY", Declare b"DECLARE" "DECLARE", Default b"DEFAULT" "DEFAULT",
        Define b"DEFINE" "DEFINE", Definer b"DEFINER" "DEFINER", Deny b"DENY" "DENY", Desc b"DESC" "DESC", Descriptor b"DESCRIPTOR" "DESCRIPTOR",
        Deterministic b"DETERMINISTIC" "DETERMINISTIC", Distributed b"DISTRIBUTED" "DISTRIBUTED", Do b"DO" "DO", Double b"DOUBLE" "DOUBLE", Elseif b"ELSEIF" "ELSEIF",
        Empty b"EMPTY" "EMPTY", Encoding b"ENCODING" "ENCODING", Error b"ERROR" "ERROR", Excluding b"EXCLUDING" "EXCLUDING", Execute b"EXECUTE" "EXECUTE",
        Explain b"EXPLAIN" "EXPLAIN", Fetch b"FETCH" "FETCH", Filter b"FILTER" "FILTER", Final b"FINAL" "FINAL", First b"FIRST" "FIRST", Following b"FOLLOWING" "FOLLOWING",
        Format b"FORMAT" "FORMAT", Function b"FUNCTION" "FUNCTION", Functions b"FUNCTIONS" "FUNCTIONS", Grace b"GRACE" "GRACE", Grant b"GRANT" "GRANT", Granted b"GRANTED" "GRANTED",
        Grants b"GRANTS" "GRANTS", Graphviz b"GRAPHVIZ" "GRAPHVIZ", Groups b"GROUPS" "GROUPS", Hour b"HOUR" "HOUR", If b"IF" "IF", Ignore b"IGNORE" "IGNORE",
        Immediate b"IMMEDIATE" "IMMEDIATE", Including b"INCLUDING" "INCLUDING", Initial b"INITIAL" "INITIAL", Input b"INPUT" "INPUT", Interval b"INTERVAL" "INTERVAL",
        Invoker b"INVOKER" "INVOKER", Io b"IO" "IO", Isolation b"ISOLATION" "ISOLATION", Iterate b"ITERATE" "ITERATE", Json b"JSON" "JSON", Keep b"KEEP" "KEEP",
        Key b"KEY" "KEY", Keys b"KEYS" "KEYS", Language b"LANGUAGE" "LANGUAGE", Last b"LAST" "LAST", Lateral b"LATERAL" "LATERAL", Leading b"LEADING" "LEADING",
        Leave b"LEAVE" "LEAVE", Level b"LEVEL" "LEVEL", Limit b"LIMIT" "LIMIT", Local b"LOCAL" "LOCAL", Logical b"LOGICAL" "LOGICAL", Loop b"LOOP" "LOOP", Map b"MAP" "MAP",
        Match b"MATCH" "MATCH", Matched b"MATCHED" "MATCHED", Matches b"MATCHES" "MATCHES", MatchRecognize b"MATCH_RECOGNIZE" "MATCH_RECOGNIZE",
        Materialized b"MATERIALIZED" "MATERIALIZED", Measures b"MEASURES" "MEASURES", Merge b"MERGE" "MERGE", Minute b"MINUTE" "MINUTE", Month b"MONTH" "MONTH",
        Nested b"NESTED" "NESTED", Next b"NEXT" "NEXT", Nfc b"NFC" "NFC", Nfd b"NFD" "NFD", Nfkc b"NFKC" "NFKC", Nfkd b"NFKD" "NFKD", No b"NO" "NO", None b"NONE" "NONE",
        Nullif b"NULLIF" "NULLIF", Nulls b"NULLS" "NULLS", Object b"OBJECT" "OBJECT", Of b"OF" "OF", Offset b"OFFSET" "OFFSET", Omit b"OMIT" "OMIT", One b"ONE" "ONE",
        Only b"ONLY" "ONLY", Option b"OPTION" "OPTION", Ordinality b"ORDINALITY" "ORDINALITY", Output b"OUTPUT" "OUTPUT", Over b"OVER" "OVER", Overflow b"OVERFLOW" "OVERFLOW",
        Partition b"PARTITION" "PARTITION", Partitions b"PARTITIONS" "PARTITIONS", Passing b"PASSING" "PASSING", Past b"PAST" "PAST", Path b"PATH" "PATH",
        Pattern b"PATTERN" "PATTERN", Per b"PER" "PER", Period b"PERIOD" "PERIOD", Permute b"PERMUTE" "PERMUTE", Plan b"PLAN" "PLAN", Position b"POSITION" "POSITION",
        Preceding b"PRECEDING" "PRECEDING", Precision b"PRECISION" "PRECISION", Privileges b"PRIVILEGES" "PRIVILEGES", Properties b"PROPERTIES" "PROPERTIES",
        Prune b"PRUNE" "PRUNE", Quotes b"QUOTES" "QUOTES", Range b"RANGE" "RANGE", Read b"READ" "READ", Refresh b"REFRESH" "REFRESH", Rename b"RENAME" "RENAME",
        Repeat b"REPEAT" "REPEAT", Repeatable b"REPEATABLE" "REPEATABLE", Replace b"REPLACE" "REPLACE", Reset b"RESET" "RESET", Respect b"RESPECT" "RESPECT",
        Restrict b"RESTRICT" "RESTRICT", Return b"RETURN" "RETURN", Returning b"RETURNING" "RETURNING", Returns b"RETURNS" "RETURNS", Revoke b"REVOKE" "REVOKE",
        Role b"ROLE" "ROLE", Roles b"ROLES" "ROLES", Rollback b"ROLLBACK" "ROLLBACK", Row b"ROW" "ROW", Rows b"ROWS" "ROWS", Running b"RUNNING" "RUNNING", Scalar b"SCALAR" "SCALAR",
        Schema b"SCHEMA" "SCHEMA", Schemas b"SCHEMAS" "SCHEMAS", Second b"SECOND" "SECOND", Security b"SECURITY" "SECURITY", Seek b"SEEK" "SEEK",
        Serializable b"SERIALIZABLE" "SERIALIZABLE", Session b"SESSION" "SESSION", Set b"SET" "SET", Sets b"SETS" "SETS", Show b"SHOW" "SHOW", Some b"SOME" "SOME",
        Start b"START" "START", Stats b"STATS" "STATS", String b"STRING" "STRING", Subset b"SUBSET" "SUBSET", Substring b"SUBSTRING" "SUBSTRING", System b"SYSTEM" "SYSTEM",
        Tables b"TABLES" "TABLES", Tablesample b"TABLESAMPLE" "TABLESAMPLE", Text b"TEXT" "TEXT", Ties b"TIES" "TIES", Time b"TIME" "TIME", Timestamp b"TIMESTAMP" "TIMESTAMP",
        To b"TO" "TO", Trailing b"TRAILING" "TRAILING", Transaction b"TRANSACTION" "TRANSACTION", Truncate b"TRUNCATE" "TRUNCATE", TryCast b"TRY_CAST" "TRY_CAST",
        Type b"TYPE" "TYPE", Unbounded b"UNBOUNDED" "UNBOUNDED", Uncommitted b"UNCOMMITTED" "UNCOMMITTED", Unconditional b"UNCONDITIONAL" "UNCONDITIONAL",
        Unique b"UNIQUE" "UNIQUE", Unknown b"UNKNOWN" "UNKNOWN", Unmatched b"UNMATCHED" "UNMATCHED", Until b"UNTIL" "UNTIL", Update b"UPDATE" "UPDATE", Use b"USE" "USE",
        User b"USER" "USER", Utf16 b"UTF16" "UTF16", Utf32 b"UTF32" "UTF32", Utf8 b"UTF8" "UTF8", Validate b"VALIDATE" "VALIDATE", Value b"VALUE" "VALUE",
        Verbose b"VERBOSE" "VERBOSE", Version b"VERSION" "VERSION", View b"VIEW" "VIEW", While b"WHILE" "WHILE", Window b"WINDOW" "WINDOW", Within b"WITHIN" "WITHIN",
        Without b"WITHOUT" "WITHOUT", Work b"WORK" "WORK", Wrapper b"WRAPPER" "WRAPPER", Write b"WRITE" "WRITE", Year b"YEAR" "YEAR", Zone b"ZONE" "ZONE",
    }
}
