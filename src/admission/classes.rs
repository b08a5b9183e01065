//! Which class a statement is of.
//!
//! What the client says of itself, its source and its tags, is a claim: it moves a statement to a class that comes later
//! than the one that its principal would have, never to one that comes sooner, lets more run or wait, or leaves out a session
//! property that the other sets, unless the rule says `trust_client`.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::config::{self, Config};
use super::error::AdmissionError;
use super::rule::Rule;
use super::scheduler::{ClassPlan, GroupPlan, Plan};
use crate::identity::Principal;
use crate::telemetry::StatementKind;
use crate::wire::Estimate;

/// The class of people.
pub(super) const INTERACTIVE: &str = "interactive";
/// The class of jobs.
pub(super) const BATCH: &str = "batch";
/// Most classes, rules and groups: each look goes through them.
const MOST_CLASSES: usize = 16;
const MOST_RULES: usize = 500;
const MOST_GROUPS: usize = 100;
/// The greatest weight.
const HEAVIEST: u32 = 1_000;
/// The properties that a class may set for Trino. None of those that tell of rows that filters hide: see `query::Config`.
const PROPERTIES: [&str; 8] = [
    "query_max_cpu_time",
    "query_max_execution_time",
    "query_max_planning_time",
    "query_max_run_time",
    "query_priority",
    "resource_overcommit",
    "spill_enabled",
    "task_concurrency",
];

/// A class, as a statement is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classified {
    /// Its place in the plan.
    pub(super) class: usize,
    /// The class.
    pub name: Arc<str>,
    /// The rule that says so, in words for operators.
    pub rule: Arc<str>,
}

/// What rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// What their client says that it is.
    pub source: Option<&'a str>,
    /// Its tags.
    pub tags: &'a [String],
    /// What kind of statement it is.
    pub kind: StatementKind,
    /// When.
    pub now: jiff::Timestamp,
    /// What Trino expects it to read, once that was asked.
    pub estimate: Option<Estimate>,
}

/// What Trino is told of a class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Session properties.
    pub properties: Vec<(String, String)>,
    /// A client tag.
    pub tag: Option<String>,
}

/// The classes, and the rules.
#[derive(Debug)]
pub struct Classes {
    names: Vec<Arc<str>>,
    told: Vec<Told>,
    rules: Vec<Rule>,
    default: usize,
    zone: TimeZone,
    groups: Vec<Arc<str>>,
    plans: Vec<ClassPlan>,
}

impl Classes {
    /// Reads the section, and gives the plan of the scheduler with it.
    pub(super) fn read(config: &Config) -> Result<(Self, Plan), AdmissionError> {
        let wrong = |why: String| AdmissionError::Config(why);
        limits(config)?;
        let classes = classes(config)?;
        let position = |name: &str| classes.iter().position(|class| class.name == name);
        let unknown = |key: &str, name: &str| {
            let names: Vec<&str> = classes.iter().map(|class| class.name.as_str()).collect();
            wrong(format!("{key}: there is no class '{name}'; there are {}", names.join(", ")))
        };
        let default =
            position(&config.default_class).ok_or_else(|| unknown("default_class", &config.default_class))?;
        let mut rules = Vec::new();
        for (at, rule) in config.rules.iter().enumerate() {
            let key = format!("rule {}", at + 1);
            let class = position(&rule.class).ok_or_else(|| unknown(&key, &rule.class))?;
            let read = Rule::read(rule, class, &key).map_err(|why| wrong(format!("{key}: {why}")))?;
            rules.push(read);
        }
        if rules.len() > MOST_RULES {
            return Err(wrong(format!("rule: at most {MOST_RULES}")));
        }
        if let Some(at) = rules.iter().position(Rule::matches_all).filter(|at| at + 1 < rules.len()) {
            return Err(wrong(format!(
                "rule {}: matches everything, so that no rule behind it is met",
                at + 1
            )));
        }
        let zone = TimeZone::get(&config.time_zone)
            .map_err(|_| wrong(format!("time_zone: there is no '{}'", config.time_zone)))?;
        let mut groups: Vec<Arc<str>> = Vec::new();
        for group in &config.groups {
            if group.name.is_empty() || groups.iter().any(|other| **other == *group.name) {
                return Err(wrong(format!("group '{}': without a name, or there twice", group.name)));
            }
            if group.running == Some(0) {
                return Err(wrong(format!("group '{}': running: with 0 its members never run", group.name)));
            }
            groups.push(Arc::from(group.name.as_str()));
        }
        if groups.len() > MOST_GROUPS {
            return Err(wrong(format!("group: at most {MOST_GROUPS}")));
        }
        let plan = plan(config, &classes)?;
        let mut read = Self {
            names: classes.iter().map(|class| Arc::from(class.name.as_str())).collect(),
            told: classes
                .iter()
                .map(|class| Told {
                    properties: class.session_properties.clone().into_iter().collect(),
                    tag: class.client_tag.clone(),
                })
                .collect(),
            rules,
            default,
            zone,
            groups,
            plans: plan.classes.clone(),
        };
        read.reachable()?;
        if let Some(batch) = position(BATCH) {
            read.rules.push(Rule::of_jobs(batch));
        }
        Ok((read, plan))
    }

