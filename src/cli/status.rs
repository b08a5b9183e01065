//! `northgate status`: how the gateway on this machine does.

use http::Method;

use super::{Said, operator};
use crate::admin;
use crate::status::{Level, Status};

/// Asks the gateway that runs with this configuration. It has failed if the gateway is not ready, or has a problem.
///
/// # Errors
/// What is wrong, in words.
pub fn status(config: &admin::Config, json: bool) -> Result<Said, String> {
    let body = operator::ask(config, Method::GET, "/status")?;
    let status: Status = serde_json::from_str(&body)
        .map_err(|error| format!("the gateway's answer cannot be read: {error}"))?;
    let failed =
        !status.not_ready.is_empty() || status.findings.iter().any(|finding| finding.level == Level::Problem);
    let out = if json { body + "\n" } else { status.to_string() };
    Ok(Said { out, failed, ..Said::default() })
}
