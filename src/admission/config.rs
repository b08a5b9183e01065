//! The `[admission]` section.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, Span};

/// The `[admission]` section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Statements a second by one principal; twice as many in a burst. 0 is no limit.
    pub submits_per_second: u32,
    /// Polls, heartbeats and cancels a second by one principal; twice as many in a burst. 0 is no limit.
    pub polls_per_second: u32,
    /// Statements a second from one address, or one IPv6 network of 64 bits; twice as many in a burst. 0 is no limit.
    pub submits_per_second_per_address: u32,
    /// Polls, heartbeats and cancels a second from there; twice as many in a burst. 0 is no limit.
    pub polls_per_second_per_address: u32,
    /// Queries that run at once.
    pub running: usize,
    /// Queries of one principal that run at once.
    pub running_per_principal: usize,
    /// Queries that wait.
    pub queued: usize,
    /// Queries of one principal that wait. With 0 nobody waits.
    pub queued_per_principal: usize,
    /// A class that has waited for so long with nothing let in is next, each second time.
    pub ageing: Span,
    /// The class of what no rule matches.
    pub default_class: String,
    /// The time zone of rules' hours, by its IANA name.
    pub time_zone: String,
    /// How many gateways share the limits. With more than one they are counted in the Redis of `[state]`.
    pub replicas: NonZeroU32,
    /// The slots of a gateway that is not heard of for so long are free again.
    pub lease: Span,
    /// The groups whose members see and cancel everybody's queries.
    pub operators: Vec<String>,
    /// What all may use in a day together.
    #[serde(skip_serializing_if = "Budget::is_none")]
    pub budget: Budget,
    /// What each principal may use in a day.
    #[serde(skip_serializing_if = "Budget::is_none")]
    pub budget_per_principal: Budget,
    /// Classes, besides `interactive` and `batch`, or in the place of these.
    #[serde(rename = "class")]
    pub classes: Vec<Class>,
    /// Which statement is of which class: the first that matches, then those that come with Northgate.
    #[serde(rename = "rule")]
    pub rules: Vec<Rule>,
    /// Groups whose members together have limits.
    #[serde(rename = "group")]
    pub groups: Vec<Group>,
}

/// What may be used in a day, which begins at midnight in `admission.time_zone`. What is not given has no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Bytes that Trino reads from storage (`physicalInputBytes`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scanned: Option<ByteSize>,
    /// Rows that it reads (`processedRows`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Time of its processors (`cpuTimeMillis`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Span>,
}

/// `[[admission.class]]`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Its name: small letters, digits and hyphens.
    pub name: String,
    /// Its share of the slots that nobody is guaranteed, beside those of other classes; from 1 to 1000. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Slots that it gets before others while it has fewer. Others borrow them until then.
    #[serde(default)]
    pub guaranteed: usize,
    /// Slots of these that nobody borrows.
    #[serde(default)]
    pub reserved: usize,
    /// Queries that run at once. Default: as many as of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<usize>,
    /// Queries of one principal that run at once. Default: as many as in all classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running_per_principal: Option<usize>,
    /// Queries that wait. Default: as many as of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued: Option<usize>,
    /// Session properties that Trino is sent with its queries, over what their clients set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub session_properties: BTreeMap<String, String>,
    /// A client tag that Trino is sent with its queries, for the selectors of Trino's resource groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_tag: Option<String>,
    /// What its queries may use in a day.
    #[serde(default, skip_serializing_if = "Budget::is_none")]
    pub budget: Budget,
}

/// `[[admission.rule]]`: all conditions that are given must hold. Of one, any of the values.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The class.
    pub class: String,
    /// Names of principals, with `*` for any characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<String>>,
    /// Groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// What the client says that it is (`X-Trino-Source`), with `*`; capitals count for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<String>>,
    /// Client tags, with `*`; capitals count for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Kinds of statements: `query`, `show`, `session`, `prepare`, `explain`, `transaction`, `write`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<String>>,
    /// A time of day, such as `22:00-06:00`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<String>,
    /// What Trino expects the statement to read from its tables (`EXPLAIN (TYPE IO)`) is more. What it has no estimate of does
    /// not match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scanned_above: Option<ByteSize>,
    /// The same in rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_above: Option<u64>,
    /// Believe the client's source and tags though they make its query come sooner.
    #[serde(default)]
    pub trust_client: bool,
}

/// `[[admission.group]]`: limits of a group's members together.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The group.
    pub name: String,
    /// Queries that run at once. Default: as many as of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<usize>,
    /// Queries that wait. Default: as many as of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued: Option<usize>,
    /// What the members' queries may use in a day.
    #[serde(default, skip_serializing_if = "Budget::is_none")]
    pub budget: Budget,
}

impl Budget {
    /// Whether nothing is bounded.
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            submits_per_second: 100,
            polls_per_second: 5_000,
            submits_per_second_per_address: 1_000,
            polls_per_second_per_address: 50_000,
            running: 200,
            running_per_principal: 50,
            queued: 2_000,
            queued_per_principal: 500,
            ageing: Span(Duration::from_secs(30)),
            default_class: super::classes::INTERACTIVE.to_owned(),
            time_zone: "UTC".to_owned(),
            replicas: NonZeroU32::MIN,
            lease: Span(Duration::from_secs(10)),
            operators: Vec::new(),
            budget: Budget::default(),
            budget_per_principal: Budget::default(),
            classes: Vec::new(),
            rules: Vec::new(),
            groups: Vec::new(),
        }
    }
}

impl Config {
    /// The names of all classes.
    pub fn class_names(&self) -> impl Iterator<Item = &str> {
        let built_in = [super::classes::INTERACTIVE, super::classes::BATCH];
        built_in.into_iter().chain(self.classes.iter().map(|class| class.name.as_str()))
    }
}
