//! Which cluster a query runs at, and when it moves to another.
//!
//! The cluster is chosen before relations are described, and it is the one that describes them: a decision that was made
//! with one cluster's columns is good for that cluster. Another gets the query only if it has not been sent yet, reads
//! only, and if that other says the same of everything that the decision was made from.

use std::ops::Deref;

use super::poll::login;
use super::{Gateway, StatementError};
use crate::catalog::{Catalog, Noted};
use crate::identity::{Authenticated, Principal};
use crate::upstream::{Place, Sender, UpstreamError};
use crate::wire::Session;

/// Where a query is to run.
pub(super) struct Placed {
    place: Place,
    /// The group in which it may move; none if it may not, as its transaction is open there.
    group: Option<String>,
    /// Trino's id of that transaction.
    pub(super) transaction: Option<String>,
}

impl Deref for Placed {
    type Target = Place;
    fn deref(&self) -> &Place {
        &self.place
    }
}

impl Placed {
    /// The clusters that it may run at: its group, or one.
    pub(super) fn group(&self) -> &str {
        self.group.as_deref().unwrap_or_else(|| self.place.cluster())
    }
}

impl From<Placed> for Place {
    fn from(placed: Placed) -> Self {
        placed.place
    }
}

impl Gateway {
    /// A place for a statement, which is added to `tried`.
    pub(super) fn placed(
        &self,
        caller: &Authenticated,
        class: &str,
        tried: &mut Vec<String>,
    ) -> Result<Placed, StatementError> {
        let session = caller.call().session();
        let placed = if let Some(sealed) = &session.transaction {
            let opened =
                self.sealer.open_transaction(sealed, login(caller)).ok_or(StatementError::Transaction)?;
            let place = self.fleet.place_at(&opened.cluster).ok_or(StatementError::Transaction)?;
            Placed { place, group: None, transaction: Some(opened.id) }
        } else {
            let group = self.group_for(caller.principal(), Some(session), class);
            let place = self.fleet.place(&group, tried)?;
            Placed { place, group: Some(group), transaction: None }
        };
        tried.push(placed.cluster().to_owned());
        Ok(placed)
    }

    /// A place that somebody's statement would get.
    pub(super) fn place_for(
        &self,
        principal: &Principal,
        session: Option<&Session>,
        class: &str,
    ) -> Result<Place, StatementError> {
        Ok(self.fleet.place(&self.group_for(principal, session, class), &[])?)
    }

    fn group_for(&self, principal: &Principal, session: Option<&Session>, class: &str) -> String {
        self.fleet.group(&Sender {
            class,
            user: principal.name(),
            groups: principal.groups(),
            source: session.and_then(|session| session.source.as_deref()),
            tags: session.map_or(&[], |session| &session.client_tags),
            wish: session.and_then(|session| session.routing_group.as_deref()),
        })
    }

    /// Another place for a query that no cluster has taken. The clusters that were tried are not tried again.
    pub(super) async fn moved(
        &self,
        from: &Placed,
        noted: &Noted,
        writes: bool,
        tried: &mut Vec<String>,
    ) -> Result<Placed, StatementError> {
        let group = from.group.as_ref().filter(|_| !writes);
        let none = || UpstreamError::NoCluster { group: group.cloned().unwrap_or_default() };
        let group = group.ok_or_else(none)?;
        let mut differs = None;
        loop {
            let place = match (self.fleet.place(group, tried), differs) {
                (Ok(place), _) => place,
                (Err(_), Some(error)) => return Err(error),
                (Err(error), None) => return Err(error.into()),
            };
            tried.push(place.cluster().to_owned());
            match self.agrees(place.catalog(), noted).await {
                Ok(()) => return Ok(Placed { place, group: Some(group.clone()), transaction: None }),
                Err(error) => {
                    tracing::warn!(%error, cluster = place.cluster(), "a query does not move to this cluster");
                    differs = Some(error);
                }
            }
        }
    }

    async fn agrees(&self, catalog: &Catalog, noted: &Noted) -> Result<(), StatementError> {
        match catalog.disagreement(noted).await? {
            None => Ok(()),
            Some(name) => Err(StatementError::Disagree(name)),
        }
    }
}
