//! Trino's own listings: which catalogs, schemas, tables and columns there are.
//!
//! Each becomes a derived table that lists only what the principal may see. The LIMIT is a barrier: no
//! predicate of the user is evaluated on a row that the filter hides, apart from copies of some that cannot
//! fail (`pushdown`).

use super::RewriteError;
use crate::catalog::TableName;
use crate::policy::{Lists, Visibility};
use crate::sql::quote_identifier;

/// What the rows of a listing are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    /// Nothing that can be denied: names of types and of properties.
    Open,
    /// Catalogs, named by this column.
    Catalogs(&'static str),
    /// Schemas, named by these columns.
    Schemas([&'static str; 2]),
    /// Tables, named by these columns. The last is a column to be blanked: the text of a view.
    Tables([&'static str; 3], Option<(&'static str, &'static str)>),
    /// Columns, named by the first of these columns; all that a star shows of them.
    Columns([&'static str; 4], &'static [&'static str]),
    /// Not to be read.
    Closed,
}

const SCHEMA: &str = "information_schema";
/// The place of a column in its table.
const PLACE: &str = "ordinal_position";
const COLUMNS: [&str; 8] = [
    "table_catalog",
    "table_schema",
    "table_name",
    "column_name",
    PLACE,
    "column_default",
    "is_nullable",
    "data_type",
];
const JDBC_COLUMNS: [&str; 24] = [
    "table_cat",
    "table_schem",
    "table_name",
    "column_name",
    "data_type",
    "type_name",
    "column_size",
    "buffer_length",
    "decimal_digits",
    "num_prec_radix",
    "nullable",
    "remarks",
    "column_def",
    "sql_data_type",
    "sql_datetime_sub",
    "char_octet_length",
    PLACE,
    "is_nullable",
    "scope_catalog",
    "scope_schema",
    "scope_table",
    "source_data_type",
    "is_autoincrement",
    "is_generatedcolumn",
];

fn listing(name: &TableName) -> Option<Listing> {
    let found = match (name.catalog.as_str(), name.schema.as_str(), name.table.as_str()) {
        ("system", "jdbc", "catalogs") => Listing::Catalogs("table_cat"),
        ("system", "jdbc", "schemas") => Listing::Schemas(["table_catalog", "table_schem"]),
        ("system", "jdbc", "tables") => Listing::Tables(["table_cat", "table_schem", "table_name"], None),
        ("system", "jdbc", "columns") => {
            Listing::Columns(["table_cat", "table_schem", "table_name", "column_name"], &JDBC_COLUMNS)
        }
        (
            "system",
            "jdbc",
            "types" | "table_types" | "attributes" | "procedures" | "procedure_columns" | "pseudo_columns"
            | "super_tables" | "super_types" | "udts",
        ) => Listing::Open,
        (
            "system",
            "metadata",
            "schema_properties"
            | "table_properties"
            | "column_properties"
            | "analyze_properties"
            | "materialized_view_properties",
        ) => Listing::Catalogs("catalog_name"),
        ("system", "metadata", "catalogs") => Listing::Catalogs("catalog_name"),
        ("system", "metadata", "table_comments") => {
            Listing::Tables(["catalog_name", "schema_name", "table_name"], None)
        }
        ("system", "metadata", "materialized_views") => Listing::Tables(
            ["catalog_name", "schema_name", "name"],
            Some((
                "\"catalog_name\", \"schema_name\", \"name\", \"storage_catalog\", \"storage_schema\", \"storage_table\", \
                 \"freshness\", \"last_fresh_time\", \"comment\"",
                "definition",
            )),
        ),
        ("system", "jdbc" | "metadata", _) => Listing::Closed,
        (_, SCHEMA, "schemata") => Listing::Schemas(["catalog_name", "schema_name"]),
        (_, SCHEMA, "tables") => Listing::Tables(["table_catalog", "table_schema", "table_name"], None),
        (_, SCHEMA, "views") => Listing::Tables(
            ["table_catalog", "table_schema", "table_name"],
            Some(("\"table_catalog\", \"table_schema\", \"table_name\"", "view_definition")),
        ),
        (_, SCHEMA, "columns") => {
            Listing::Columns(["table_catalog", "table_schema", "table_name", "column_name"], &COLUMNS)
        }
        (_, SCHEMA, _) => Listing::Closed,
        _ => return None,
    };
    Some(found)
}

/// What a relation lists.
pub(super) fn lists(name: &TableName) -> Lists {
    match listing(name) {
        None => Lists::Nothing,
        Some(Listing::Columns(..)) => Lists::Columns,
        Some(
            Listing::Open
            | Listing::Catalogs(_)
            | Listing::Schemas(_)
            | Listing::Tables(..)
            | Listing::Closed,
        ) => Lists::Names,
    }
}

/// Whether a relation is a listing of Trino's.
pub(super) fn is_listing(name: &TableName) -> bool {
    listing(name).is_some()
}

/// What stands in place of a listing.
pub(super) enum Shown {
    /// The listing itself.
    Open,
    /// What the principal may see of it.
    Filtered(Filtered),
}

/// A listing with a filter.
pub(super) struct Filtered {
    select: String,
    filter: String,
    /// The columns that a condition of the user's may be about without being evaluated on what is hidden to
    /// any effect.
    pub(super) columns: Vec<&'static str>,
    /// Columns that no star shows.
    pub(super) hidden: &'static [&'static str],
}

impl Filtered {
    /// The query that gives what may be seen, and of it what meets conditions that cannot fail; each of them
    /// begins with ` AND `. `hidden` are those of the hidden columns that it shall have, each behind a comma.
    pub(super) fn query(&self, name: &TableName, conditions: &str, hidden: &str) -> String {
        let Self { select, filter, .. } = self;
        let name = name.quoted();
        format!("SELECT {select}{hidden} FROM {name} WHERE {filter}{conditions} LIMIT 9223372036854775807")
    }
}

/// All columns of a listing of columns, whose places are counted anew: a gap would tell of one that is left out. `table`
/// are the columns that name a table.
fn placed(table: &[&str], all: &[&str]) -> String {
    let quoted = |columns: &[&str]| columns.iter().map(|name| quote_identifier(name)).collect::<Vec<_>>();
    let place = quote_identifier(PLACE);
    let counted = format!(
        "system.builtin.row_number() OVER (PARTITION BY {} ORDER BY {place}) AS {place}",
        quoted(table).join(", ")
    );
    let all = quoted(all).into_iter().map(|name| if name == place { counted.clone() } else { name });
    all.collect::<Vec<_>>().join(", ")
}

/// What stands in place of a listing, for a principal who sees that much.
pub(super) fn shown(name: &TableName, visibility: &Visibility) -> Result<Shown, RewriteError> {
    let hidden = || RewriteError::NotFound(name.to_string());
    if name.schema == SCHEMA && !visibility.schema_may_be_seen(&name.catalog, SCHEMA) {
        return Err(hidden());
    }
    let quoted = |column: &str| format!("\"{column}\"");
    let (select, filter, columns) = match listing(name).ok_or_else(hidden)? {
        Listing::Open => return Ok(Shown::Open),
        Listing::Closed => return Err(hidden()),
        Listing::Catalogs(catalog) => {
            ("*".to_owned(), visibility.catalogs_predicate(&quoted(catalog)), vec![catalog])
        }
        Listing::Schemas(of @ [catalog, schema]) => {
            ("*".to_owned(), visibility.schemas_predicate(&quoted(catalog), &quoted(schema)), of.to_vec())
        }
        Listing::Tables(of @ [catalog, schema, table], blank) => {
            let filter = visibility.tables_predicate(&quoted(catalog), &quoted(schema), &quoted(table));
            let select = match blank {
                None => "*".to_owned(),
                Some((others, column)) => format!("{others}, CAST(NULL AS varchar) AS \"{column}\""),
            };
            (select, filter, of.to_vec())
        }
        Listing::Columns(of @ [catalog, schema, table, column], all) => {
            let filter = visibility.columns_predicate(
                &quoted(catalog),
                &quoted(schema),
                &quoted(table),
                &quoted(column),
            );
            if visibility.hides_columns() {
                // A condition about a name would change the places.
                (placed(&of[..3], all), filter, of[..3].to_vec())
            } else {
                ("*".to_owned(), filter, of.to_vec())
            }
        }
    };
    let hidden: &[&str] = match (name.schema.as_str(), name.table.as_str()) {
        (SCHEMA, "columns") => &["comment", "extra_info"],
        _ => &[],
    };
    Ok(Shown::Filtered(Filtered { select, filter, columns, hidden }))
}
