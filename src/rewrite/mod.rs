//! Stage 7: applies a permit to a statement.
//!
//! Every relation is printed with its resolved three-part name; a restricted one becomes a derived table
//! under the name that the query knows it by. All else keeps its tokens. What comes out is read again, and
//! must mention only what the permit covers.

mod change;
mod derived;
mod error;
mod listing;
mod mentioned;
mod names;
mod packed;
mod pushdown;
mod qualify;
mod relation;
mod rights;
mod session;
#[cfg(test)]
mod tests;
mod view;

use std::borrow::Cow;
use std::sync::Arc;

pub use change::{ChangeDenied, Existing, changed_schema, permit_change};
pub use error::RewriteError;
pub use mentioned::read_columns;
pub use names::{Names, lists, resolve, subject, targets};
pub use packed::PackedSql;
pub use view::open as open_view;

use crate::catalog::TableName;
use crate::policy::Permit;
use crate::sql::{
    Change, Edits, Kind, Limits, Position, SourceMap, SpecialKind, Statement, quote_identifier, quote_string,
};

/// A rewritten statement grows at most by this factor over the limit for a user's.
const GROWTH: usize = 8;

/// SQL that may be sent to Trino: printed here, with the permit applied. Only this module makes it.
#[derive(Clone, Debug)]
pub struct ScopedSql {
    text: Arc<str>,
    restricted: bool,
    pins_time_zone: bool,
    positions: Option<Arc<SourceMap>>,
    kind: &'static str,
    prepared: Option<(String, String)>,
    /// Where the values of parameters begin, which are the end of the text.
    values: Option<usize>,
}

impl ScopedSql {
    /// The text to send.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text, with a `?` in place of the values of parameters.
    pub fn without_values(&self) -> Cow<'_, str> {
        match self.values.and_then(|at| self.text.get(..at)) {
            Some(text) => Cow::Owned(format!("{text}?")),
            None => Cow::Borrowed(&*self.text),
        }
    }

    /// Whether its answers may tell of rows or values that the principal may not see, so that statistics
    /// and the texts of errors are withheld.
    pub fn restricted(&self) -> bool {
        self.restricted
    }

    /// Whether it must run in UTC, because a policy's expression depends on the session's time zone.
    pub fn pins_time_zone(&self) -> bool {
        self.pins_time_zone
    }

    /// The way from places in the text to places in what the user wrote, where there is one.
    pub fn positions(&self) -> Option<&Arc<SourceMap>> {
        self.positions.as_ref()
    }

    /// The kind of the statement.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The question what it would read, which Trino answers without running it. None of what is restricted: the answer tells of
    /// rows that the principal may not see.
    pub fn estimate(&self) -> Option<Self> {
        let text = format!("EXPLAIN (TYPE IO, FORMAT JSON) {}", self.text).into();
        (!self.restricted).then(|| Self { text, positions: None, values: None, ..self.clone() })
    }

    /// A prepared statement that Trino must be told of with this statement: its name and its rewritten text.
    pub fn prepared(&self) -> Option<(&str, &str)> {
        self.prepared.as_ref().map(|(name, text)| (name.as_str(), text.as_str()))
    }
}

/// What a rewrite needs to know besides the statement.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The session's catalog and schema.
    pub names: Names<'a>,
    /// What the principal may see of the statement's relations.
    pub permit: &'a Permit,
    /// The session properties that may be set.
    pub properties: &'a [String],
    /// The session properties that the statement's class sets, with their values: WITH SESSION would be stronger.
    pub fixed: &'a [(String, String)],
    /// The limits of a user's statement.
    pub limits: &'a Limits,
}

impl Context<'_> {
    /// The limits of the rewritten statement.
    fn output_limits(&self) -> Limits {
        Limits {
            bytes: self.limits.bytes.saturating_mul(GROWTH),
            tokens: self.limits.tokens.saturating_mul(GROWTH),
            depth: self.limits.depth.saturating_add(16),
        }
    }
}

/// Applies a permit to a statement, so that it may be sent.
pub fn rewrite(statement: &Statement, context: &Context<'_>) -> Result<ScopedSql, RewriteError> {
    match statement.kind() {
        Kind::Query => query(statement, context),
        Kind::Explain { validate, prefix, inner, .. } => {
            explain(statement, prefix.clone(), inner, *validate, context)
        }
        Kind::Change(change) => change::rewrite(statement, change, context),
        Kind::ShowStats | Kind::ShowCreateTable => unrestricted(statement, context),
        Kind::ShowCatalogs { .. }
        | Kind::ShowSchemas { .. }
        | Kind::ShowTables { .. }
        | Kind::ShowColumns { .. }
        | Kind::ShowFunctions
        | Kind::ShowSession
        | Kind::Use { .. }
        | Kind::SetSession { .. }
        | Kind::ResetSession { .. }
        | Kind::StartTransaction
        | Kind::Commit
        | Kind::Rollback => {
            let scoped = session::rewrite(statement, context)?;
            verify(&scoped.text, "", context)?;
            Ok(scoped)
        }
        // These are answered here, or carry a statement that is rewritten by itself.
        Kind::Prepare { .. }
        | Kind::Deallocate { .. }
        | Kind::Execute { .. }
        | Kind::ExecuteImmediate { .. }
        | Kind::DescribeInput { .. }
        | Kind::DescribeOutput { .. } => Err(RewriteError::Kind(statement.kind().name())),
        Kind::Other(other) => Err(RewriteError::Kind(other.name())),
    }
}

