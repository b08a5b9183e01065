//! Names of relations to three parts, as Trino completes them.

use std::collections::BTreeSet;

use super::RewriteError;
use crate::catalog::TableName;
use crate::policy::Lists;
use crate::sql::{Ident, Kind, Position, Relation, Statement, fold_name};

/// The most relations that one statement can name: each has to be described.
const MOST_RELATIONS: usize = 1_000;
/// How often a statement may name relations in all: each stands for a query in what Trino is sent, and Trino plans them all.
const MOST_OCCURRENCES: usize = 5_000;

/// The session's catalog and schema: what a name of fewer than three parts is completed with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names<'a> {
    /// The session's catalog.
    pub catalog: Option<&'a str>,
    /// The session's schema.
    pub schema: Option<&'a str>,
}

impl Names<'_> {
    /// The session's catalog, folded. Trino trims what comes in a header.
    pub(super) fn session_catalog(&self, of: &str) -> Result<String, RewriteError> {
        let name = self.catalog.map(str::trim).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| RewriteError::MissingCatalog(of.to_owned()))?;
        fold_name(name).ok_or_else(|| RewriteError::CatalogNotFound(name.to_owned()))
    }

    /// The session's schema, folded.
    pub(super) fn session_schema(&self, of: &str) -> Result<String, RewriteError> {
        let name = self.schema.map(str::trim).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| RewriteError::MissingSchema(of.to_owned()))?;
        fold_name(name).ok_or_else(|| RewriteError::SchemaNotFound(name.to_owned()))
    }

    /// The catalog and the schema that the name of a schema stands for.
    pub fn schema(&self, name: &[Ident]) -> Result<(String, String), RewriteError> {
        let shown = shown(name);
        let fold = |part: &Ident| part.folded().ok_or_else(|| RewriteError::SchemaNotFound(shown.clone()));
        match name {
            [schema] => Ok((self.session_catalog(&shown)?, fold(schema)?)),
            [catalog, schema] => Ok((fold(catalog)?, fold(schema)?)),
            _ => Err(RewriteError::SchemaNotFound(shown)),
        }
    }

    /// The resolved name of a relation. Names with `$` are those of metadata and storage tables, which
    /// show what a mask or a filter hides, and do not exist here.
    pub(super) fn resolve(&self, relation: &Relation) -> Result<TableName, RewriteError> {
        let shown = || shown(&relation.name);
        let fold = |part: &Ident| part.folded().ok_or_else(|| RewriteError::NotFound(shown()));
        let name = match &relation.name[..] {
            [table] => {
                // The schema first, as Trino asks for it.
                let schema = self.session_schema(&shown())?;
                TableName { catalog: self.session_catalog(&shown())?, schema, table: fold(table)? }
            }
            [schema, table] => TableName {
                catalog: self.session_catalog(&shown())?,
                schema: fold(schema)?,
                table: fold(table)?,
            },
            [catalog, schema, table] => {
                TableName { catalog: fold(catalog)?, schema: fold(schema)?, table: fold(table)? }
            }
            _ => return Err(RewriteError::NotFound(shown())),
        };
        if name.is_metadata() {
            return Err(RewriteError::NotFound(name.to_string()));
        }
        Ok(name)
    }
}

/// A name as a message shows it.
pub(super) fn shown(name: &[Ident]) -> String {
    name.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".")
}

/// The statement whose relations count: the one that EXPLAIN explains, else the statement itself.
pub fn subject(statement: &Statement) -> &Statement {
    match statement.kind() {
        Kind::Explain { inner, .. } => inner,
        _ => statement,
    }
}

/// The relations that a statement writes to, in the order of the text. The new name of what is renamed is the
/// second; Trino completes it with the parts of the first.
pub fn targets(statement: &Statement, names: &Names<'_>) -> Result<Vec<TableName>, RewriteError> {
    let mut targets: Vec<TableName> = Vec::new();
    let of = subject(statement).relations().iter().filter(|relation| relation.position == Position::Target);
    for relation in of {
        let name = match targets.first() {
            Some(first) => {
                Names { catalog: Some(&first.catalog), schema: Some(&first.schema) }.resolve(relation)?
            }
            None => names.resolve(relation)?,
        };
        targets.push(name);
    }
    Ok(targets)
}

/// Which catalogs, schemas, tables and columns an answer may tell of, so that it matters what of them the principal may see.
///
/// # Errors
/// A name is not one, or misses a part that the session does not give.
pub fn lists(statement: &Statement, names: &Names<'_>) -> Result<Lists, RewriteError> {
    let statement = subject(statement);
    let mut lists = Lists::Nothing;
    // These show of columns those of one relation, which is decided about.
    if !matches!(statement.kind(), Kind::Query | Kind::Change(_)) {
        lists = Lists::Names;
    }
    for relation in statement.relations() {
        lists = lists.max(super::listing::lists(&names.resolve(relation)?));
    }
    Ok(lists)
}

/// The relations of a statement that a policy must decide about, each once. The listings of Trino itself
/// (`information_schema`, `system.jdbc`, `system.metadata`) are left out: they are filtered by what the
/// principal may see. So is what is written to: see [`targets`].
pub fn resolve(statement: &Statement, names: &Names<'_>) -> Result<Vec<TableName>, RewriteError> {
    let mut found = BTreeSet::new();
    let relations = subject(statement).relations();
    if relations.len() > MOST_OCCURRENCES {
        return Err(RewriteError::TooManyRelations(MOST_OCCURRENCES));
    }
    for relation in relations {
        if relation.position == Position::Target {
            continue;
        }
        let name = names.resolve(relation)?;
        if !super::listing::is_listing(&name) && found.insert(name) && found.len() > MOST_RELATIONS {
            return Err(RewriteError::TooManyRelations(MOST_RELATIONS));
        }
    }
    Ok(found.into_iter().collect())
}
