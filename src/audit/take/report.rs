//! Reports that auditors ask for again and again. Each is a table of text.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io;

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::row::Row;
use super::scan::{Filter, Selection};
use super::{Place, TakeError};

/// The most lines of a report, and the most queries whose outcome is awaited.
const MOST: usize = 1_000_000;
/// The bytes that a report and what it waits for may have in memory, and the characters of a cell.
const MOST_BYTES: usize = 64 << 20;
const CELL: usize = 1000;

/// What is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Who read a table or a tag, how often, and how many rows they were sent.
    Access,
    /// All that was denied or refused, and failed sign-ins.
    Denials,
    /// Access to what has a tag, by user, table and columns.
    Tagged(String),
    /// Queries outside of business hours.
    Hours(Hours),
    /// What only few may do: administration, tokens, reloads, impersonation, and changes of data.
    Privileged,
    /// Who has not been seen for this number of days at the end.
    Inactive(u32),
}

/// The tag of personal data, where no other is named.
pub const PII: &str = "pii";

impl Kind {
    /// The kind of a name, such as `denials`; `more` gives what it has parameters for: `tag`, `hours`, `zone`, `days`.
    ///
    /// # Errors
    /// There is no such kind, or a parameter is not one.
    pub fn read(name: &str, more: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let or = |name: &str, default: &str| more(name).unwrap_or_else(|| default.to_owned());
        Ok(match name {
            "access" => Self::Access,
            "denials" => Self::Denials,
            "pii" => Self::Tagged(or("tag", PII)),
            "hours" => Self::Hours(Hours::read(&or("hours", "8-18"), &or("zone", "UTC"))?),
            "privileged" => Self::Privileged,
            "inactive" => {
                let days = or("days", "90");
                let days = days.parse().ok().filter(|days| (1..=10_000).contains(days));
                Self::Inactive(days.ok_or("days: a number from 1 to 10000")?)
            }
            _ => {
                return Err(format!(
                    "there is no report {name:?}; there are access, denials, pii, hours, privileged, inactive"
                ));
            }
        })
    }
}

/// Business hours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    /// Where.
    pub zone: TimeZone,
    /// The first moment of a day.
    pub from: Time,
    /// The first moment that is too late.
    pub to: Time,
}

impl Hours {
    /// Hours such as `8-18` or `08:30-17:30` from Monday to Friday, in a time zone such as `Europe/Berlin`.
    ///
    /// # Errors
    /// They are written otherwise, or there is no such zone.
    pub fn read(hours: &str, zone: &str) -> Result<Self, String> {
        let time = |text: &str| {
            let (hour, minute) = text.split_once(':').unwrap_or((text, "0"));
            Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
        };
        let both = hours.split_once('-').and_then(|(from, to)| Some((time(from)?, time(to)?)));
        let (from, to) = both
            .filter(|(from, to)| from < to)
            .ok_or_else(|| format!("{hours:?} are no hours; write them as 8-18 or 08:30-17:30"))?;
        let zone = TimeZone::get(zone).map_err(|error| error.to_string())?;
        Ok(Self { zone, from, to })
    }

    fn holds(&self, at: Timestamp) -> bool {
        let at = at.to_zoned(self.zone.clone());
        let weekend = matches!(at.weekday(), Weekday::Saturday | Weekday::Sunday);
        !weekend && (self.from..self.to).contains(&at.time())
    }
}

/// A report: the names of its columns, and its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The columns.
    pub names: Vec<&'static str>,
    /// The lines.
    pub lines: Vec<Vec<String>>,
}

impl Report {
    /// As CSV (RFC 4180). What a spreadsheet would take for a formula has a `'` in front.
    pub fn csv(&self) -> String {
        let mut out = format!("{}\r\n", self.names.join(","));
        for line in &self.lines {
            let cells = line.iter().map(|cell| {
                let guard = if super::sheet::is_formula(cell) { "'" } else { "" };
                format!("\"{guard}{}\"", cell.replace('"', "\"\""))
            });
            let _ = write!(out, "{}\r\n", cells.collect::<Vec<_>>().join(","));
        }
        out
    }

