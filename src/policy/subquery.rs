//! The sub-queries of a document's expressions: what they may be, and which relation each of their columns is of.
//!
//! A sub-query is one SELECT over tables that it names in full. Columns are bound to the tables as they are now, and to
//! exactly one of them: where a table gets a column of a name that the expression means of another, the query fails
//! until the author has qualified it.

use std::ops::Range;
use std::sync::Arc;

use super::permit::Scoped;
use crate::catalog::{Described, TableName, Type};
use crate::sql::{
    Expression, Keyword, Position, Reference, ScopeId, Symbol, TokenKind, fold_column, is_same_column,
    quote_identifier,
};

/// The scope of what stands outside of all sub-queries.
const OUTERMOST: ScopeId = 0;

/// The most tables that the sub-queries of one expression read.
const MOST: usize = 20;

/// A table that a sub-query reads.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: TableName,
    /// What its columns can be qualified with, folded.
    known_as: String,
    /// The tokens of the name and the alias.
    pub(super) tokens: Range<u32>,
    scope: ScopeId,
}

/// What cannot be in a sub-query: other ways to name relations and columns, and what picks rows by chance.
const REFUSED: [Keyword; 16] = [
    Keyword::With,
    Keyword::Order,
    Keyword::Limit,
    Keyword::Offset,
    Keyword::Fetch,
    Keyword::Using,
    Keyword::Natural,
    Keyword::Unnest,
    Keyword::Lateral,
    Keyword::Table,
    Keyword::JsonTable,
    Keyword::Values,
    Keyword::Union,
    Keyword::Intersect,
    Keyword::Except,
    Keyword::Window,
];

/// The tables that the sub-queries of an expression read. None, where it has no sub-queries.
pub(super) fn sources(expression: &Expression) -> Result<Vec<Source>, String> {
    if !expression.has_subquery() {
        return Ok(Vec::new());
    }
    for (at, token) in (0..).zip(expression.tokens()) {
        if let TokenKind::Keyword(keyword) = token.kind
            && REFUSED.contains(&keyword)
        {
            let word = expression.slice(at..at + 1).to_uppercase();
            return Err(format!("a sub-query of a policy is one SELECT over tables, without {word}"));
        }
    }
    // A derived table in FROM is a SELECT, and no sub-query of an expression.
    if selects(expression).count() != expression.subqueries() {
        return Err("a sub-query of a policy reads tables by name, not other queries".to_owned());
    }
    if expression.relations().len() > MOST {
        return Err(format!("the sub-queries of a policy read at most {MOST} tables"));
    }
    expression.relations().iter().map(|relation| source(expression, relation)).collect()
}

fn source(expression: &Expression, relation: &crate::sql::Relation) -> Result<Source, String> {
    let [catalog, schema, table] = relation.name.as_slice() else {
        return Err("a sub-query of a policy names tables with catalog and schema".to_owned());
    };
    let name = TableName::new(&catalog.value, &schema.value, &table.value)
        .filter(|name| !name.is_metadata())
        .ok_or("a sub-query of a policy reads a table whose name it cannot")?;
    let scope = relation
        .scope
        .filter(|_| relation.position == Position::From && relation.version.is_none() && !relation.sampled)
        .ok_or_else(|| format!("a sub-query of a policy reads {name} as it is, in FROM"))?;
    let mut end = relation.tokens.end;
    let kind = |at: u32| expression.tokens().get(at as usize).map(|token| token.kind);
    if relation.alias.is_some() {
        end += if kind(end) == Some(TokenKind::Keyword(Keyword::As)) { 2 } else { 1 };
        if kind(end) == Some(TokenKind::Symbol(Symbol::Open)) {
            return Err(format!("a sub-query of a policy does not rename the columns of {name}"));
        }
    }
    let known_as = fold_column(&relation.alias.as_ref().unwrap_or(table).value).into_owned();
    Ok(Source { name, known_as, tokens: relation.tokens.start..end, scope })
}

fn selects(expression: &Expression) -> impl Iterator<Item = u32> {
    let select = |(at, token): (u32, &crate::sql::Token)| {
        (token.kind == TokenKind::Keyword(Keyword::Select)).then_some(at)
    };
    (0..).zip(expression.tokens()).filter_map(select)
}

/// The tokens of each sub-query, from SELECT to its closing parenthesis.
pub(super) fn extents(expression: &Expression) -> Vec<Range<u32>> {
    let extent = |start: u32| {
        let mut depth = 0_u32;
        for (at, token) in (start..).zip(&expression.tokens()[start as usize..]) {
            match token.kind {
                TokenKind::Symbol(Symbol::Open) => depth += 1,
                TokenKind::Symbol(Symbol::Close) if depth == 0 => return start..at,
                TokenKind::Symbol(Symbol::Close) => depth -= 1,
                _ => {}
            }
        }
        start..expression.token_count()
    };
    selects(expression).map(extent).collect()
}

/// What a reference to a column is.
pub(super) struct Resolved<'a> {
    /// The table that a sub-query reads; none for the table of the policy.
    pub(super) source: Option<usize>,
    /// The column's name in the table.
    pub(super) column: &'a str,
    pub(super) ty: &'a Type,
    /// The tokens that name it, fields of it left out.
    pub(super) tokens: Range<u32>,
}

/// Whether a dot may stand behind a column of the type.
fn has_fields(ty: &Type) -> bool {
    matches!(ty, Type::Row(_) | Type::Other(_))
}

/// Finds the one column that a reference can mean.
pub(super) fn resolve<'a>(
    expression: &Expression,
    reference: &Reference,
    table: &'a Described,
    sources: &[Source],
    reads: &'a [Arc<Scoped>],
) -> Result<Resolved<'a>, String> {
    let Some((first, start)) = reference.parts.first() else {
        return Err("a reference without a name".to_owned());
    };
    if reference.star {
        return Err("a sub-query of a policy names its columns, or has a star alone".to_owned());
    }
    let qualified = reference.parts.get(1).map(|(part, at)| (&part.value, *at));
    let mut found = Vec::new();
    let mut scope = Some(reference.scope);
    while let Some(at) = scope {
        for (number, (source, read)) in sources.iter().zip(reads).enumerate() {
            if source.scope != at {
                continue;
            }
            let column = |name: &str| read.columns().find(|column| is_same_column(&column.name, name));
            let alone = column(&first.value).filter(|column| qualified.is_none() || has_fields(&column.ty));
            found.extend(alone.map(|column| (Some(number), column, *start)));
            if let Some((name, end)) = qualified
                && source.known_as == fold_column(&first.value)
            {
                found.extend(column(name).map(|column| (Some(number), column, end)));
            }
        }
        if at == OUTERMOST {
            let alone =
                table.column(&first.value).filter(|column| qualified.is_none() || has_fields(&column.ty));
            found.extend(alone.map(|column| (None, column, *start)));
            if let Some((name, end)) = qualified
                && fold_column(&table.name.table) == fold_column(&first.value)
            {
                found.extend(table.column(name).map(|column| (None, column, end)));
            }
        }
        scope = expression.scopes().get(at as usize).and_then(|scope| scope.parent);
    }
    let words = expression.slice(*start..reference.parts.last().map_or(*start, |(_, at)| *at) + 1);
    match found.as_slice() {
        [(source, column, end)] => {
            Ok(Resolved { source: *source, column: &column.name, ty: &column.ty, tokens: *start..*end + 1 })
        }
        [] => Err(format!("there is no column {}", quote_identifier(&first.value))),
        _ => Err(format!("the column {words} may be one of several tables; qualify it")),
    }
}
