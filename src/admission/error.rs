//! Why a query is not let in.

use std::sync::Arc;
use std::time::Duration;

use super::budget::Unit;
use crate::error::{ErrorCode, Failure};

/// Whose limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The principal's own.
    Principal,
    /// That of a group that they are in.
    Group,
    /// That of the class of the statement.
    Class,
    /// That of all together.
    All,
}

/// Why a query is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// Too many statements in too short a time.
    #[error("too many statements, the next in {retry_after:?}")]
    TooFast {
        /// When the next one is let in.
        retry_after: Duration,
    },
    /// As many queries wait as may.
    #[error("the queue is full: {limit} wait ({whose:?} {name})")]
    QueueFull {
        /// Whose queue.
        whose: Whose,
        /// The name of the class or group, if it is one's.
        name: Arc<str>,
        /// How many may wait.
        limit: usize,
    },
    /// What may be used in a day is used.
    #[error("the budget of today is used up: {unit:?} ({whose:?} {name})")]
    Spent {
        /// Whose budget.
        whose: Whose,
        /// The name of the class or group, if it is one's.
        name: Arc<str>,
        /// Of what.
        unit: Unit,
        /// Until when, in words.
        until: String,
    },
    /// The texts of the queries that wait and run take all the memory that there is for them.
    #[error("the texts of queries take all the memory that they may")]
    TextsFull,
    /// A limit that lets nobody in, or contradicts another.
    #[error("{0}")]
    Config(String),
}

impl Failure for AdmissionError {
    fn kind(&self) -> &'static str {
        match self {
            Self::TooFast { .. } => "admission_too_fast",
            Self::QueueFull { .. } => "admission_queue_full",
            Self::Spent { .. } => "admission_spent",
            Self::TextsFull => "admission_texts_full",
            Self::Config(_) => "admission_config",
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::TooFast { .. } | Self::QueueFull { .. } | Self::TextsFull => ErrorCode::QUERY_QUEUE_FULL,
            Self::Spent { unit: Unit::Cpu, .. } => ErrorCode::EXCEEDED_CPU_LIMIT,
            Self::Spent { unit: Unit::Scanned | Unit::Rows, .. } => ErrorCode::EXCEEDED_SCAN_LIMIT,
            Self::Config(_) => ErrorCode::GENERIC_INTERNAL_ERROR,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::TooFast { retry_after } => format!(
                "Too many statements in a short time. The next one is let in after {} ms.",
                retry_after.as_millis().max(1)
            ),
            Self::QueueFull { whose: Whose::Principal, limit, .. } => {
                format!("Too many of your queries are waiting: {limit} may. Try again when some have run.")
            }
            Self::QueueFull { whose: Whose::Group, name, limit } => {
                format!("Too many queries of the group '{name}' are waiting: {limit} may. Try again later.")
            }
            Self::QueueFull { whose: Whose::Class, name, limit } => {
                format!("Too many queries of the class '{name}' are waiting: {limit} may. Try again later.")
            }
            Self::QueueFull { whose: Whose::All, limit, .. } => {
                format!("Too many queries are waiting: {limit} may. Try again later.")
            }
            Self::Spent { whose, name, unit, until } => {
                let budget = match whose {
                    Whose::Principal => "Your budget".to_owned(),
                    Whose::Group => format!("The budget of the group '{name}'"),
                    Whose::Class => format!("The budget of the class '{name}'"),
                    Whose::All => "The budget of all together".to_owned(),
                };
                let what = match unit {
                    Unit::Scanned => "bytes read",
                    Unit::Rows => "rows read",
                    Unit::Cpu => "CPU time",
                };
                format!("{budget} of {what} is used up for today. It is whole again at {until}.")
            }
            Self::TextsFull => {
                "Too many queries with long texts are under way. Try again when some have run.".to_owned()
            }
            Self::Config(_) => "The gateway is not set up to run queries.".to_owned(),
        }
    }
}