    /// For a terminal: columns under each other.
    pub fn text(&self) -> String {
        let clean = |cell: &str| cell.replace(char::is_control, " ");
        let lines: Vec<Vec<String>> =
            self.lines.iter().map(|line| line.iter().map(|cell| clean(cell)).collect()).collect();
        let width = |at: usize, name: &str| {
            let cells = lines.iter().filter_map(|line| Some(line.get(at)?.chars().count()));
            cells.chain([name.len()]).max().unwrap_or(0).min(60)
        };
        let widths: Vec<usize> = self.names.iter().enumerate().map(|(at, name)| width(at, name)).collect();
        let mut out = String::new();
        let names: Vec<String> = self.names.iter().map(ToString::to_string).collect();
        for line in std::iter::once(&names).chain(&lines) {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            out.push('\n');
        }
        out
    }
}

/// What is counted of somebody's access to something.
#[derive(Default)]
struct Count {
    queries: u64,
    rows: u64,
    first: String,
    last: String,
}

impl Count {
    fn add(&mut self, time: &str) {
        self.queries += 1;
        // Of several logs each is in order. All times are written alike.
        if self.first.is_empty() || time < self.first.as_str() {
            time.clone_into(&mut self.first);
        }
        if time > self.last.as_str() {
            time.clone_into(&mut self.last);
        }
    }

    fn cells(self) -> [String; 4] {
        [self.queries.to_string(), self.rows.to_string(), self.first, self.last]
    }
}

/// Makes a report of the records of a selection, in one log or in those of several gateways together.
///
/// # Errors
/// Something could not be read, or the report would be too long.
pub fn report(places: &[Place], kind: &Kind, selection: &Selection) -> Result<Report, TakeError> {
    let mut selection = selection.clone();
    match kind {
        Kind::Denials => selection.denied = true,
        Kind::Tagged(tag) => selection.tag = Some(tag.clone()),
        Kind::Access if selection.table.is_none() && selection.tag.is_none() => {
            return Err(TakeError::Asked("say of which --table or --tag".to_owned()));
        }
        // Of whom there is no record in the time that is looked at, nothing can be said.
        Kind::Inactive(days)
            if selection
                .from
                .map_or(Ok(false), |from| Ok(from > limit(*days, &selection)?))
                .map_err(|error: jiff::Error| TakeError::Asked(error.to_string()))? =>
        {
            let why = format!("from must be more than {days} days before the end, or be left out");
            return Err(TakeError::Asked(why));
        }
        _ => {}
    }
    let mut making = Making {
        kind,
        selection: &selection,
        counts: BTreeMap::new(),
        open: HashMap::new(),
        lines: Vec::new(),
        bytes: 0,
    };
    for place in places {
        super::walk(place, &mut Filter::new(&selection), |_, _, row| {
            making.add(row);
            if making.lines.len() + making.counts.len() > MOST {
                return Err(TakeError::Asked("more than a million lines: ask for a shorter time".to_owned()));
            }
            if making.bytes > MOST_BYTES {
                return Err(TakeError::Asked("more than 64 MB: ask for a shorter time".to_owned()));
            }
            Ok(true)
        })?;
    }
    // Each log is in order; they all begin with the time.
    making.lines.sort_by(|one, other| one.first().cmp(&other.first()));
    making.finish().map_err(TakeError::from)
}

/// Somebody, a table, its columns or tag.
type Key = [String; 3];

fn bytes_of(cells: &[String]) -> usize {
    cells.iter().map(String::len).sum()
}

