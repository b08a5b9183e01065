//! How the claims of a token become a principal.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error::Cause;
use super::principal::{Method, Principal};
use super::users::check_name;

/// Most groups of one principal.
const MAX_GROUPS: usize = 10_000;

/// Which claims say what. A path `a.b` is the claim of that name, or else `b` inside of `a`.
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    pub(super) user: String,
    pub(super) groups: Option<String>,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) require: BTreeMap<String, String>,
}

impl Mapping {
    /// The principal of claims that were verified.
    pub(super) fn principal(&self, claims: &Value, method: Method) -> Result<Principal, Cause> {
        for (claim, value) in &self.require {
            if at(claims, claim).and_then(text).as_ref() != Some(value) {
                return Err(Cause::Token("a required claim differs"));
            }
        }
        let name = at(claims, &self.user)
            .and_then(Value::as_str)
            .filter(|name| check_name(name).is_ok())
            .ok_or(Cause::Token("no usable user name"))?;
        let groups = match &self.groups {
            Some(claim) => groups(claims, claim)?,
            None => Vec::new(),
        };
        let attributes = self
            .attributes
            .iter()
            .filter_map(|(name, claim)| Some((name.clone(), at(claims, claim).and_then(text)?)));
        Ok(Principal::new(name, method).with_groups(groups).with_attributes(attributes))
    }
}

/// The claim at a path: a claim of exactly this name, or else `a.b` as `b` inside of `a`.
fn at<'a>(claims: &'a Value, path: &str) -> Option<&'a Value> {
    claims.get(path).or_else(|| path.split('.').try_fold(claims, |value, key| value.get(key)))
}

/// A string, number or truth value as text. A list or an object is none, rather than a guess.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The groups. An error where the claim is there and is not groups, or is too long, or where an issuer says
/// that it left groups out ("overage"): rules that deny by group must not be escaped by a list that is not whole.
fn groups(claims: &Value, path: &str) -> Result<Vec<String>, Cause> {
    if claims.get("_claim_names").and_then(|names| names.get(path)).is_some()
        || claims.get("hasgroups").and_then(Value::as_bool) == Some(true)
    {
        return Err(Cause::Overage);
    }
    match at(claims, path) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(group)) => Ok(vec![group.clone()]),
        Some(Value::Array(groups)) if groups.len() <= MAX_GROUPS => groups
            .iter()
            .map(|group| group.as_str().map(str::to_owned).ok_or(Cause::Token("unreadable groups")))
            .collect(),
        Some(Value::Array(_)) => Err(Cause::Overage),
        Some(_) => Err(Cause::Token("unreadable groups")),
    }
}
