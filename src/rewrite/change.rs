//! Statements that change something: what of them is allowed, and that their targets may be changed.

use std::sync::Arc;

use super::rights::rights;
use super::{Context, Names, RewriteError, ScopedSql, names, query, unrestricted};
use crate::catalog::rest::{Granted, Ruling};
use crate::catalog::{Described, RelationKind};
use crate::identity::Principal;
use crate::policy::{Denial, Permit, Set, Target};
use crate::sql::{Change, Kind, Statement};

/// The properties that a table may be made with. Where its files are is not for users to say: they could be laid over
/// those of another.
const TABLE_PROPERTIES: [&str; 6] = [
    "compression_codec",
    "format",
    "format_version",
    "partitioning",
    "sorted_by",
    "object_store_layout_enabled",
];
/// The procedures that ALTER TABLE may execute. Others give a table the files of another one, or take it back to rows
/// that were deleted.
const PROCEDURES: [&str; 5] =
    ["optimize", "optimize_manifests", "expire_snapshots", "remove_orphan_files", "drop_extended_stats"];

/// What is known of a target before it is changed.
#[derive(Clone, Debug, Default)]
pub struct Existing {
    /// What it is; none if it is not there.
    pub described: Option<Arc<Described>>,
    /// What its catalog says of it.
    pub ruling: Option<Arc<Ruling>>,
    /// What the grants of its catalog give to whom changes it; none where they don't decide.
    pub granted: Option<Granted>,
}

/// Adds to the permit what a statement changes, or says why it may not be changed. `existing` are its targets as they
/// are now, in the order of [`super::targets`]; of a schema its catalog's grants alone.
///
/// # Errors
/// No policy lets the principal change it, or it is not there.
pub fn permit_change(
    statement: &Statement,
    names: &Names<'_>,
    principal: &Principal,
    policies: &Set,
    existing: &[Existing],
    permit: &mut Permit,
) -> Result<(), ChangeDenied> {
    let Kind::Change(change) = names::subject(statement).kind() else { return Ok(()) };
    if let Some((name, _)) = change.schema() {
        let (catalog, schema) = names.schema(name)?;
        let granted = existing.first().and_then(|target| target.granted.as_ref());
        let rights = rights(change, RelationKind::Table, false, false);
        let granted = granted.map(|granted| rights.iter().all(|right| granted.give(*right, &schema, None)));
        return Ok(policies.permit_schema(permit, principal, &catalog, &schema, granted)?);
    }
    let targets = names::targets(statement, names)?;
    for (number, target) in targets.iter().enumerate() {
        let known = existing.get(number);
        let existing = known.and_then(|known| known.described.as_ref());
        let expected = match (existing, change) {
            (Some(existing), Change::Comment) => existing.kind,
            _ => kind(change),
        };
        let granted = known.and_then(|known| known.granted.as_ref());
        let rights = rights(change, expected, existing.is_some(), number > 0);
        let granted = granted.map(|granted| {
            rights.iter().all(|right| {
                let name = (!right.makes()).then_some(target.table.as_str());
                granted.give(*right, &target.schema, name)
            })
        });
        let ruling = known.and_then(|known| known.ruling.as_deref());
        policies.permit_write(
            permit,
            principal,
            &Target { name: target, expected, existing, ruling, granted },
        )?;
        if existing.is_none() && number == 0 && !may_be_missing(change) {
            return Err(RewriteError::NotFound(target.to_string()).into());
        }
    }
    match (&targets[..], change) {
        ([from, to], _) => policies.check_rename(from, to)?,
        ([table], Change::RenameColumn { from, to }) => {
            let from: Vec<&str> = from.iter().map(|part| part.value.as_str()).collect();
            policies.check_rename_column(table, &from, &to.value)?;
        }
        ([] | [_, ..], _) => {}
    }
    Ok(())
}

/// The catalog of the schema that a statement makes or drops, if it does.
///
/// # Errors
/// The name is not one, or misses a part that the session does not give.
pub fn changed_schema(statement: &Statement, names: &Names<'_>) -> Result<Option<String>, RewriteError> {
    let Kind::Change(change) = names::subject(statement).kind() else { return Ok(None) };
    let Some((name, _)) = change.schema() else { return Ok(None) };
    Ok(Some(names.schema(name)?.0))
}

