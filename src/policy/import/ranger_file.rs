//! The files of Ranger: a list of policies, an export, or what a plugin downloads.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::ImportError;
use super::draft::one_line;

/// Keys of a file that say nothing about who may do what.
const HARMLESS: [&str; 14] = [
    "metaDataInfo",
    "serviceName",
    "serviceId",
    "policyVersion",
    "policyUpdateTime",
    "serviceDef",
    "auditMode",
    "serviceConfig",
    "startIndex",
    "pageSize",
    "totalCount",
    "resultSize",
    "sortType",
    "sortBy",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "they are the names of the source")]
pub(super) struct Policy {
    pub(super) id: Option<i64>,
    #[serde(default)]
    pub(super) name: String,
    pub(super) is_enabled: Option<bool>,
    pub(super) policy_type: Option<i64>,
    pub(super) policy_priority: Option<i64>,
    #[serde(default)]
    pub(super) resources: BTreeMap<String, Resource>,
    #[serde(default)]
    pub(super) additional_resources: Option<Vec<BTreeMap<String, Resource>>>,
    #[serde(default)]
    pub(super) conditions: Option<Vec<Value>>,
    #[serde(default)]
    pub(super) validity_schedules: Option<Vec<Value>>,
    #[serde(default)]
    pub(super) policy_items: Option<Vec<Item>>,
    #[serde(default)]
    pub(super) deny_policy_items: Option<Vec<Item>>,
    #[serde(default)]
    pub(super) allow_exceptions: Option<Vec<Item>>,
    #[serde(default)]
    pub(super) deny_exceptions: Option<Vec<Item>>,
    #[serde(default)]
    pub(super) data_mask_policy_items: Option<Vec<Item>>,
    #[serde(default)]
    pub(super) row_filter_policy_items: Option<Vec<Item>>,
    pub(super) is_deny_all_else: Option<bool>,
    pub(super) zone_name: Option<String>,
    #[serde(flatten)]
    pub(super) rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resource {
    #[serde(default)]
    pub(super) values: Vec<String>,
    pub(super) is_excludes: Option<bool>,
    pub(super) is_recursive: Option<bool>,
    #[serde(flatten)]
    pub(super) rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Item {
    #[serde(default)]
    pub(super) accesses: Option<Vec<AccessType>>,
    #[serde(default)]
    pub(super) users: Option<Vec<String>>,
    #[serde(default)]
    pub(super) groups: Option<Vec<String>>,
    #[serde(default)]
    pub(super) roles: Option<Vec<String>>,
    #[serde(default)]
    pub(super) conditions: Option<Vec<Value>>,
    pub(super) data_mask_info: Option<MaskInfo>,
    pub(super) row_filter_info: Option<FilterInfo>,
    #[serde(flatten)]
    pub(super) rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccessType {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) is_allowed: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct MaskInfo {
    pub(super) data_mask_type: Option<String>,
    pub(super) condition_expr: Option<String>,
    pub(super) value_expr: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FilterInfo {
    pub(super) filter_expr: Option<String>,
}

/// The policies of a file: a list, an export, or what a plugin downloads, with the tag policies in it.
pub(super) fn collect(file: Value, into: &mut Vec<Value>) -> Result<(), ImportError> {
    match file {
        Value::Array(policies) => into.extend(policies),
        Value::Object(map) => {
            for (key, value) in map {
                let empty = value.is_null()
                    || value.as_array().is_some_and(Vec::is_empty)
                    || value.as_object().is_some_and(serde_json::Map::is_empty);
                match (key.as_str(), value) {
                    ("policies", Value::Array(policies)) => into.extend(policies),
                    ("tagPolicies", value @ Value::Object(_)) => collect(value, into)?,
                    (key, _) if HARMLESS.contains(&key) || empty => {}
                    ("securityZones", _) => {
                        return Err(ImportError::Missing(
                            "the file has security zones: export the policies of one zone at a time"
                                .to_owned(),
                        ));
                    }
                    (key, _) => {
                        let key = one_line(key);
                        return Err(ImportError::Unreadable(format!("the key '{key}' is not known")));
                    }
                }
            }
        }
        _ => {
            return Err(ImportError::Unreadable("it is neither a list of policies nor an export".to_owned()));
        }
    }
    Ok(())
}
