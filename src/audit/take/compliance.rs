//! What a month has had, for the report that is read, printed and signed: who used the gateway, who read what is tagged, what was
//! denied, and what changed.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde_json::Value;

use super::{Place, Selection, TakeError};

/// The most lines of a table; what there is more is counted.
const MOST: usize = 100_000;

/// A month (UTC).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Month {
    /// As it is written: `2026-11`.
    pub name: String,
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment of the next.
    pub to: Timestamp,
}

impl Month {
    /// Reads one, such as `2026-11`.
    ///
    /// # Errors
    /// It is none, in words.
    pub fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no month; write it as 2026-11");
        let day: Date = format!("{text}-01").parse().map_err(|_| wrong())?;
        let next = day.checked_add(1.month()).map_err(|_| wrong())?;
        let moment = |day: Date| day.to_zoned(TimeZone::UTC).map(|at| at.timestamp()).map_err(|_| wrong());
        Ok(Self { name: text.to_owned(), from: moment(day)?, to: moment(next)? })
    }

    /// The one before that of a moment: the newest that is whole.
    pub fn before(now: Timestamp) -> String {
        let day = now.to_zoned(TimeZone::UTC).date();
        day.checked_sub(1.month()).unwrap_or(day).strftime("%Y-%m").to_string()
    }
}

/// Numbers by what they are of, up to [`MOST`], and how many of others there are.
#[derive(Default)]
pub struct Counts<K>(pub BTreeMap<K, u64>, pub u64);

impl<K: Ord> Counts<K> {
    fn add(&mut self, key: K) {
        if self.0.len() < MOST || self.0.contains_key(&key) {
            *self.0.entry(key).or_default() += 1;
        } else {
            self.1 += 1;
        }
    }
}

/// What a month has had.
#[derive(Default)]
pub struct Seen {
    /// Queries, by user.
    pub users: Counts<String>,
    /// Queries that read something tagged, by user, table, tag and whether all its columns were masked.
    pub tagged: Counts<(String, String, String, &'static str)>,
    /// By user, type and reason.
    pub denials: Counts<(String, String, String)>,
    /// Time, who, what, detail.
    pub changes: Vec<[String; 4]>,
    /// Changes that there was no room for.
    pub more: u64,
}

impl Seen {
    /// What a log says of a month.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of(place: &Place, month: &Month) -> Result<Self, TakeError> {
        let mut seen = Self::default();
        let selection = Selection { from: Some(month.from), to: Some(month.to), ..Selection::default() };
        super::search(place, &selection, |_, line| {
            if let Ok(record) = serde_json::from_slice::<Value>(line) {
                seen.add(&record);
            }
            true
        })?;
        Ok(seen)
    }

    fn add(&mut self, record: &Value) {
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let named = |names: &[&str]| names.iter().map(|name| text(name)).find(|name| !name.is_empty());
        let who = match (text("impersonator"), text("principal")) {
            (by, user) if by.is_empty() => user,
            (by, user) => format!("{by} as {user}"),
        };
        match record["type"].as_str().unwrap_or_default() {
            "intent" => {
                for table in record["tables"].as_array().into_iter().flatten() {
                    self.read(&who, table);
                }
                self.users.add(who);
            }
            kind @ ("denied" | "refused" | "login_failed") => {
                let who = if who.is_empty() { text("claimed") } else { who };
                self.denials.add((who, kind.to_owned(), text("reason")));
            }
            kind @ ("reload" | "administration" | "token_created" | "token_revoked" | "start" | "stop") => {
                let accepted = match record["accepted"].as_bool() {
                    Some(false) => "rejected: ",
                    _ => "",
                };
                let what = named(&["what", "action"])
                    .map_or_else(|| kind.to_owned(), |what| format!("{kind} {what}"));
                let token = record["token"]["name"].as_str().unwrap_or_default();
                let detail = named(&["detail", "policy_revision", "version"]).unwrap_or_default();
                let change = [text("time"), text("by"), what, format!("{accepted}{detail}{token}")];
                if self.changes.len() < MOST { self.changes.push(change) } else { self.more += 1 }
            }
            _ => {}
        }
    }

    fn read(&mut self, who: &str, table: &Value) {
        let name = table["name"].as_str().unwrap_or_default();
        let masked: Vec<&str> =
            table["masked"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        // Of each tag: whether each column with it was masked.
        let mut tags: BTreeMap<&str, bool> = BTreeMap::new();
        for (column, of_column) in table["tags"].as_object().into_iter().flatten() {
            for tag in of_column.as_array().into_iter().flatten().filter_map(Value::as_str) {
                *tags.entry(tag).or_insert(true) &= masked.contains(&column.as_str());
            }
        }
        for (tag, masked) in tags {
            let how = if masked { "masked" } else { "as it is" };
            self.tagged.add((who.to_owned(), name.to_owned(), tag.to_owned(), how));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn months() {
        let check = |text: &str, expect: Option<(&str, &str)>| {
            let got = Month::read(text).ok().map(|month| (month.from.to_string(), month.to.to_string()));
            let expect = expect.map(|(from, to)| (from.to_owned(), to.to_owned()));
            assert_eq!(got, expect, "{text}");
        };
        check("2026-11", Some(("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")));
        check("2026-12", Some(("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z")));
        check("2026-13", None);
        check("2026-11-02", None);
        check("November", None);
    }

    #[test]
    fn the_month_before() {
        let check = |now: &str, expect: &str| {
            assert_eq!(Month::before(now.parse().expect("a moment")), expect, "{now}");
        };
        check("2026-12-01T00:00:00Z", "2026-11");
        check("2027-01-31T23:59:59Z", "2026-12");
        check("2026-03-31T12:00:00Z", "2026-02");
    }

    #[test]
    fn a_month_is_counted() {
        let mut seen = Seen::default();
        let table = json!({"name": "lake.a.t", "tags": {"ssn": ["pii", "secret"], "name": ["pii"]}, "masked": ["ssn"]});
        seen.add(&json!({"type": "intent", "principal": "ann", "tables": [table]}));
        seen.add(&json!({"type": "intent", "principal": "ann", "impersonator": "tool", "tables": []}));
        seen.add(&json!({"type": "denied", "principal": "eve", "reason": "no policy"}));
        seen.add(&json!({"type": "login_failed", "claimed": "root", "reason": "bad_credentials"}));
        seen.add(
            &json!({"type": "reload", "what": "policies", "accepted": false, "time": "T", "detail": "wrong"}),
        );
        seen.add(&json!({"type": "outcome", "query": "q"}));
        assert_eq!(seen.users.0, [("ann".to_owned(), 1), ("tool as ann".to_owned(), 1)].into());
        let of = |tag: &str, how| ("ann".to_owned(), "lake.a.t".to_owned(), tag.to_owned(), how);
        assert_eq!(seen.tagged.0, [(of("pii", "as it is"), 1), (of("secret", "masked"), 1)].into());
        let denial = |who: &str, kind: &str, why: &str| (who.to_owned(), kind.to_owned(), why.to_owned());
        let denials =
            [denial("eve", "denied", "no policy"), denial("root", "login_failed", "bad_credentials")];
        assert_eq!(seen.denials.0, denials.map(|denial| (denial, 1)).into());
        assert_eq!(seen.changes, [["T", "", "reload policies", "rejected: wrong"].map(str::to_owned)]);
    }
}
