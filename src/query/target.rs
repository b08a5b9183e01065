//! What a statement writes to.

use super::StatementError;
use crate::catalog::{Catalog, CatalogError, TableName};
use crate::identity::Principal;
use crate::policy::{Permit, Set};
use crate::rewrite::{self, Names};
use crate::sql::{Kind, Statement};

/// Adds the table that a statement writes to, if it does, to the permit, or says why it may not be written.
pub(super) async fn permit(
    statement: &Statement,
    names: &Names<'_>,
    principal: &Principal,
    catalog: &Catalog,
    policies: &Set,
    permit: &mut Permit,
) -> Result<Option<TableName>, StatementError> {
    let Some(target) = rewrite::target(statement, names)? else { return Ok(None) };
    let existing = match catalog.describe(std::slice::from_ref(&target)).await {
        Ok(described) => described.into_iter().next(),
        // What CREATE TABLE AS makes is not there yet.
        Err(CatalogError::NotFound(_)) if matches!(statement.kind(), Kind::CreateTableAs { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    policies.permit_write(permit, principal, &target, existing.as_ref())?;
    Ok(Some(target))
}
