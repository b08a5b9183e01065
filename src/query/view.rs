//! What a principal may see of relations, and of what views among them read.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::StatementError;
use crate::catalog::{Catalog, CatalogError, Described, RelationKind, TableName};
use crate::identity::Principal;
use crate::policy::{Behind, Denial, Permit, Salt, Set};
use crate::rewrite;
use crate::sql::Limits;

/// The most views that one statement reads through.
const MOST_VIEWS: usize = 100;

/// Somebody who reads.
pub(super) struct Reader<'a> {
    pub(super) principal: &'a Principal,
    pub(super) catalog: &'a Catalog,
    pub(super) policies: &'a Set,
    pub(super) limits: &'a Limits,
}

impl Reader<'_> {
    /// Decides about relations, and about all that the views among them read which no policy trusts.
    pub(super) async fn decide(&self, names: &[TableName]) -> Result<Permit, StatementError> {
        // What a principal may not know of is not looked at: their statement costs the cluster nothing.
        names.iter().try_for_each(|name| self.policies.check_name(self.principal, name))?;
        let described = self.catalog.describe(names).await?;
        let Behind { mut views, mut below, mut read_by_policies } = Behind::default();
        let mut open = self.opaque(&described);
        while let Some(name) = open.pop_first() {
            let denied = || Denial::ViewNotTrusted(name.clone());
            if views.len() == MOST_VIEWS {
                return Err(denied().into());
            }
            let definition = match self.catalog.definition(&name).await {
                Ok(definition) => definition,
                Err(CatalogError::NotFound(_)) => return Err(denied().into()),
                Err(error) => return Err(error.into()),
            };
            let view = rewrite::open_view(&definition, self.limits).map_err(|error| {
                tracing::info!(view = %name, %error, "a view cannot be read through");
                denied()
            })?;
            for read in &view.reads {
                self.policies.check_name(self.principal, read).map_err(|_| denied())?;
            }
            let reads = self.catalog.describe(&view.reads).await.map_err(|error| match error {
                CatalogError::NotFound(_) => StatementError::from(denied()),
                error => error.into(),
            })?;
            open.extend(
                self.opaque(&reads).into_iter().filter(|read| *read != name && !views.contains_key(read)),
            );
            below.push((name.clone(), reads));
            views.insert(name, Arc::new(view));
        }
        let all = described.iter().chain(below.iter().flat_map(|(_, reads)| reads)).map(|one| &one.name);
        for name in self.policies.read_by_policies(self.principal, all) {
            match self.catalog.describe(std::slice::from_ref(&name)).await {
                Ok(found) => read_by_policies.extend(found.into_iter().map(|one| (name.clone(), one))),
                // The policy cannot be applied then; a reader is not told of its tables.
                Err(CatalogError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let behind = Behind { views, below, read_by_policies };
        Ok(self.policies.decide_through(self.principal, &described, &behind, &Salt::random())?)
    }

    /// The views that no policy trusts.
    fn opaque(&self, described: &[Arc<Described>]) -> BTreeSet<TableName> {
        let views = described.iter().filter(|described| described.kind != RelationKind::Table);
        let opaque = views.filter(|view| !self.policies.trusts(self.principal, &view.name));
        opaque.map(|view| view.name.clone()).collect()
    }
}
