//! What operators ask about queries that wait and run, and the cancels that they order.

use http::StatusCode;

use crate::admin::QueryRequest;
use crate::audit::{Audit, Event};
use crate::query::Gateway;

/// Does it; a cancel is on record before.
pub(super) async fn answer(
    gateway: &Gateway,
    audit: &Audit,
    asked: QueryRequest,
) -> Result<String, (StatusCode, String)> {
    let (id, reason) = match asked {
        QueryRequest::List { user } => {
            let queries = gateway.queries(user.as_deref());
            return Ok(serde_json::json!({ "queries": queries, "budgets": gateway.spent() }).to_string());
        }
        QueryRequest::Cancel { id, reason } => (id, reason),
    };
    // What is not there is not cancelled, and nothing is recorded.
    let unknown = || (StatusCode::NOT_FOUND, format!("no query '{id}' waits or runs here"));
    if !gateway.queries(None).iter().any(|query| query.id == id) {
        return Err(unknown());
    }
    let event = Event::Administration {
        action: "cancel".to_owned(),
        by: "operator, by the key of the admin listener".to_owned(),
        peer: None,
        detail: format!("{id}: {reason}"),
    };
    if let Err(error) = audit.record(&event).await {
        let why = format!("nothing is cancelled, as it is not recorded: {error}");
        return Err((StatusCode::SERVICE_UNAVAILABLE, why));
    }
    match gateway.cancel_for(&id, None, "an operator", &reason).await {
        Some(user) => Ok(serde_json::json!({ "canceled": id, "user": user }).to_string()),
        // It has ended meanwhile.
        None => Err(unknown()),
    }
}
