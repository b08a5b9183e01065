//! What one gateway tells another.

use serde::{Deserialize, Serialize};

/// The most pages that one report tells of by number; a client asks for one after the other.
const MOST_PAGES: usize = 4_096;
/// The most logins that one report names as those that want a query cancelled.
const MOST_LOGINS: usize = 64;

/// What became of another gateway's query here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Report {
    /// The gateway's id of the query.
    pub query: String,
    /// The pages that were handed on.
    pub pages: Vec<Page>,
    /// What it has used so far: bytes read from storage, rows read, milliseconds of processors.
    #[serde(default)]
    pub used: (u64, u64, u64),
    /// Where Trino would take a cancel: the cluster and the path.
    pub next: Option<(String, String)>,
    /// How it ended, if it did.
    pub ending: Option<Ending>,
    /// Who wants it cancelled by its id alone: logins, none of which need be whose it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cancel_for: Vec<String>,
}

/// A page that was handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Page {
    /// Its number.
    pub number: u64,
    /// Its rows.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of a long page: that it is on its way, with what was counted of it before, or that it is no more.
    #[serde(default)]
    pub sending: Option<Sending>,
}

/// A long page that a gateway hands on, piece by piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Sending {
    /// The gateway.
    pub by: u64,
    /// Which one of that gateway's.
    pub nth: u64,
    /// Whether more of it may follow.
    pub open: bool,
}

/// How a query ended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Ending {
    /// With its last page.
    Finished,
    /// Its client cancelled it.
    Canceled,
    /// It failed.
    Failed {
        /// Name of the error.
        error: String,
        /// Its message.
        message: String,
    },
}

/// How far a query is whose client was told that it waits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Waiting {
    /// Nothing was sent to Trino.
    Queued,
    /// It is being sent to Trino, or was.
    Sent,
    /// There is its first page.
    Answered {
        /// Headers of the protocol.
        headers: Vec<(String, Vec<u8>)>,
        /// The page.
        body: String,
    },
}

impl Report {
    /// That a query's client was here.
    pub fn of(query: &str) -> Self {
        Self { query: query.to_owned(), ..Self::default() }
    }

    /// That somebody who has signed in as `login` wants it cancelled, whosever it is.
    pub(super) fn cancel(query: &str, login: &str) -> Self {
        Self { cancel_for: vec![login.to_owned()], ..Self::of(query) }
    }

    /// Whether it tells of the query's client, and not only of somebody's wish.
    pub fn is_of_client(&self) -> bool {
        self.cancel_for.is_empty() || !self.pages.is_empty() || self.next.is_some() || self.ending.is_some()
    }

    /// Adds what came later.
    pub(super) fn add(&mut self, later: Self) {
        self.pages.extend(later.pages);
        if self.pages.len() > MOST_PAGES {
            self.pages.drain(..self.pages.len() - MOST_PAGES);
        }
        let (scanned, rows, cpu_ms) = later.used;
        self.used = (self.used.0.max(scanned), self.used.1.max(rows), self.used.2.max(cpu_ms));
        self.next = later.next.or(self.next.take());
        // The first to end it decides.
        self.ending = self.ending.take().or(later.ending);
        for login in later.cancel_for {
            if self.cancel_for.len() < MOST_LOGINS && !self.cancel_for.contains(&login) {
                self.cancel_for.push(login);
            }
        }
    }
}