/// `EXECUTE` and `EXECUTE IMMEDIATE`: the prepared statement, rewritten, with the values of its parameters. Places in
/// errors are those of the prepared statement, as at Trino.
/// `outer` is the statement that executes.
pub fn execute(
    outer: &Statement,
    arguments: Option<std::ops::Range<u32>>,
    prepared: &Statement,
    context: &Context<'_>,
) -> Result<ScopedSql, RewriteError> {
    check_prepared(prepared)?;
    let inner = rewrite(prepared, context)?;
    let Some(arguments) = arguments else {
        return Ok(ScopedSql { kind: outer.kind().name(), ..inner });
    };
    let subquery = outer.specials().iter().any(|special| special.kind == SpecialKind::Subquery);
    if subquery || !outer.relations().is_empty() {
        return Err(RewriteError::NotAllowed("the values of parameters cannot hold queries".to_owned()));
    }
    check_functions(outer)?;
    let mut edits = Edits::default();
    session::words(outer, arguments.clone(), context, &mut edits);
    let values = outer.print_range(arguments, &edits).text;
    // To Trino the prepared statement begins where its string does, and a doubled quote is one character.
    let positions = inner.positions.map(|map| Arc::new(map.behind("EXECUTE IMMEDIATE '")));
    let text = format!("EXECUTE IMMEDIATE {} USING ", quote_string(&inner.text));
    Ok(ScopedSql {
        values: Some(text.len()),
        text: format!("{text}{values}").into(),
        positions,
        kind: outer.kind().name(),
        ..inner
    })
}

/// `DESCRIBE INPUT` and `DESCRIBE OUTPUT`: Trino is told the prepared statement, rewritten.
pub fn describe(
    outer: &Statement,
    name: &str,
    prepared: &Statement,
    context: &Context<'_>,
) -> Result<ScopedSql, RewriteError> {
    check_prepared(prepared)?;
    let inner = rewrite(prepared, context)?;
    Ok(ScopedSql {
        text: outer.print(&Edits::default()).text.into(),
        kind: outer.kind().name(),
        prepared: Some((name.to_owned(), inner.text.to_string())),
        ..inner
    })
}

/// Whether a statement may be prepared: one that could be sent by itself, not one that prepares or executes.
pub fn check_prepared(statement: &Statement) -> Result<(), RewriteError> {
    match statement.kind() {
        Kind::Prepare { .. }
        | Kind::Deallocate { .. }
        | Kind::Execute { .. }
        | Kind::ExecuteImmediate { .. }
        | Kind::DescribeInput { .. }
        | Kind::DescribeOutput { .. } => Err(RewriteError::NotAllowed(format!(
            "{} cannot be a prepared statement",
            statement.kind().name()
        ))),
        Kind::Other(other) => Err(RewriteError::Kind(other.name())),
        _ => Ok(()),
    }
}

fn query(statement: &Statement, context: &Context<'_>) -> Result<ScopedSql, RewriteError> {
    check_functions(statement)?;
    let mut edits = Edits::default();
    let inner = derived::inner_name(statement, context.permit)?;
    for name in statement.session_properties() {
        session::check_property(name, context)?;
        session::check_fixed(name, context)?;
    }
    let restricted = relation::replace(statement, context, &inner, 0, &mut edits)?;
    if restricted && statement.has_inline_functions() {
        return Err(RewriteError::NotAllowed(
            "functions of the statement's own cannot stand with tables that a row filter or a column mask applies to"
                .to_owned(),
        ));
    }
    if let Kind::Change(change) = statement.kind()
        && let Some((name, tokens)) = change.schema()
    {
        let (catalog, schema) = context.names.schema(name)?;
        if !context.permit.may_write_schema(&catalog, &schema) {
            return Err(RewriteError::Unsound(format!("the schema '{schema}' is not in the permit")));
        }
        let name = format!("{}.{}", quote_identifier(&catalog), quote_identifier(&schema));
        edits.replace(tokens.clone(), name);
    }
    session::words(statement, statement.whole(), context, &mut edits);
    let printed = statement.print(&edits);
    verify(&printed.text, &inner, context)?;
    Ok(ScopedSql {
        values: None,
        text: printed.text.into(),
        restricted,
        pins_time_zone: context.permit.pins_time_zone(),
        positions: Some(Arc::new(printed.map)),
        kind: statement.kind().name(),
        prepared: None,
    })
}

