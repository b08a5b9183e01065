//! What a statement changes.

use super::StatementError;
use crate::catalog::{Catalog, CatalogError, TableName};
use crate::identity::Principal;
use crate::policy::{Permit, Set};
use crate::rewrite::{self, ChangeDenied, Names};
use crate::sql::Statement;

/// Adds to the permit what a statement changes, or says why it may not be changed. Gives the tables and views.
pub(super) async fn permit(
    statement: &Statement,
    names: &Names<'_>,
    principal: &Principal,
    catalog: &Catalog,
    policies: &Set,
    permit: &mut Permit,
) -> Result<Vec<TableName>, StatementError> {
    let targets = rewrite::targets(statement, names)?;
    let mut existing = Vec::with_capacity(targets.len());
    for target in &targets {
        policies.check_name(principal, target)?;
        existing.push(match catalog.describe(std::slice::from_ref(target)).await {
            Ok(described) => described.into_iter().next(),
            Err(CatalogError::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        });
    }
    rewrite::permit_change(statement, names, principal, policies, &existing, permit).map_err(|denied| {
        match denied {
            ChangeDenied::Policy(denial) => StatementError::from(denial),
            ChangeDenied::Statement(error) => error.into(),
        }
    })?;
    Ok(targets)
}
