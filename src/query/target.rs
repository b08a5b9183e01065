//! What a statement changes.

use super::StatementError;
use super::view::Reader;
use crate::catalog::{CatalogError, Described, TableName};
use crate::policy::{Denial, Permit};
use crate::rewrite::{self, ChangeDenied, Existing, Names};
use crate::sql::{Change, Kind, Statement};

/// Adds to the permit what a statement changes, or says why it may not be changed. Gives the tables and views.
pub(super) async fn permit(
    statement: &Statement,
    names: &Names<'_>,
    reader: &Reader<'_>,
    permit: &mut Permit,
) -> Result<Vec<TableName>, StatementError> {
    let Reader { principal, catalog, policies, .. } = *reader;
    let targets = rewrite::targets(statement, names)?;
    let subject = reader.subject();
    let mut existing = Vec::with_capacity(targets.len());
    for target in &targets {
        policies.check_name(principal, target)?;
        let described = match catalog.describe(std::slice::from_ref(target)).await {
            Ok(described) => described.into_iter().next(),
            Err(CatalogError::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let ruling = match &described {
            Some(described) => {
                let rulings = catalog.rulings(&subject, std::slice::from_ref(described)).await?;
                rulings.into_iter().next().map(|(_, ruling)| ruling)
            }
            None => None,
        };
        let granted = catalog.granted(&subject, &target.catalog).await?;
        existing.push(Existing { described, ruling, granted });
    }
    if let Some(catalog_name) = rewrite::changed_schema(statement, names)? {
        let granted = catalog.granted(&subject, &catalog_name).await?;
        existing.push(Existing { granted, ..Existing::default() });
    }
    // Under another name it could be taken for something that the principal sees as it is; and what is stored anew is
    // stored with its owner's rights.
    let moved = matches!(
        rewrite::subject(statement).kind(),
        Kind::Change(Change::RenameView | Change::RefreshMaterializedView)
    );
    if let (true, Some(view)) = (moved, existing.first().and_then(|first| first.described.as_ref())) {
        check_view(reader, view).await?;
    }
    rewrite::permit_change(statement, names, principal, policies, &existing, permit).map_err(|denied| {
        match denied {
            ChangeDenied::Policy(denial) => StatementError::from(denial),
            ChangeDenied::Statement(error) => error.into(),
        }
    })?;
    Ok(targets)
}

/// Whether the principal sees a view as it is.
async fn check_view(reader: &Reader<'_>, view: &Described) -> Result<(), StatementError> {
    let restricted = || Denial::RestrictedTarget(view.name.clone()).into();
    match reader.decide(std::slice::from_ref(&view.name)).await {
        Ok(permit) if permit.scoped(&view.name).is_some_and(|scoped| !scoped.is_restricted()) => Ok(()),
        Ok(_) | Err(StatementError::Denied(_)) => Err(restricted()),
        Err(error) => Err(error),
    }
}
