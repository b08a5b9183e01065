//! Stages 3 and 9: how fast a principal may ask, and how many queries run at once.
//!
//! Statements above the rate are refused, since nothing is lost by it; polls are held back. A query that finds
//! no slot waits, and is refused only where the queue is full. One gateway, in memory; classes, weights and
//! several gateways are still to come.

mod error;
mod rate;
mod slots;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use error::{AdmissionError, Whose};
pub use rate::{Metered, Rate};
pub use slots::{Load, Slot, Slots, Standing, Ticket};

/// The `[admission]` section.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Statements a second by one principal; twice as many in a burst. 0 is no limit.
    pub submits_per_second: u32,
    /// Polls, heartbeats and cancels a second by one principal; twice as many in a burst. 0 is no limit.
    pub polls_per_second: u32,
    /// Queries that run at once.
    pub running: usize,
    /// Queries of one principal that run at once.
    pub running_per_principal: usize,
    /// Queries that wait.
    pub queued: usize,
    /// Queries of one principal that wait. With 0 nobody waits.
    pub queued_per_principal: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            submits_per_second: 100,
            polls_per_second: 5_000,
            running: 200,
            running_per_principal: 50,
            queued: 2_000,
            queued_per_principal: 500,
        }
    }
}