    /// The class of a statement.
    pub fn classify(&self, facts: &Facts<'_>) -> Classified {
        let minute = self.minute(facts.now);
        let by_identity = self.rules.iter().find(|rule| !rule.claims() && rule.matches(facts, minute));
        let base = by_identity.map_or(self.default, |rule| rule.class);
        let rule = self.rules.iter().find(|rule| {
            rule.matches(facts, minute)
                && (!rule.claims() || rule.trust_client || !self.is_better(rule.class, base))
        });
        let (class, rule) = match rule {
            Some(rule) => (rule.class, Arc::clone(&rule.text)),
            None => (self.default, Arc::from("no rule")),
        };
        Classified { class, name: Arc::clone(&self.names[class]), rule }
    }

    /// The class of jobs, for what the gateway itself asks.
    pub fn jobs(&self) -> Classified {
        let class = self.names.iter().position(|name| **name == *BATCH).unwrap_or(self.default);
        Classified { class, name: Arc::clone(&self.names[class]), rule: Arc::from("cache.warming") }
    }

    /// Whether a rule goes by what the statement is expected to read, which is then to be asked.
    pub fn wants_estimate(&self, facts: &Facts<'_>) -> bool {
        let mut by_estimate = self.rules.iter().filter(|rule| rule.goes_by_estimate());
        by_estimate.any(|rule| rule.matches_but_for_estimate(facts, self.minute(facts.now)))
    }

    /// The minute of the day.
    fn minute(&self, now: jiff::Timestamp) -> u16 {
        let local = now.to_zoned(self.zone.clone());
        u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs())
    }

    /// Whether a class has something that another has not: its queries come sooner, or more of them run or wait, or something
    /// that the other tells Trino is left out.
    fn is_better(&self, class: usize, than: usize) -> bool {
        let tells = |name: &str| self.told[class].properties.iter().any(|(told, _)| told == name);
        let leaves_out = self.told[than].properties.iter().any(|(name, _)| !tells(name));
        let (class, than) = (&self.plans[class], &self.plans[than]);
        leaves_out
            || class.weight > than.weight
            || class.guaranteed > than.guaranteed
            || class.reserved > than.reserved
            || class.running > than.running
            || class.running_per_principal > than.running_per_principal
            || class.queued > than.queued
    }

    /// Refuses rules that can never say anything.
    fn reachable(&self) -> Result<(), AdmissionError> {
        let mut bases: Vec<usize> =
            self.rules.iter().filter(|rule| !rule.claims()).map(|rule| rule.class).collect();
        bases.push(self.default);
        let never = self.rules.iter().find(|rule| {
            rule.claims() && !rule.trust_client && bases.iter().all(|base| self.is_better(rule.class, *base))
        });
        never.map_or(Ok(()), |rule| {
            Err(AdmissionError::Config(format!(
                "{}: never counts: sources and tags are what clients say of themselves, and would make their queries come \
                 sooner, let more of them run or wait, or leave out session properties; `trust_client = true` says that they may",
                rule.text
            )))
        })
    }

    /// The names of the classes.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// The names of the groups with limits.
    pub(super) fn group_names(&self) -> &[Arc<str>] {
        &self.groups
    }

    /// What Trino is told of a class.
    pub fn told(&self, class: &Classified) -> &Told {
        &self.told[class.class]
    }

    /// Whether a client tag is that of a class, which no client may give itself.
    pub fn is_tag(&self, tag: &str) -> bool {
        self.told.iter().any(|told| told.tag.as_deref() == Some(tag.trim()))
    }

    /// The groups with limits that a principal is in.
    pub(super) fn groups_of(&self, principal: &Principal) -> Vec<usize> {
        (0..self.groups.len()).filter(|at| principal.groups().contains(&*self.groups[*at])).collect()
    }
}

/// Limits of nought, and limits that contradict each other.
fn limits(config: &Config) -> Result<(), AdmissionError> {
    let wrong = |why: &str| Err(AdmissionError::Config(why.to_owned()));
    if config.running == 0 || config.running_per_principal == 0 {
        return wrong("running and running_per_principal must be at least 1");
    }
    if config.running > 1_000_000 || config.queued > 1_000_000 {
        return wrong("running and queued: at most 1000000");
    }
    if config.running_per_principal > config.running {
        return wrong("running_per_principal must not be above running");
    }
    if config.queued_per_principal > config.queued {
        return wrong("queued_per_principal must not be above queued");
    }
    if !(Duration::from_secs(1)..=Duration::from_mins(1)).contains(&config.ageing.0) {
        return wrong("ageing: from 1s to 1m");
    }
    if !(Duration::from_secs(1)..=Duration::from_mins(5)).contains(&config.lease.0) {
        return wrong("lease: from 1s to 5m");
    }
    if config.replicas.get() > 100 {
        return wrong("replicas: at most 100");
    }
    if config.running < config.replicas.get() as usize {
        return wrong("running must be at least replicas: each gateway has a part of it when Redis is lost");
    }
    Ok(())
}

