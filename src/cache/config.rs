//! The `[cache]` section. Without it nothing is kept.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Warming;
use crate::units::{ByteSize, Span};

/// How many questions are asked before anybody does, each of each user.
const MOST_WARMED: usize = 200;

/// The `[cache]` section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The memory for answers, compressed. Those that are being collected may take a quarter of it besides.
    pub memory: ByteSize,
    /// What answers may take of the Redis that gateways share by `[state]`, so that each gives again what any has asked. Without
    /// it, gateways that share their state give nothing again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<ByteSize>,
    /// A disk for more answers of one gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskConfig>,
    /// The largest answer, in bytes of its rows as JSON.
    pub max_result: ByteSize,
    /// The memory for the answers to one principal's queries; a quarter of all if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_principal: Option<ByteSize>,
    /// Answers that Trino gives faster are not kept.
    pub min_time: Span,
    /// How long an answer is kept at most.
    pub life: Span,
    /// For how long a table's state is believed. Nought: the catalog is asked for each question.
    pub freshness: Span,
    /// Whether principals share answers. Not where Trino itself restricts what users see.
    pub shared: bool,
    /// How often it is looked whether the tables of `warming` have changed.
    pub warming_every: Span,
    /// Queries of dashboards that are asked again after a commit of their tables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warming: Vec<Warming>,
}

/// The `[cache.disk]` section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DiskConfig {
    /// The folder, of this gateway alone. What is in it of answers is removed at each start.
    pub folder: PathBuf,
    /// What the answers there may take.
    pub size: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            memory: ByteSize(256 << 20),
            redis: None,
            disk: None,
            max_result: ByteSize(16 << 20),
            per_principal: None,
            min_time: Span(Duration::from_millis(100)),
            life: Span(Duration::from_hours(24)),
            freshness: Span(Duration::ZERO),
            shared: true,
            warming_every: Span(Duration::from_secs(30)),
            warming: Vec::new(),
        }
    }
}

impl Config {
    /// The memory for the answers to one principal's queries.
    pub fn of_one(&self) -> ByteSize {
        self.per_principal.unwrap_or(ByteSize(self.memory.0 / 4))
    }

    /// The paths in it.
    pub fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.disk.iter_mut().map(|disk| &mut disk.folder)
    }

    /// Whether the values can be used; if not, why.
    ///
    /// # Errors
    /// The key and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let wrong = [
            (self.memory.0 < 1 << 20, "cache.memory is below 1MiB"),
            (self.memory.0 > 1 << 40, "cache.memory is above 1024GiB"),
            (self.redis.is_some_and(|redis| redis.0 < 1 << 20), "cache.redis is below 1MiB"),
            (
                self.redis.is_some() && self.disk.is_some(),
                "cache.disk: not beside cache.redis, where answers are for all gateways",
            ),
            (self.disk.as_ref().is_some_and(|disk| disk.size.0 < 16 << 20), "cache.disk.size is below 16MiB"),
            (
                self.max_result.0 > 1 << 30,
                "cache.max_result is above 1GiB: larger answers are not for memory",
            ),
            (self.max_result.0 > self.memory.0 / 4, "cache.max_result is above a quarter of cache.memory"),
            (self.of_one().0 > self.memory.0, "cache.per_principal is above cache.memory"),
            (self.of_one().0 < 64 << 10, "cache.per_principal is below 64KiB"),
            (
                self.life.0.is_zero() || self.life.0 > Duration::from_hours(30 * 24),
                "cache.life: at least 1ms and at most 30d",
            ),
            (self.freshness.0 > Duration::from_hours(1), "cache.freshness is above 1h"),
            (
                !(Duration::from_secs(1)..=Duration::from_hours(1)).contains(&self.warming_every.0),
                "cache.warming_every: from 1s to 1h",
            ),
            (
                self.warming.iter().map(|warming| warming.users.len()).sum::<usize>() > MOST_WARMED,
                "cache.warming: more than 200 users and queries",
            ),
        ];
        if let Some((_, why)) = wrong.iter().find(|(wrong, _)| *wrong) {
            return Err((*why).to_owned());
        }
        let mut names = BTreeSet::new();
        for warming in &self.warming {
            warming.check().map_err(|why| format!("cache.warming '{}': {why}", warming.name))?;
            if !names.insert(&warming.name) {
                return Err(format!("cache.warming '{}': is there twice", warming.name));
            }
        }
        Ok(())
    }
}
