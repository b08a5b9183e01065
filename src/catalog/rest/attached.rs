//! Policies that Polaris has attached to a table, or to what holds it.
//!
//! Polaris 1.7 has policies for maintenance alone. Access control is proposed (apache/polaris pull request 2048): a
//! policy's content names columns that are shown, and filters in Iceberg's expressions, in which the catalog has put
//! the caller in place of what depends on them.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::ApplicablePolicy;
use super::error::RestError;
use crate::catalog::ReadRestrictions;

/// The type of policies that restrict reading.
const ACCESS_CONTROL: &str = "system.access-control";
/// Types that have nothing to say of reading.
const MAINTENANCE: [&str; 4] = [
    "system.data-compaction",
    "system.metadata-compaction",
    "system.orphan-file-removal",
    "system.snapshot-expiry",
];
/// The most filters of one policy.
const MOST_FILTERS: usize = 100;

/// What one attached policy restricts.
#[derive(Clone, Debug, PartialEq)]
pub struct Attached {
    /// Its name.
    pub policy: String,
    /// Filters, all of which a row must meet.
    pub filters: Vec<Arc<ReadRestrictions>>,
    /// The columns that are shown; none where all are.
    pub columns: Option<BTreeSet<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content<'a> {
    #[serde(default)]
    #[expect(dead_code, reason = "who holds which role the catalog knows, which has listed the policy")]
    version: Option<String>,
    #[serde(rename = "principalRole", default)]
    #[expect(dead_code, reason = "as above")]
    principal_role: Option<String>,
    #[serde(rename = "columnProjections", default)]
    columns: Option<Vec<String>>,
    #[serde(rename = "rowFilters", borrow, default)]
    filters: Option<Vec<&'a RawValue>>,
}

/// What the policies restrict. One of another type is left out, and logged.
///
/// # Errors
/// The content of one that restricts reading is not understood in full.
pub(super) fn read(policies: &[ApplicablePolicy]) -> Result<Vec<Attached>, RestError> {
    let mut all = Vec::new();
    for policy in policies {
        match policy.kind.as_str() {
            ACCESS_CONTROL => all.push(attached(policy).map_err(|why| {
                RestError::Garbage(format!("the policy {} is not understood: {why}", policy.name))
            })?),
            kind if MAINTENANCE.contains(&kind) => {}
            kind => tracing::warn!(policy = %policy.name, kind, "a policy of an unknown type is left out"),
        }
    }
    Ok(all)
}

fn attached(policy: &ApplicablePolicy) -> Result<Attached, String> {
    let text = policy.content.as_deref().ok_or("it has no content")?;
    let content: Content<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let filters = content.filters.unwrap_or_default();
    if filters.len() > MOST_FILTERS {
        return Err(format!("more than {MOST_FILTERS} filters"));
    }
    let mut read = Vec::new();
    for filter in filters {
        let restrictions = format!("{{\"required-row-filter\": {}}}", filter.get());
        let restrictions = ReadRestrictions::read(&restrictions)?;
        read.extend(restrictions.map(Arc::new));
    }
    // Nothing shown and nothing said of columns are written alike.
    let columns = content.columns.filter(|columns| !columns.is_empty());
    let columns = columns.map(|columns| columns.into_iter().collect());
    Ok(Attached { policy: policy.name.clone(), filters: read, columns })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_attached_policies_say() {
        let check = |kind: &str, content: &str, expect: &str| {
            let policy = ApplicablePolicy {
                kind: kind.to_owned(),
                name: "p".to_owned(),
                content: (!content.is_empty()).then(|| content.to_owned()),
            };
            let got = match read(&[policy]) {
                Ok(all) => match &all[..] {
                    [] => "nothing".to_owned(),
                    [one] => format!("{} filters, {:?}", one.filters.len(), one.columns),
                    _ => "several".to_owned(),
                },
                Err(error) => error.to_string(),
            };
            assert!(got.contains(expect), "{kind} {content}: {got}");
        };
        check("system.data-compaction", "{", "nothing");
        check("acme.other", "{", "nothing");
        check("system.access-control", "", "it has no content");
        check("system.access-control", "{\"hide\": []}", "unknown field");
        check("system.access-control", "{\"columnProjections\": [\"a\"]}", "0 filters, Some({\"a\"})");
        check(
            "system.access-control",
            "{\"principalRole\": \"r\", \"columnProjections\": []}",
            "0 filters, None",
        );
        check("system.access-control", "{\"rowFilters\": [{\"type\": \"guess\"}]}", "is not understood");
    }
}
