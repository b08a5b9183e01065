//! One rule of `[[admission.rule]]`.

use std::sync::Arc;

use super::classes::Facts;
use super::config;
use crate::telemetry::StatementKind;

/// What jobs say that they are.
const JOBS: [&str; 8] =
    ["*airflow*", "*dbt*", "*spark*", "*dagster*", "*prefect*", "*luigi*", "*nifi*", "*batch*"];

#[derive(Debug)]
pub(super) struct Rule {
    /// The class, by its place in the plan.
    pub(super) class: usize,
    /// In words for operators.
    pub(super) text: Arc<str>,
    users: Option<Vec<String>>,
    groups: Option<Vec<String>>,
    sources: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    kinds: Option<Vec<StatementKind>>,
    /// Minutes of the day, from and to.
    hours: Option<(u16, u16)>,
    /// Bytes and rows that it is expected to read more than.
    scanned_above: Option<u64>,
    rows_above: Option<u64>,
    pub(super) trust_client: bool,
}

impl Rule {
    /// Reads it; `key` is what it is called.
    pub(super) fn read(rule: &config::Rule, class: usize, key: &str) -> Result<Self, String> {
        let lists = [
            ("users", &rule.users),
            ("groups", &rule.groups),
            ("sources", &rule.sources),
            ("tags", &rule.tags),
            ("kinds", &rule.kinds),
        ];
        for (name, list) in lists {
            if list.as_ref().is_some_and(|list| list.is_empty() || list.iter().any(String::is_empty)) {
                return Err(format!("{name}: matches nothing; leave it out to match all"));
            }
        }
        let lower = |list: &Option<Vec<String>>| {
            list.as_ref().map(|list| list.iter().map(|text| text.to_lowercase()).collect())
        };
        let kind = |name: &String| {
            if name == StatementKind::Execute.as_str() {
                return Err("kinds: what EXECUTE runs is of that statement's kind; name that".to_owned());
            }
            let known = StatementKind::ALL.iter().copied().find(|kind| kind.as_str() == name);
            known.ok_or_else(|| {
                let names: Vec<&str> = StatementKind::ALL.iter().map(|kind| kind.as_str()).collect();
                format!("kinds: there is no '{name}'; there are {}", names.join(", "))
            })
        };
        let kinds = rule.kinds.as_ref().map(|kinds| kinds.iter().map(kind).collect()).transpose()?;
        let hours = rule.hours.as_deref().map(hours).transpose()?;
        let text = Arc::from(format!("{key} of the configuration, for the class '{}'", rule.class));
        Ok(Self {
            class,
            text,
            users: rule.users.clone(),
            groups: rule.groups.clone(),
            sources: lower(&rule.sources),
            tags: lower(&rule.tags),
            kinds,
            hours,
            scanned_above: rule.scanned_above.map(|size| size.0),
            rows_above: rule.rows_above,
            trust_client: rule.trust_client,
        })
    }

    /// That for jobs.
    pub(super) fn of_jobs(batch: usize) -> Self {
        Self {
            class: batch,
            text: Arc::from("the rule of Northgate's own for jobs"),
            users: None,
            groups: None,
            sources: Some(JOBS.map(str::to_owned).to_vec()),
            tags: None,
            kinds: None,
            hours: None,
            scanned_above: None,
            rows_above: None,
            trust_client: false,
        }
    }

    /// Whether it goes by what clients say of themselves.
    pub(super) fn claims(&self) -> bool {
        self.sources.is_some() || self.tags.is_some()
    }

    pub(super) fn matches_all(&self) -> bool {
        let Self { users, groups, sources, tags, kinds, hours, .. } = self;
        users.is_none()
            && groups.is_none()
            && sources.is_none()
            && tags.is_none()
            && kinds.is_none()
            && hours.is_none()
            && !self.goes_by_estimate()
    }

    /// Whether it goes by what Trino expects a statement to read.
    pub(super) fn goes_by_estimate(&self) -> bool {
        self.scanned_above.is_some() || self.rows_above.is_some()
    }

    /// Whether all of its conditions hold, at that minute of the day. What Trino has no estimate of is not above anything.
    pub(super) fn matches(&self, facts: &Facts<'_>, minute: u16) -> bool {
        let is_above = |limit: Option<u64>, figure: Option<f64>| {
            limit.is_none_or(|limit| figure.is_some_and(|figure| figure > limit as f64))
        };
        let estimate = facts.estimate.unwrap_or_default();
        is_above(self.scanned_above, estimate.bytes)
            && is_above(self.rows_above, estimate.rows)
            && self.matches_but_for_estimate(facts, minute)
    }

    pub(super) fn matches_but_for_estimate(&self, facts: &Facts<'_>, minute: u16) -> bool {
        let any = |patterns: &Option<Vec<String>>, text: &str| {
            patterns.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| fits(pattern, text)))
        };
        let of_tags = self.tags.as_ref().is_none_or(|patterns| {
            patterns.iter().any(|pattern| facts.tags.iter().any(|tag| fits(pattern, &tag.to_lowercase())))
        });
        any(&self.users, facts.principal.name())
            && self
                .groups
                .as_ref()
                .is_none_or(|groups| groups.iter().any(|group| facts.principal.groups().contains(group)))
            && (self.sources.is_none()
                || facts.source.is_some_and(|source| any(&self.sources, &source.to_lowercase())))
            && of_tags
            && self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&facts.kind))
            && self.hours.is_none_or(|(from, to)| {
                if from < to { (from..to).contains(&minute) } else { minute >= from || minute < to }
            })
    }
}

/// Whether a text is as a pattern, in which `*` stands for any characters.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn hours(text: &str) -> Result<(u16, u16), String> {
    let minute = |text: &str| {
        let (hour, minute) = text.trim().split_once(':')?;
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        (hour <= 24 && minute < 60 && hour * 60 + minute <= 24 * 60).then_some(hour * 60 + minute)
    };
    let read = text.split_once('-').and_then(|(from, to)| Some((minute(from)?, minute(to)?)));
    match read {
        Some((from, to)) if from % 1440 == to % 1440 => {
            Err(format!("hours: '{text}' matches nothing; leave it out to match all"))
        }
        Some(hours) => Ok(hours),
        None => Err(format!("hours: '{text}' is not of the form 22:00-06:00")),
    }
}
