//! What a principal may see of relations, and of what views among them read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::StatementError;
use crate::catalog::rest::{Extent, Outline, Subject};
use crate::catalog::{Catalog, CatalogError, Described, RelationKind, TableName};
use crate::identity::Principal;
use crate::policy::{Behind, Denial, Lists, Permit, Rulings, Salt, Set, View};
use crate::rewrite;
use crate::secret::Secret;
use crate::sql::Limits;

/// The most views that one statement reads through.
const MOST_VIEWS: usize = 100;

/// Somebody who reads.
pub(super) struct Reader<'a> {
    pub(super) principal: &'a Principal,
    /// The token that they signed in with, for catalogs that are asked in their name.
    pub(super) token: Option<&'a Secret<String>>,
    /// What the answer may tell of what there is.
    pub(super) lists: Lists,
    pub(super) catalog: &'a Catalog,
    pub(super) policies: &'a Set,
    pub(super) limits: &'a Limits,
}

impl Reader<'_> {
    /// Decides about relations, and about all that the views among them read which no policy trusts. Where Trino and a
    /// catalog have heard of different things, both are asked once more.
    pub(super) async fn decide(&self, names: &[TableName]) -> Result<Permit, StatementError> {
        match self.decide_once(names).await {
            Err(StatementError::Catalog(CatalogError::Differs { .. })) => self.decide_once(names).await,
            decided => decided,
        }
    }

    async fn decide_once(&self, names: &[TableName]) -> Result<Permit, StatementError> {
        // What a principal may not know of is not looked at: their statement costs the cluster nothing.
        names.iter().try_for_each(|name| self.policies.check_name(self.principal, name))?;
        let described = self.catalog.describe(names).await?;
        let mut rulings = Rulings::default();
        self.rule(&mut rulings, None, &described).await?;
        let Behind { mut views, mut below, mut read_by_policies, .. } = Behind::default();
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
            self.rule(&mut rulings, None, &reads).await?;
            open.extend(
                self.opaque(&reads).into_iter().filter(|read| *read != name && !views.contains_key(read)),
            );
            below.push((name.clone(), reads));
            views.insert(name, Arc::new(view));
        }
        let all = described.iter().chain(below.iter().flat_map(|(_, reads)| reads)).map(|one| &one.name);
        for (name, run_as) in self.policies.read_by_policies(self.principal, all) {
            match self.catalog.describe(std::slice::from_ref(name)).await {
                Ok(found) => {
                    self.rule(&mut rulings, run_as, &found).await?;
                    read_by_policies.extend(found.into_iter().map(|one| (name.clone(), one)));
                }
                // The policy cannot be applied then; a reader is not told of its tables.
                Err(CatalogError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let lists = views.values().map(|view: &Arc<View>| view.lists).fold(self.lists, Lists::max);
        let readable = self.readable(lists != Lists::Nothing).await;
        let outlines = if lists == Lists::Columns { self.outlines().await } else { BTreeMap::new() };
        let lists_nothing = lists == Lists::Nothing;
        let behind = Behind { views, below, read_by_policies, rulings, readable, outlines, lists_nothing };
        Ok(self.policies.decide_through(self.principal, &described, &behind, &Salt::random())?)
    }

    /// Adds what catalogs say of relations, to the reader or to somebody as whom a policy reads.
    async fn rule(
        &self,
        rulings: &mut Rulings,
        run_as: Option<&Principal>,
        relations: &[Arc<Described>],
    ) -> Result<(), StatementError> {
        let missing: Vec<Arc<Described>> =
            relations.iter().filter(|one| !rulings.has(run_as, &one.name)).cloned().collect();
        let subject = Subject {
            principal: run_as.unwrap_or(self.principal),
            token: self.token,
            is_run_as: run_as.is_some(),
        };
        for (name, ruling) in self.catalog.rulings(&subject, &missing).await? {
            rulings.add(run_as, name, ruling);
        }
        Ok(())
    }

    /// In whose name catalogs are asked.
    pub(super) fn subject(&self) -> Subject<'_> {
        Subject { principal: self.principal, token: self.token, is_run_as: false }
    }

    /// What catalogs that decide let the reader read, by catalog; nothing where nothing is listed, and of a catalog that
    /// has no answer for them.
    async fn readable(&self, lists: bool) -> BTreeMap<String, Vec<Extent>> {
        let mut all = BTreeMap::new();
        for catalog in self.catalog.deciding() {
            let mut readable = Vec::new();
            if lists {
                match self.catalog.readable(&self.subject(), catalog).await {
                    Ok(found) => readable = found,
                    Err(error) => tracing::warn!(%error, "nothing of the catalog is listed"),
                }
            }
            all.insert(catalog.to_owned(), readable);
        }
        all
    }

    /// What catalogs say of the columns of their relations: of those catalogs whose word may hide some from the reader.
    async fn outlines(&self) -> BTreeMap<String, Option<Vec<Outline>>> {
        let mut all = BTreeMap::new();
        for catalog in self.catalog.with_rest() {
            let subject = self.subject();
            let by_tag = self.policies.hides_by_tag(self.principal, catalog);
            let outlines = match self.catalog.attaches(&subject, catalog).await {
                Ok(false) if !by_tag => continue,
                Ok(_) => self.catalog.outlines(&subject, catalog).await,
                Err(error) => Err(error),
            };
            let outlines = outlines.inspect_err(|error| {
                tracing::warn!(%error, "no columns of the catalog are listed");
            });
            all.insert(catalog.to_owned(), outlines.ok());
        }
        all
    }

    /// The views that no policy trusts.
    fn opaque(&self, described: &[Arc<Described>]) -> BTreeSet<TableName> {
        let views = described.iter().filter(|described| described.kind != RelationKind::Table);
        let opaque = views.filter(|view| !self.policies.trusts(self.principal, &view.name));
        opaque.map(|view| view.name.clone()).collect()
    }
}
