//! Trino's own listings: which catalogs, schemas, tables and columns there are.
//!
//! Each becomes a derived table that lists only what the principal may see. The LIMIT is a barrier: no
//! predicate of the user is evaluated on a row that the filter hides.

use super::RewriteError;
use crate::catalog::TableName;
use crate::policy::Visibility;

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
    /// Columns, named by these columns.
    Columns([&'static str; 4]),
    /// Not to be read.
    Closed,
}

const SCHEMA: &str = "information_schema";

fn listing(name: &TableName) -> Option<Listing> {
    let found = match (name.catalog.as_str(), name.schema.as_str(), name.table.as_str()) {
        ("system", "jdbc", "catalogs") => Listing::Catalogs("table_cat"),
        ("system", "jdbc", "schemas") => Listing::Schemas(["table_catalog", "table_schem"]),
        ("system", "jdbc", "tables") => Listing::Tables(["table_cat", "table_schem", "table_name"], None),
        ("system", "jdbc", "columns") => {
            Listing::Columns(["table_cat", "table_schem", "table_name", "column_name"])
        }
        (
            "system",
            "jdbc",
            "types" | "table_types" | "attributes" | "procedures" | "procedure_columns" | "pseudo_columns"
            | "super_tables" | "super_types" | "udts",
        )
        | (
            "system",
            "metadata",
            "schema_properties"
            | "table_properties"
            | "column_properties"
            | "analyze_properties"
            | "materialized_view_properties",
        ) => Listing::Open,
        ("system", "metadata", "catalogs") => Listing::Catalogs("catalog_name"),
        ("system", "metadata", "table_comments") => {
            Listing::Tables(["catalog_name", "schema_name", "table_name"], None)
        }
        ("system", "jdbc" | "metadata", _) => Listing::Closed,
        (_, SCHEMA, "schemata") => Listing::Schemas(["catalog_name", "schema_name"]),
        (_, SCHEMA, "tables") => Listing::Tables(["table_catalog", "table_schema", "table_name"], None),
        (_, SCHEMA, "views") => Listing::Tables(
            ["table_catalog", "table_schema", "table_name"],
            Some(("\"table_catalog\", \"table_schema\", \"table_name\"", "view_definition")),
        ),
        (_, SCHEMA, "columns") => {
            Listing::Columns(["table_catalog", "table_schema", "table_name", "column_name"])
        }
        (_, SCHEMA, _) => Listing::Closed,
        _ => return None,
    };
    Some(found)
}

/// Whether a relation is a listing of Trino's.
pub(super) fn is_listing(name: &TableName) -> bool {
    listing(name).is_some()
}

/// What stands in place of a listing.
pub(super) enum Shown {
    /// The listing itself.
    Open,
    /// A query that gives what the principal may see of it.
    Filtered(String),
}

/// What stands in place of a listing, for a principal who sees that much.
pub(super) fn shown(name: &TableName, visibility: &Visibility) -> Result<Shown, RewriteError> {
    let hidden = || RewriteError::NotFound(name.to_string());
    if name.schema == SCHEMA && !visibility.schema_may_be_seen(&name.catalog, SCHEMA) {
        return Err(hidden());
    }
    let quoted = |column: &str| format!("\"{column}\"");
    let (select, filter) = match listing(name).ok_or_else(hidden)? {
        Listing::Open => return Ok(Shown::Open),
        Listing::Closed => return Err(hidden()),
        Listing::Catalogs(catalog) => ("*".to_owned(), visibility.catalogs_predicate(&quoted(catalog))),
        Listing::Schemas([catalog, schema]) => {
            ("*".to_owned(), visibility.schemas_predicate(&quoted(catalog), &quoted(schema)))
        }
        Listing::Tables([catalog, schema, table], blank) => {
            let filter = visibility.tables_predicate(&quoted(catalog), &quoted(schema), &quoted(table));
            let select = match blank {
                None => "*".to_owned(),
                Some((others, column)) => format!("{others}, CAST(NULL AS varchar) AS \"{column}\""),
            };
            (select, filter)
        }
        Listing::Columns([catalog, schema, table, column]) => (
            "*".to_owned(),
            visibility.columns_predicate(&quoted(catalog), &quoted(schema), &quoted(table), &quoted(column)),
        ),
    };
    Ok(Shown::Filtered(format!(
        "SELECT {select} FROM {} WHERE {filter} LIMIT 9223372036854775807",
        name.quoted()
    )))
}