/// Why a statement may not change what it would.
#[derive(Debug, thiserror::Error)]
pub enum ChangeDenied {
    /// Because of policy.
    #[error(transparent)]
    Policy(#[from] Denial),
    /// Because of the statement.
    #[error(transparent)]
    Statement(#[from] RewriteError),
}

/// Whether the target need not be there: because the statement makes it, or does not mind.
fn may_be_missing(change: &Change) -> bool {
    matches!(
        change,
        Change::CreateTableAs { .. }
            | Change::CreateTable { .. }
            | Change::CreateView { .. }
            | Change::CreateMaterializedView { .. }
            | Change::DropTable
            | Change::DropView
            | Change::DropMaterializedView
    )
}

/// What the target is, if it is there.
fn kind(change: &Change) -> RelationKind {
    match change {
        Change::CreateView { .. } | Change::RenameView | Change::DropView => RelationKind::View,
        Change::CreateMaterializedView { .. }
        | Change::RefreshMaterializedView
        | Change::DropMaterializedView => RelationKind::MaterializedView,
        Change::Insert
        | Change::CreateTableAs { .. }
        | Change::CreateTable { .. }
        | Change::DropTable
        | Change::Truncate
        | Change::Delete
        | Change::Update
        | Change::Merge
        | Change::RenameTable
        | Change::AddColumn { .. }
        | Change::DropColumn
        | Change::RenameColumn { .. }
        | Change::AlterColumn
        | Change::SetProperties { .. }
        | Change::Execute { .. }
        | Change::Comment
        | Change::Analyze
        | Change::CreateSchema { .. }
        | Change::DropSchema { .. } => RelationKind::Table,
    }
}

/// A statement that changes something. That its targets may be written to is in the permit.
pub(super) fn rewrite(
    statement: &Statement,
    change: &Change,
    context: &Context<'_>,
) -> Result<ScopedSql, RewriteError> {
    let not_allowed = |what: String| Err(RewriteError::NotAllowed(what));
    match change {
        // Where its files are is among them.
        Change::CreateTable { copies_properties: true, .. } => {
            return not_allowed("the properties of another table may not be taken over".to_owned());
        }
        Change::CreateTableAs { properties }
        | Change::CreateTable { properties, .. }
        | Change::AddColumn { properties }
        | Change::SetProperties { properties }
        | Change::CreateView { properties }
        | Change::CreateMaterializedView { properties } => {
            if let Some(name) = properties.iter().find(|name| !TABLE_PROPERTIES.contains(&name.as_str())) {
                return not_allowed(format!("the property '{name}' may not be set"));
            }
        }
        Change::Execute { procedure } => {
            let name = procedure.value.to_lowercase();
            if !PROCEDURES.contains(&name.as_str()) {
                return not_allowed(format!("the procedure '{name}' may not be executed"));
            }
        }
        Change::CreateSchema { decorated: true, .. } => {
            return not_allowed("a schema's properties and owner may not be set".to_owned());
        }
        Change::DropSchema { cascade: true, .. } => {
            return not_allowed("a schema may not be dropped with all that is in it".to_owned());
        }
        Change::Insert
        | Change::DropTable
        | Change::Truncate
        | Change::Delete
        | Change::Update
        | Change::Merge
        | Change::RenameTable
        | Change::DropColumn
        | Change::RenameColumn { .. }
        | Change::AlterColumn
        | Change::Comment
        | Change::Analyze
        | Change::RenameView
        | Change::DropView
        | Change::RefreshMaterializedView
        | Change::DropMaterializedView
        | Change::CreateSchema { .. }
        | Change::DropSchema { .. } => {}
    }
    match change {
        // What a view shows its readers, and what a table is made like, is what its author may see as it is.
        Change::CreateView { .. } | Change::CreateMaterializedView { .. } | Change::CreateTable { .. } => {
            if statement.has_inline_functions() || !statement.session_properties().is_empty() {
                return not_allowed(
                    "a view cannot have functions or session properties of its own".to_owned(),
                );
            }
            unrestricted(statement, context)
        }
        _ => query(statement, context),
    }
}
