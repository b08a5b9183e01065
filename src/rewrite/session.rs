//! Statements about the session and the listings: SHOW, USE, SET SESSION, transactions.

use std::ops::Range;

use super::names::shown;
use super::{Context, RewriteError, ScopedSql, listing};
use crate::catalog::TableName;
use crate::sql::{Edits, Ident, Kind, SpecialKind, Statement, quote_identifier, quote_string};

pub(super) fn rewrite(statement: &Statement, context: &Context<'_>) -> Result<ScopedSql, RewriteError> {
    let text = match statement.kind() {
        Kind::ShowCatalogs { like } => {
            let filter = context.permit.visibility().catalogs_predicate("\"catalog_name\"");
            listed(
                "Catalog",
                "catalog_name",
                "\"system\".\"metadata\".\"catalogs\"",
                &filter,
                statement,
                like.as_ref(),
            )
        }
        Kind::ShowSchemas { catalog, like } => {
            let catalog = catalog_of(catalog.as_ref(), context)?;
            let filter = context.permit.visibility().schemas_predicate("\"catalog_name\"", "\"schema_name\"");
            let from = information_schema(&catalog, "schemata");
            listed("Schema", "schema_name", &from, &filter, statement, like.as_ref())
        }
        Kind::ShowTables { schema, like } => {
            show_tables(statement, schema.as_deref(), like.as_ref(), context)?
        }
        Kind::ShowColumns { like } => show_columns(statement, like.as_ref(), context)?,
        Kind::ShowFunctions => {
            // With FROM it would list the functions of a schema that may not be the principal's to see.
            if statement.tokens().len() > 2 && !statement.slice(2..3).eq_ignore_ascii_case("like") {
                return Err(RewriteError::NotAllowed("SHOW FUNCTIONS of a schema is not allowed".to_owned()));
            }
            statement.print(&Edits::default()).text
        }
        Kind::ShowSession
            if !names_a_property(statement, context)
                && !context.permit.visibility().all_catalogs_may_be_seen() =>
        {
            return Err(RewriteError::NotAllowed(
                "SHOW SESSION lists the properties of all catalogs, and you may not see all; LIKE and the name of a \
                 property that you may set shows that one"
                    .to_owned(),
            ));
        }
        Kind::Use { catalog, schema } => {
            let catalog = catalog_of(catalog.as_ref(), context)?;
            let schema = fold(schema)?;
            check_schema(&catalog, &schema, context)?;
            format!("USE {}.{}", quote_identifier(&catalog), quote_identifier(&schema))
        }
        Kind::SetSession { name } | Kind::ResetSession { name } => {
            check_property(name, context)?;
            let subquery = statement.specials().iter().any(|special| special.kind == SpecialKind::Subquery);
            if subquery || !statement.relations().is_empty() {
                return Err(RewriteError::NotAllowed(
                    "the value of a session property cannot hold queries".to_owned(),
                ));
            }
            super::check_functions(statement)?;
            statement.print(&Edits::default()).text
        }
        _ => statement.print(&Edits::default()).text,
    };
    // What a listing leaves out is counted in the statistics.
    let restricted = matches!(
        statement.kind(),
        Kind::ShowCatalogs { .. }
            | Kind::ShowSchemas { .. }
            | Kind::ShowTables { .. }
            | Kind::ShowColumns { .. }
    );
    Ok(ScopedSql {
        values: None,
        text: text.into(),
        restricted,
        pins_time_zone: false,
        positions: None,
        kind: statement.kind().name(),
        prepared: None,
    })
}

/// Whether it is `SHOW SESSION LIKE` and the name of a property that may be set.
fn names_a_property(statement: &Statement, context: &Context<'_>) -> bool {
    let words: Vec<&str> = (0..5).map(|at| statement.slice(at..at + 1)).collect();
    let [_, _, like, name, ""] = words[..] else { return false };
    let name = name.strip_prefix('\'').and_then(|name| name.strip_suffix('\''));
    like.eq_ignore_ascii_case("like")
        && name.is_some_and(|name| context.properties.iter().any(|one| one == name))
}

/// A session property by its name in lower case, as it stands on the allow-list.
pub(super) fn check_property(name: &[Ident], context: &Context<'_>) -> Result<(), RewriteError> {
    let name = shown(name).to_lowercase();
    if context.properties.contains(&name) { Ok(()) } else { Err(RewriteError::SessionProperty(name)) }
}

/// A session property that one statement would set for itself: not one that its class sets.
pub(super) fn check_fixed(name: &[Ident], context: &Context<'_>) -> Result<(), RewriteError> {
    let name = shown(name).to_lowercase();
    let is_fixed = context.fixed.iter().any(|(fixed, _)| *fixed == name);
    if is_fixed { Err(RewriteError::FixedProperty(name)) } else { Ok(()) }
}

