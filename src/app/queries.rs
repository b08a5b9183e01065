//! What operators ask about queries that wait and run, and the cancels that they order.

use http::StatusCode;

use super::operated::ordered;
use crate::admin::QueryRequest;
use crate::audit::Audit;
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
    ordered(audit, "cancel", format!("{id}: {reason}"), "cancelled").await?;
    match gateway.cancel_for(&id, None, "an operator", &reason).await {
        Some(user) => Ok(serde_json::json!({ "canceled": id, "user": user }).to_string()),
        // It has ended meanwhile.
        None => Err(unknown()),
    }
}