/// A statement about relations, which is only allowed where none of them is restricted.
fn unrestricted(statement: &Statement, context: &Context<'_>) -> Result<ScopedSql, RewriteError> {
    refuse_restricted(statement, context, statement.kind().name())?;
    query(statement, context)
}

fn refuse_restricted(
    statement: &Statement,
    context: &Context<'_>,
    what: &'static str,
) -> Result<(), RewriteError> {
    for relation in statement.relations().iter().filter(|relation| relation.position != Position::Target) {
        let name = context.names.resolve(relation)?;
        let open = match context.permit.scoped(&name) {
            Some(scoped) => !scoped.is_restricted() && !scoped.is_opaque(),
            // A listing is shown in part, and its plan and its bounds would show the rest.
            None => false,
        };
        if !open {
            return Err(RewriteError::Restricted { what, name });
        }
    }
    Ok(())
}

fn explain(
    outer: &Statement,
    prefix: std::ops::Range<u32>,
    inner: &Statement,
    validate: bool,
    context: &Context<'_>,
) -> Result<ScopedSql, RewriteError> {
    let run = match inner.kind() {
        Kind::Query => true,
        Kind::Change(change) => matches!(
            change,
            Change::Insert | Change::CreateTableAs { .. } | Change::Delete | Change::Update | Change::Merge
        ),
        _ => false,
    };
    if !run {
        return Err(RewriteError::NotAllowed(format!("EXPLAIN of {} is not supported", inner.kind().name())));
    }
    if !validate {
        refuse_restricted(inner, context, outer.kind().name())?;
    }
    let inner = rewrite(inner, context)?;
    let prefix = format!("{} ", outer.print_range(prefix, &Edits::default()).text);
    let positions = inner.positions.map(|map| Arc::new(map.behind(&prefix)));
    Ok(ScopedSql {
        text: format!("{prefix}{}", inner.text).into(),
        positions,
        kind: outer.kind().name(),
        ..inner
    })
}

/// Functions are called by one name, or as `system.builtin.f`; table functions are on a list.
fn check_functions(statement: &Statement) -> Result<(), RewriteError> {
    for call in statement.calls() {
        let parts: Vec<String> = call.name.iter().map(|part| part.value.to_lowercase()).collect();
        let name = match &parts[..] {
            [name] => name,
            [catalog, schema, name] if catalog == "system" && schema == "builtin" => name,
            _ => {
                return Err(RewriteError::NotAllowed(format!(
                    "the function '{}' is not a built-in one",
                    names::shown(&call.name)
                )));
            }
        };
        if call.table && name != "sequence" && name != "exclude_columns" {
            return Err(RewriteError::NotAllowed(format!(
                "the table function '{}' is not allowed",
                names::shown(&call.name)
            )));
        }
    }
    Ok(())
}

/// Reads what is to be sent once more: it must be a statement, within bounds, that mentions only relations
/// of the permit and listings, by their full names, and restricted ones only inside of their derived tables,
/// which give them the name `inner`.
fn verify(text: &str, inner: &str, context: &Context<'_>) -> Result<(), RewriteError> {
    let statement =
        Statement::parse_relations(text, &context.output_limits()).map_err(|error| match error {
            crate::sql::SqlError::TooDeep { .. } | crate::sql::SqlError::TooLong { .. } => {
                RewriteError::TooLarge(error)
            }
            other => RewriteError::Unsound(other.to_string()),
        })?;
    let by_name = view::is_stored(&statement);
    for relation in names::subject(&statement).relations() {
        let [catalog, schema, table] = &relation.name[..] else {
            return Err(RewriteError::Unsound(format!(
                "'{}' is not a full name",
                names::shown(&relation.name)
            )));
        };
        let name = TableName::new(&catalog.value, &schema.value, &table.value);
        let known = name.is_some_and(|name| {
            if relation.position == Position::Target {
                context.permit.may_write(&name)
            } else {
                let within = relation.alias.as_ref().and_then(|alias| alias.value.strip_prefix(inner));
                match context.permit.scoped(&name) {
                    // What a policy's own sub-query reads; no name of the user's begins so.
                    _ if within.is_some_and(|rest| rest.starts_with('_'))
                        && context.permit.read_by_policies().contains(&name) =>
                    {
                        true
                    }
                    Some(scoped) if scoped.is_restricted() => {
                        relation.alias.as_ref().is_some_and(|alias| alias.value == inner)
                    }
                    Some(scoped) if relation::is_listed(scoped, relation, by_name) => {
                        relation.alias.as_ref().is_some_and(|alias| alias.value == inner)
                    }
                    // A view in whose place its query should stand, where it may be stored or shown.
                    Some(scoped) if scoped.view().is_some() => {
                        by_name || relation.position == Position::ShowTarget
                    }
                    Some(_) => true,
                    None => listing::is_listing(&name),
                }
            }
        });
        if !known {
            return Err(RewriteError::Unsound(format!(
                "'{}' is not in the permit",
                names::shown(&relation.name)
            )));
        }
    }
    Ok(())
}