/// Those of the configuration, and those that are always there.
fn classes(config: &Config) -> Result<Vec<config::Class>, AdmissionError> {
    let built_in = |name: &str, weight, guaranteed, reserved| config::Class {
        name: name.to_owned(),
        weight: Some(weight),
        guaranteed,
        reserved,
        ..config::Class::default()
    };
    let mut classes =
        vec![built_in(INTERACTIVE, 8, config.running / 2, config.running / 10), built_in(BATCH, 2, 0, 0)];
    // A guarantee of somebody else's is not made impossible by one that nobody has asked for.
    if config.classes.iter().any(|class| class.guaranteed > 0) {
        (classes[0].guaranteed, classes[0].reserved) = (0, 0);
    }
    let mut seen: Vec<&str> = Vec::new();
    for class in &config.classes {
        let named = !class.name.is_empty()
            && class.name.len() <= 40
            && class.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !named {
            let why = "a name is 1 to 40 small letters, digits and hyphens";
            return Err(AdmissionError::Config(format!("class '{}': {why}", class.name)));
        }
        if seen.contains(&class.name.as_str()) {
            return Err(AdmissionError::Config(format!("class '{}': is there twice", class.name)));
        }
        seen.push(&class.name);
        match classes.iter_mut().find(|other| other.name == class.name) {
            Some(other) => *other = config::Class { weight: class.weight.or(other.weight), ..class.clone() },
            None => classes.push(class.clone()),
        }
    }
    // A class that nobody has described is not a way round the limits of those that are.
    if !seen.contains(&BATCH)
        && let Some(default) = classes.iter().find(|class| class.name == config.default_class).cloned()
        && let Some(batch) = classes.iter_mut().find(|class| class.name == BATCH)
    {
        batch.running = default.running;
        batch.running_per_principal = default.running_per_principal;
        batch.queued = default.queued;
        batch.session_properties = default.session_properties;
    }
    if classes.len() > MOST_CLASSES {
        return Err(AdmissionError::Config(format!("class: at most {MOST_CLASSES}")));
    }
    Ok(classes)
}

fn plan(config: &Config, classes: &[config::Class]) -> Result<Plan, AdmissionError> {
    let mut plans = Vec::new();
    for class in classes {
        let wrong = |why: String| Err(AdmissionError::Config(format!("class '{}': {why}", class.name)));
        let weight = class.weight.unwrap_or(1);
        if !(1..=HEAVIEST).contains(&weight) {
            return wrong(format!("weight: from 1 to {HEAVIEST}"));
        }
        let running = class.running.unwrap_or(config.running);
        if running == 0 || class.running_per_principal == Some(0) {
            return wrong("running and running_per_principal: with 0 its queries never run".to_owned());
        }
        if running > config.running {
            return wrong(format!("running: is above admission.running, {}", config.running));
        }
        if class.guaranteed > running {
            return wrong(format!("guaranteed: is above the {running} that it may run"));
        }
        if class.reserved > class.guaranteed {
            return wrong("reserved: is above guaranteed".to_owned());
        }
        if let Some((name, _)) =
            class.session_properties.iter().find(|(name, _)| !PROPERTIES.contains(&name.as_str()))
        {
            let may = PROPERTIES.join(", ");
            return wrong(format!("session_properties: '{name}' may not be set; there are {may}"));
        }
        let texts = class.session_properties.values().chain(&class.client_tag);
        if let Some(text) = texts.into_iter().find(|text| {
            text.is_empty() || text.contains(',') || !text.bytes().all(|b| (b' '..=b'~').contains(&b))
        }) {
            return wrong(format!("'{}' cannot be sent to Trino", text.escape_debug()));
        }
        plans.push(ClassPlan {
            weight,
            guaranteed: class.guaranteed,
            reserved: class.reserved,
            running,
            running_per_principal: class.running_per_principal.unwrap_or(config.running_per_principal),
            queued: class.queued.unwrap_or(config.queued),
        });
    }
    let sum = |of: fn(&ClassPlan) -> usize| plans.iter().map(of).sum::<usize>();
    if sum(|class| class.guaranteed) > config.running {
        let why = format!("class: more is guaranteed than the {} that may run", config.running);
        return Err(AdmissionError::Config(why));
    }
    let reserved = sum(|class| class.reserved);
    if let Some(at) =
        plans.iter().position(|class| class.reserved == 0).filter(|_| reserved >= config.running)
    {
        let why = format!("class '{}': all slots are reserved for others", classes[at].name);
        return Err(AdmissionError::Config(why));
    }
    let groups = config.groups.iter().map(|group| GroupPlan {
        running: group.running.unwrap_or(config.running),
        queued: group.queued.unwrap_or(config.queued),
    });
    Ok(Plan {
        running: config.running,
        running_per_principal: config.running_per_principal,
        queued: config.queued,
        queued_per_principal: config.queued_per_principal,
        replicas: config.replicas.get() as usize,
        ageing: u64::try_from(config.ageing.0.as_micros()).unwrap_or(u64::MAX),
        groups: groups.collect(),
        classes: plans,
    })
}
