//! What the admin listener asks of the gateway.

use http::StatusCode;

use super::{App, clusters, queries, tokens};
use crate::admin::{Check, ClusterRequest, Operated, QueryRequest, TokenRequest};
use crate::admission::Sharing;
use crate::audit::{Audit, Event};
use crate::cache::Purge;
use crate::identity::{Method, Principal};
use crate::query::{Claims, Gateway};
use crate::rewrite::Names;
use crate::upstream::Fleet;

/// What readiness says of a gateway that cannot count with others.
const PART: &str = "Redis is lost: this gateway has its part of the limits";

/// Records what an operator orders, before it is done; `undone` is what nothing is where that fails.
///
/// # Errors
/// It cannot be recorded, in the listener's words.
pub(super) async fn ordered(
    audit: &Audit,
    action: &str,
    detail: String,
    undone: &str,
) -> Result<(), (StatusCode, String)> {
    audit.record(&Event::by_operator(action, detail)).await.map_err(|error| {
        (StatusCode::SERVICE_UNAVAILABLE, format!("nothing is {undone}, as it is not recorded: {error}"))
    })
}

/// What must be in order for the gateway to be ready.
pub(super) fn checks(gateway: &Gateway, fleet: &Fleet, audit: &Audit, without_policies: bool) -> Vec<Check> {
    let check = |name, holds: bool, text: &str| Check {
        name,
        problem: (!holds).then(|| text.to_owned()),
        note: None,
    };
    let alone = gateway.slots.sharing() == Sharing::Divided;
    vec![
        check("policies", !without_policies, "there are none"),
        check("audit", audit.healthy(), "records cannot be written"),
        check("trino", fleet.is_ready(), "no active cluster is well"),
        check("serving", !gateway.is_leaving(), "stopping"),
        Check { name: "admission", problem: None, note: alone.then(|| PART.to_owned()) },
    ]
}

impl Operated for App {
    fn metrics(&self) -> String {
        let audit = self.audit.status();
        self.metrics.audit_state(audit.healthy, audit.held, audit.lost);
        self.metrics.audit_copy(audit.copying, audit.behind);
        self.metrics.audit_log(audit.sealed, audit.witnessed);
        for (name, load) in self.gateway.slots.class_loads() {
            self.metrics.class(&name, load.running, load.queued);
        }
        self.metrics.together(self.gateway.slots.sharing() != Sharing::Divided);
        self.condition.measure();
        let cache = self.gateway.cache_load();
        self.metrics.cache_load(cache.entries, cache.bytes);
        self.metrics.cache_disk(cache.disk.entries, cache.disk.bytes, cache.disk.failures);
        self.metrics.render()
    }

    async fn ready(&self) -> Vec<Check> {
        checks(&self.gateway, &self.fleet, &self.audit, self.policies.load().is_empty())
    }

    fn status(&self) -> String {
        serde_json::to_string(&self.condition.status()).unwrap_or_default()
    }

    async fn explain(&self, asked: crate::admin::Explain) -> String {
        let known = self.identity.known(&asked.user);
        let mut principal = known.unwrap_or_else(|| Principal::new(&asked.user, Method::Password));
        if !asked.groups.is_empty() {
            principal = principal.with_groups(asked.groups.clone());
        }
        let names = Names { catalog: asked.catalog.as_deref(), schema: asked.schema.as_deref() };
        let claims = Claims { source: asked.source.as_deref(), tags: &asked.tags };
        self.gateway.explain(&principal, asked.token.as_ref(), names, claims, &asked.sql).await.to_string()
    }

    async fn tokens(&self, asked: TokenRequest) -> Result<String, (StatusCode, String)> {
        tokens::answer(&self.identity, &self.audit, asked).await
    }

    async fn purge(&self, purge: Purge) -> Result<usize, (StatusCode, String)> {
        ordered(&self.audit, "cache_purge", purge.to_string(), "removed").await?;
        self.gateway.purge(&purge).await.map_err(|error| {
            let why = format!("some answers may still be there, purge again: {error}");
            (StatusCode::SERVICE_UNAVAILABLE, why)
        })
    }

    async fn clusters(&self, asked: ClusterRequest) -> Result<String, (StatusCode, String)> {
        clusters::answer(&self.fleet, &self.store, &self.audit, asked).await
    }

    async fn queries(&self, asked: QueryRequest) -> Result<String, (StatusCode, String)> {
        queries::answer(&self.gateway, &self.audit, asked).await
    }

    fn keys(&self) -> String {
        self.fleet.jwks()
    }

    async fn reload(&self) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        if let Err(detail) = self.reload_policies().await {
            wrong.push(format!("policies: {detail}"));
        }
        if let Err(detail) = self.reload_clusters().await {
            wrong.push(format!("clusters: {detail}"));
        }
        let users = self.identity.reload().map_err(|error| error.to_string());
        self.told("users", None, users.as_ref().err()).await;
        if let Err(detail) = users {
            tracing::error!(detail, "the new users file is not in force; the one before is");
            wrong.push(format!("users: {detail}"));
        }
        if let Some(certificates) = &self.certificates {
            let outcome = certificates.reload().map_err(|error| error.to_string());
            self.told("certificate", None, outcome.as_ref().err()).await;
            if let Err(detail) = outcome {
                tracing::error!(detail, "the new certificate is not in force; the one before is");
                wrong.push(format!("certificate: {detail}"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}