/// The moment after which somebody has to be seen.
fn limit(days: u32, selection: &Selection) -> Result<Timestamp, jiff::Error> {
    let end = selection.to.unwrap_or_else(Timestamp::now);
    end.checked_sub(Span::new().hours(i64::from(days) * 24))
}

struct Making<'a> {
    kind: &'a Kind,
    selection: &'a Selection,
    counts: BTreeMap<Key, Count>,
    /// Queries whose outcome is to come, and what they count for.
    open: HashMap<String, Vec<Key>>,
    lines: Vec<Vec<String>>,
    /// Bytes of all of these.
    bytes: usize,
}

impl Making<'_> {
    fn add(&mut self, row: &Row<'_>) {
        match self.kind {
            Kind::Access | Kind::Tagged(_) => self.count(row),
            Kind::Inactive(_) => {
                let seen = matches!(&*row.kind, "intent" | "denied")
                    || row.kind == "sign_in" && row.outcome == "accepted";
                if seen {
                    let key = [row.actor().to_owned(), String::new(), String::new()];
                    self.add_to(&key, &row.time);
                }
            }
            Kind::Denials => self
                .line(row, &[&row.peer, &row.statement, &row.relations.join(","), &row.reason, &row.detail]),
            Kind::Hours(hours) => {
                if row.kind == "intent" && row.at().is_some_and(|at| !hours.holds(at)) {
                    self.line(row, &[&row.peer, &row.statement, &row.relations.join(","), &row.source]);
                }
            }
            Kind::Privileged => self.privileged(row),
        }
    }

    fn privileged(&mut self, row: &Row<'_>) {
        let what = match &*row.kind {
            "administration" => row.action.to_string(),
            "token_created" | "token_revoked" | "reload" | "start" | "stop" => row.kind.to_string(),
            "intent" if !row.impersonator.is_empty() => format!("impersonation of {}", row.principal),
            "intent" if is_change(&row.statement) => row.statement.to_string(),
            _ => return,
        };
        let detail = [&*row.detail, &row.what, &row.text].into_iter().find(|text| !text.is_empty());
        self.line(row, &[&what, &row.relations.join(","), detail.unwrap_or_default()]);
    }

    fn line(&mut self, row: &Row<'_>, cells: &[&str]) {
        let mut line = vec![row.time.to_string(), row.actor().to_owned(), row.kind.to_string()];
        line.extend(cells.iter().map(|cell| match cell.char_indices().nth(CELL) {
            None => (*cell).to_owned(),
            Some((end, _)) => format!("{}…", cell.get(..end).unwrap_or_default()),
        }));
        self.bytes += bytes_of(&line);
        self.lines.push(line);
    }

    fn add_to(&mut self, key: &Key, time: &str) {
        if !self.counts.contains_key(key) {
            self.bytes += bytes_of(key);
        }
        self.counts.entry(key.clone()).or_default().add(time);
    }

    fn count(&mut self, row: &Row<'_>) {
        if row.kind == "outcome" {
            for key in self.open.remove(&*row.query).unwrap_or_default() {
                self.bytes = self.bytes.saturating_sub(bytes_of(&key));
                if let Some(count) = self.counts.get_mut(&key) {
                    count.rows += row.rows.unwrap_or(0);
                }
            }
            return;
        }
        if row.kind != "intent" {
            return;
        }
        let tag = self.selection.tag.as_deref().map(str::to_lowercase);
        let mut keys = Vec::new();
        for table in &row.tables {
            let of_table = self.selection.table.as_deref();
            if of_table.is_some_and(|pattern| !super::scan::matches(pattern, &table.name)) {
                continue;
            }
            let has = |column: &&String| {
                tag.as_ref().is_none_or(|tag| table.tags.get(*column).is_some_and(|tags| tags.contains(tag)))
            };
            let columns: Vec<&str> = table.columns.iter().filter(has).map(String::as_str).collect();
            if tag.is_some() && columns.is_empty() {
                continue;
            }
            let who = if row.impersonator.is_empty() {
                row.principal.to_string()
            } else {
                format!("{} as {}", row.impersonator, row.principal)
            };
            keys.push([who, table.name.clone(), columns.join(",")]);
        }
        for key in &keys {
            self.add_to(key, &row.time);
        }
        if !keys.is_empty() && self.open.len() < MOST {
            self.bytes += keys.iter().map(|key| bytes_of(key)).sum::<usize>();
            self.open.insert(row.query.to_string(), keys);
        }
    }

    fn finish(self) -> io::Result<Report> {
        let names = match self.kind {
            Kind::Access | Kind::Tagged(_) => {
                vec!["who", "table", "columns", "queries", "rows", "first", "last"]
            }
            Kind::Inactive(_) => vec!["who", "last seen"],
            Kind::Denials => vec!["time", "who", "type", "from", "kind", "relations", "reason", "detail"],
            Kind::Hours(_) => vec!["time", "who", "type", "from", "kind", "relations", "source"],
            Kind::Privileged => vec!["time", "who", "type", "what", "relations", "detail"],
        };
        let lines = match self.kind {
            Kind::Inactive(days) => {
                let limit = limit(*days, self.selection).map_err(io::Error::other)?;
                let absent = |count: &Count| count.last.parse::<Timestamp>().is_ok_and(|last| last < limit);
                let all = self.counts.into_iter().filter(|(_, count)| absent(count));
                all.map(|([who, ..], count)| vec![who, count.last]).collect()
            }
            _ if !self.counts.is_empty() => self
                .counts
                .into_iter()
                .map(|(key, count)| key.into_iter().chain(count.cells()).collect())
                .collect(),
            _ => self.lines,
        };
        Ok(Report { names, lines })
    }
}