/// Puts literals in place of `current_catalog` and `current_schema` among some tokens: Trino is not told the
/// session's catalog and schema, so that a name that Northgate overlooked is an error there and not a table.
pub(super) fn words(statement: &Statement, tokens: Range<u32>, context: &Context<'_>, edits: &mut Edits) {
    for special in statement.specials() {
        let value = match special.kind {
            SpecialKind::CurrentCatalog => context.names.catalog,
            SpecialKind::CurrentSchema => context.names.schema,
            _ => continue,
        };
        if tokens.start <= special.tokens.start && special.tokens.end <= tokens.end {
            let value = value.map_or_else(|| "NULL".to_owned(), quote_string);
            edits.replace(special.tokens.clone(), format!("CAST({value} AS varchar)"));
        }
    }
}

fn fold(name: &Ident) -> Result<String, RewriteError> {
    name.folded().ok_or_else(|| RewriteError::SchemaNotFound(name.value.clone()))
}

fn catalog_of(name: Option<&Ident>, context: &Context<'_>) -> Result<String, RewriteError> {
    let catalog = match name {
        Some(name) => fold(name)?,
        None => context.names.session_catalog("the statement")?,
    };
    if context.permit.visibility().catalog_may_be_seen(&catalog) {
        Ok(catalog)
    } else {
        Err(RewriteError::CatalogNotFound(catalog))
    }
}

fn check_schema(catalog: &str, schema: &str, context: &Context<'_>) -> Result<(), RewriteError> {
    if context.permit.visibility().schema_may_be_seen(catalog, schema) {
        Ok(())
    } else {
        Err(RewriteError::SchemaNotFound(schema.to_owned()))
    }
}

fn information_schema(catalog: &str, table: &str) -> String {
    format!("{}.\"information_schema\".\"{table}\"", quote_identifier(catalog))
}

/// A list of names under Trino's own heading, filtered, in order.
fn listed(
    heading: &str,
    column: &str,
    from: &str,
    filter: &str,
    statement: &Statement,
    like: Option<&Range<u32>>,
) -> String {
    let like = condition(column, statement, like);
    format!("SELECT \"{column}\" AS \"{heading}\" FROM {from} WHERE ({filter}){like} ORDER BY 1")
}

fn condition(column: &str, statement: &Statement, like: Option<&Range<u32>>) -> String {
    match like {
        None => String::new(),
        Some(tokens) => {
            let like = statement.print_range(tokens.clone(), &Edits::default()).text;
            format!(" AND \"{column}\" {like}")
        }
    }
}

fn show_tables(
    statement: &Statement,
    schema: Option<&[Ident]>,
    like: Option<&Range<u32>>,
    context: &Context<'_>,
) -> Result<String, RewriteError> {
    let (catalog, schema) = match schema {
        None => (catalog_of(None, context)?, context.names.session_schema("the statement")?),
        Some([schema]) => (catalog_of(None, context)?, fold(schema)?),
        Some([catalog, schema, ..]) => (catalog_of(Some(catalog), context)?, fold(schema)?),
        Some([]) => return Err(RewriteError::MissingSchema("the statement".to_owned())),
    };
    check_schema(&catalog, &schema, context)?;
    let visible = context.permit.visibility().tables_predicate(
        "\"table_catalog\"",
        "\"table_schema\"",
        "\"table_name\"",
    );
    let filter = format!("\"table_schema\" = {} AND ({visible})", quote_string(&schema));
    let from = information_schema(&catalog, "tables");
    Ok(listed("Table", "table_name", &from, &filter, statement, like))
}

fn show_columns(
    statement: &Statement,
    like: Option<&Range<u32>>,
    context: &Context<'_>,
) -> Result<String, RewriteError> {
    let [relation] = statement.relations() else {
        return Err(RewriteError::Unsound("SHOW COLUMNS is of one relation".to_owned()));
    };
    let name = context.names.resolve(relation)?;
    let columns = if let Some(scoped) = context.permit.scoped(&name) {
        let names: Vec<String> = scoped.columns().map(|column| quote_string(&column.name)).collect();
        format!(" AND \"column_name\" IN ({})", names.join(", "))
    } else {
        // Refuses what is not a listing that the principal may read.
        listing::shown(&name, context.permit.visibility())?;
        String::new()
    };
    let TableName { catalog, schema, table } = &name;
    Ok(format!(
        "SELECT \"column_name\" AS \"Column\", \"data_type\" AS \"Type\", coalesce(\"extra_info\", '') \
         AS \"Extra\", coalesce(\"comment\", '') AS \"Comment\" FROM {} WHERE \"table_schema\" = {} AND \"table_name\" = {}{columns}{} \
         ORDER BY \"ordinal_position\"",
        information_schema(catalog, "columns"),
        quote_string(schema),
        quote_string(table),
        condition("column_name", statement, like)
    ))
}
