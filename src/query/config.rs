//! The `[query]` section.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, Span};

/// What the texts of the largest statement take. Bytes.
pub(super) const LARGEST: usize = 32 << 20;

/// The `[query]` section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A query whose client has not asked for it for that long is cancelled.
    pub client_timeout: Span,
    /// The same while the gateway is about to end, so that it does not wait for clients that have left.
    pub drain_client_timeout: Span,
    /// The session properties that clients may set, in lower case. None of them may turn off what keeps a
    /// user's predicates away from rows that a filter hides, or set a limit by which it shows how much of a table was read.
    pub session_properties: Vec<String>,
    /// How deep a statement may be nested.
    pub max_depth: u32,
    /// How many words, numbers, texts and signs a statement may have. A statement of very many keeps a small coordinator
    /// busy for minutes before it runs.
    pub max_words: u32,
    /// The memory for the texts of all queries that wait or run, as they came and as they are sent, and what is sent with
    /// them. One principal has a quarter of it. A statement that finds it full is refused.
    pub text_memory: ByteSize,
}

/// The most that `max_words` can be: what the memory for texts is reckoned with.
const MOST_WORDS: u32 = 400_000;

/// Session properties that nobody may set: a query that reads more than they say fails, and how much it reads of a table
/// depends on the rows that a filter hides. With a condition that is copied to the table that tells of each value whether
/// one of these rows has it.
const TELLTALE: [&str; 6] = [
    "query_max_memory",
    "query_max_memory_per_node",
    "query_max_scan_physical_bytes",
    "query_max_total_memory",
    "query_max_total_memory_per_node",
    "query_max_write_physical_size",
];

impl Default for Config {
    fn default() -> Self {
        let properties = [
            "join_distribution_type",
            "join_max_broadcast_table_size",
            "join_reordering_strategy",
            "query_max_cpu_time",
            "query_max_execution_time",
            "query_max_planning_time",
            "query_max_run_time",
            "spill_enabled",
            "task_concurrency",
        ];
        Self {
            client_timeout: Span(Duration::from_mins(5)),
            drain_client_timeout: Span(Duration::from_mins(1)),
            session_properties: properties.map(str::to_owned).to_vec(),
            max_depth: 200,
            max_words: MOST_WORDS,
            text_memory: ByteSize(256 << 20),
        }
    }
}

impl Config {
    /// Whether the values can be used; if not, why.
    pub fn check(&self) -> Result<(), String> {
        let limits =
            [("client_timeout", self.client_timeout), ("drain_client_timeout", self.drain_client_timeout)];
        if let Some((name, _)) = limits.iter().find(|(_, limit)| limit.0 < Duration::from_secs(10)) {
            return Err(format!("query.{name} is below 10s: drivers may be silent for that long"));
        }
        if self.text_memory.0 < LARGEST as u64 {
            return Err("query.text_memory is below 32MiB: the largest statement needs as much".to_owned());
        }
        // Above this a statement could overflow the stack of a worker thread (8 MiB).
        if !(10..=500).contains(&self.max_depth) {
            return Err("query.max_depth must be from 10 to 500".to_owned());
        }
        if !(1_000..=MOST_WORDS).contains(&self.max_words) {
            return Err(format!("query.max_words must be from 1000 to {MOST_WORDS}"));
        }
        if let Some(name) = self.session_properties.iter().find(|name| **name != name.to_lowercase()) {
            return Err(format!("query.session_properties: '{name}' is not in lower case"));
        }
        if let Some(name) = self.session_properties.iter().find(|name| TELLTALE.contains(&name.as_str())) {
            return Err(format!(
                "query.session_properties: '{name}' would tell of rows that filters hide, by what is read of them"
            ));
        }
        Ok(())
    }
}