/// Whether a statement of this kind changes something.
fn is_change(statement: &str) -> bool {
    let first = statement.split(' ').next().unwrap_or_default();
    let reads = [
        "SELECT",
        "QUERY",
        "SHOW",
        "DESCRIBE",
        "EXPLAIN",
        "USE",
        "SET",
        "RESET",
        "PREPARE",
        "DEALLOCATE",
        "EXECUTE",
        "START",
        "COMMIT",
        "ROLLBACK",
        "",
    ];
    !reads.contains(&first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_bounded_in_bytes() {
        let selection = Selection::default();
        let mut making = Making {
            kind: &Kind::Denials,
            selection: &selection,
            counts: BTreeMap::new(),
            open: HashMap::new(),
            lines: Vec::new(),
            bytes: 0,
        };
        let line = format!("{{\"type\":\"denied\",\"detail\":\"{}\"}}", "ä".repeat(1 << 20));
        let row = Row::of(line.as_bytes()).expect("a row");
        making.add(&row);
        making.add(&row);
        let detail = making.lines[0].last().expect("a cell");
        assert_eq!((detail.chars().count(), detail.ends_with("ä…")), (CELL + 1, true));
        assert_eq!(making.bytes, making.lines.iter().map(|line| bytes_of(line)).sum::<usize>());
    }

    #[test]
    fn hours_end_and_weekends_are_free() {
        let hours = Hours::read("8-18", "Europe/Berlin").expect("hours");
        let check = |at: &str, expect| assert_eq!(hours.holds(at.parse().expect("a time")), expect, "{at}");
        check("2026-11-23T07:00:00Z", true);
        check("2026-11-23T06:59:59Z", false);
        check("2026-11-23T16:59:59Z", true);
        check("2026-11-23T17:00:00Z", false);
        check("2026-11-22T10:00:00Z", false);
        check("2026-07-01T06:00:00Z", true);
        for (hours, zone) in [("18-8", "UTC"), ("8", "UTC"), ("8-25", "UTC"), ("8-18", "Nowhere/At_All")] {
            assert!(Hours::read(hours, zone).is_err(), "{hours} {zone}");
        }
    }
}
