//! One statement that describes relations of one schema, and how its rows are read.
//!
//! Trino 476 lists a materialized view as a `BASE TABLE` in `information_schema.tables`; only
//! `system.metadata.materialized_views` tells it from a table. Row fields are listed without quotes, which
//! [`Type`] allows for.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::flight::Answer;
use super::{CatalogError, Column, Described, MetadataQuery, RelationKind, TableName, Type};
use crate::sql::{quote_identifier, quote_string};

/// The statement, or `None` without names. All are of the first one's schema.
pub(super) fn query(names: &[TableName]) -> Option<MetadataQuery> {
    let first = names.first()?;
    let tables = names.iter().map(|name| quote_string(&name.table)).collect::<Vec<_>>().join(", ");
    let catalog = quote_identifier(&first.catalog);
    let schema = quote_string(&first.schema);
    Some(MetadataQuery(format!(
        "SELECT 'column', table_name, column_name, data_type, CAST(ordinal_position AS bigint) \
         FROM {catalog}.information_schema.columns WHERE table_schema = {schema} AND table_name IN ({tables}) \
         UNION ALL SELECT 'table', table_name, table_type, '', 0 \
         FROM {catalog}.information_schema.tables WHERE table_schema = {schema} AND table_name IN ({tables}) \
         UNION ALL SELECT 'materialized', name, '', '', 0 FROM system.metadata.materialized_views \
         WHERE catalog_name = {} AND schema_name = {schema} AND name IN ({tables})",
        quote_string(&first.catalog)
    )))
}

/// The statement that gives the definition of a view or a materialized view: one row, one column.
pub(super) fn definition(view: &TableName) -> MetadataQuery {
    let (catalog, schema, table) =
        (quote_string(&view.catalog), quote_string(&view.schema), quote_string(&view.table));
    MetadataQuery(format!(
        "SELECT view_definition FROM {}.information_schema.views \
         WHERE table_schema = {schema} AND table_name = {table} \
         UNION SELECT definition FROM system.metadata.materialized_views \
         WHERE catalog_name = {catalog} AND schema_name = {schema} AND name = {table}",
        quote_identifier(&view.catalog)
    ))
}

#[derive(Default)]
struct Seen {
    kinds: Vec<String>,
    materialized: bool,
    columns: Vec<(u64, Column)>,
}

/// What the rows say of each name. Whatever they don't say in full, and once, is an error.
pub(super) fn read(names: &[TableName], rows: &[Vec<Value>]) -> BTreeMap<TableName, Answer> {
    let mut seen: BTreeMap<&str, Seen> = BTreeMap::new();
    let mut strange = None;
    for row in rows {
        let (Some(what), Some(table), Some(name), Some(text), Some(position)) = (
            row.first().and_then(Value::as_str),
            row.get(1).and_then(Value::as_str),
            row.get(2).and_then(Value::as_str),
            row.get(3).and_then(Value::as_str),
            row.get(4).and_then(Value::as_u64),
        ) else {
            strange = Some("a row of another shape");
            continue;
        };
        let entry = seen.entry(table).or_default();
        match what {
            "column" => {
                entry.columns.push((position, Column { name: name.to_owned(), ty: Type::parse(text) }));
            }
            "table" => entry.kinds.push(name.to_owned()),
            "materialized" => entry.materialized = true,
            _ => strange = Some("a row of another kind"),
        }
    }
    let answer = |name: &TableName| {
        if let Some(why) = strange {
            return Err(CatalogError::Unreadable { name: name.clone(), why: why.to_owned() });
        }
        seen.get(name.table.as_str())
            .map_or_else(|| Err(CatalogError::NotFound(name.clone())), |entry| describe(name, entry))
    };
    names.iter().map(|name| (name.clone(), answer(name))).collect()
}

fn describe(name: &TableName, seen: &Seen) -> Answer {
    let unreadable = |why: String| Err(CatalogError::Unreadable { name: name.clone(), why });
    let kind = match seen.kinds.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // Between two listings a table may come or go.
        [] => return Err(CatalogError::NotFound(name.clone())),
        ["BASE TABLE" | "VIEW"] if seen.materialized => RelationKind::MaterializedView,
        ["BASE TABLE"] => RelationKind::Table,
        ["VIEW"] => RelationKind::View,
        [other] => return unreadable(format!("a '{other}'")),
        _ => return unreadable("listed twice".to_owned()),
    };
    let mut columns: Vec<&(u64, Column)> = seen.columns.iter().collect();
    columns.sort_by_key(|(position, _)| *position);
    if columns.is_empty() {
        return unreadable("no columns".to_owned());
    }
    if columns.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return unreadable("two columns in one place".to_owned());
    }
    let columns: Vec<Column> = columns.into_iter().map(|(_, column)| column.clone()).collect();
    Ok(Arc::new(Described { name: name.clone(), kind, columns }))
}
