//! The audit, for those whom the configuration names: what was recorded, found by day, user, table and tag.

use http::StatusCode;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde_json::Value;

use super::answer::Reply;
use super::pages::Place;
use super::{Failed, Page, Result, records, to};
use crate::audit::Event;
use crate::audit::take::{self, Selection};
use crate::identity::{Refused, Session};

/// Records on a page.
const EACH: usize = 50;
/// Most records that lie before a page.
const FARTHEST: usize = 100_000;
/// Most records, and bytes, of a download. More is for `northgate audit export`, which adds the proofs.
const MOST_RECORDS: usize = 100_000;
const MOST_BYTES: usize = 64 << 20;
/// What is looked for, as it was typed.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) user: String,
    pub(super) table: String,
    pub(super) tag: String,
    pub(super) denied: bool,
    pub(super) skip: usize,
}

impl Wanted {
    pub(super) fn selection(&self) -> std::result::Result<Selection, String> {
        let given = |text: &String| (!text.is_empty()).then(|| text.clone());
        Ok(Selection {
            from: given(&self.from).as_deref().map(day).transpose()?,
            to: Some(day(&self.to)?.checked_add(24.hours()).map_err(|error| error.to_string())?),
            user: given(&self.user),
            table: given(&self.table),
            tag: given(&self.tag),
            denied: self.denied,
            ..Selection::default()
        })
    }

    pub(super) fn words(&self) -> String {
        let Self { from, to, user, table, tag, denied, skip } = self;
        let words = [("from", from), ("to", to), ("user", user), ("table", table), ("tag", tag)];
        let given = words.iter().filter(|(_, value)| !value.is_empty());
        let mut words: Vec<_> = given.map(|(name, value)| format!("{name} {value}")).collect();
        words.extend(denied.then(|| "denied".to_owned()));
        words.extend((*skip > 0).then(|| format!("behind {skip}")));
        words.join(", ")
    }

    /// The same as a query of an address, behind so many records.
    pub(super) fn query(&self, skip: usize) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let Self { from, to, user, table, tag, denied, .. } = self;
        for (name, value) in [("from", from), ("to", to), ("user", user), ("table", table), ("tag", tag)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        if *denied {
            query.append_pair("denied", "yes");
        }
        if skip > 0 {
            query.append_pair("skip", &skip.to_string());
        }
        query.finish()
    }
}

/// The beginning of a day (UTC).
pub(super) fn day(text: &str) -> std::result::Result<Timestamp, String> {
    let day = text.parse::<Date>().ok().and_then(|day| day.to_zoned(TimeZone::UTC).ok());
    day.map(|day| day.timestamp()).ok_or_else(|| format!("'{text}' is not a day, such as 2026-11-01."))
}

/// What one search gives.
struct Found {
    lines: Vec<Vec<u8>>,
    /// There is more.
    more: bool,
}

fn look(
    place: &take::Place,
    selection: &Selection,
    skip: usize,
    most: usize,
    query: Option<&str>,
) -> std::result::Result<Found, String> {
    let (mut passed, mut bytes) = (0, 0);
    let mut found = Found { lines: Vec::new(), more: false };
    let line = |_: u64, line: &[u8]| {
        if query.is_some_and(|query| {
            serde_json::from_slice::<Value>(line).ok().is_none_or(|of| of["query"] != query)
        }) {
            return true;
        }
        if passed < skip {
            passed += 1;
            return true;
        }
        if found.lines.len() >= most || bytes + line.len() > MOST_BYTES {
            found.more = true;
            return false;
        }
        bytes += line.len();
        found.lines.push(line.to_vec());
        true
    };
    take::search(place, selection, line).map_err(|error| error.to_string())?;
    Ok(found)
}

impl Page<'_> {
    /// The session of somebody who may read the audit; a sign-in for who has none.
    pub(super) async fn auditor(&self) -> Result<std::result::Result<Session, Reply>> {
        let Some(session) = self.session().await? else { return Ok(Err(to("/login")?)) };
        if self.auditors.admits(session.principal().groups()) {
            return Ok(Ok(session));
        }
        self.recorded(&Event::Administration {
            action: "audit_refused".to_owned(),
            by: session.principal().name().to_owned(),
            peer: Some(self.asked.peer.origin()),
            detail: self.asked.path.to_owned(),
        })
        .await?;
        let message = "The audit is for auditors. Ask Northgate's operators to let you read it.".to_owned();
        Err(Failed::Because(StatusCode::FORBIDDEN, message))
    }

    pub(super) fn wanted(&self) -> Wanted {
        let text = |name: &str| self.asked.parameter(name).unwrap_or_default().trim().to_owned();
        let today = Timestamp::now().strftime("%Y-%m-%d").to_string();
        let or_today = |text: String| if text.is_empty() { today.clone() } else { text };
        Wanted {
            from: or_today(text("from")),
            to: or_today(text("to")),
            user: text("user"),
            table: text("table"),
            tag: text("tag"),
            denied: !text("denied").is_empty(),
            skip: text("skip").parse().unwrap_or(0).min(FARTHEST),
        }
    }

    /// Looks, when it is on record that somebody does.
    async fn found(
        &self,
        session: &Session,
        action: &str,
        wanted: &Wanted,
        most: usize,
        query: Option<String>,
    ) -> Result<Found> {
        let of_query = query.as_ref().map_or_else(String::new, |query| format!(", query {query}"));
        let selection = self.noted(session, action, wanted, &of_query).await?;
        let (place, skip) = (self.auditors.place().clone(), wanted.skip);
        self.looked(move || look(&place, &selection, skip, most, query.as_deref())).await
    }

    /// What is asked for, when it is on record that it is.
    pub(super) async fn noted(
        &self,
        session: &Session,
        action: &str,
        wanted: &Wanted,
        more: &str,
    ) -> Result<Selection> {
        let selection =
            wanted.selection().map_err(|message| Failed::Because(StatusCode::BAD_REQUEST, message))?;
        let event = Event::Administration {
            action: action.to_owned(),
            by: session.principal().name().to_owned(),
            peer: Some(self.asked.peer.origin()),
            detail: wanted.words() + more,
        };
        self.recorded(&event).await?;
        Ok(self.auditors.opening(selection))
    }

    /// Does what reads many files, if not too many do.
    pub(super) async fn looked<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> std::result::Result<T, String> + Send + 'static,
    ) -> Result<T> {
        let busy = || Failed::Refused(Refused::Unavailable("too many searches of the audit".to_owned()));
        let turn = self.auditors.turn().ok_or_else(busy)?;
        let looked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        let unreadable = |why: String| {
            tracing::error!(why, "the audit cannot be read");
            Failed::Refused(Refused::Unavailable(format!("the audit cannot be read: {why}")))
        };
        looked.await.map_err(|error| unreadable(error.to_string()))?.map_err(unreadable)
    }

    pub(super) async fn audit_records(&self) -> Result {
        let session = match self.auditor().await? {
            Ok(session) => session,
            Err(reply) => return Ok(reply),
        };
        let wanted = self.wanted();
        let found = self.found(&session, "audit_search", &wanted, EACH, None).await?;
        let rows: Vec<Value> =
            found.lines.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let mut frame = self.frame("Audit", Some(&session));
        frame.place = Place::Audit;
        let next = found.more.then(|| wanted.skip + EACH);
        Ok(Reply::page(StatusCode::OK, records::list(&frame, &wanted, &rows, next, EACH)))
    }

    /// All records of one query.
    pub(super) async fn audit_query(&self, query: &str) -> Result {
        let session = match self.auditor().await? {
            Ok(session) => session,
            Err(reply) => return Ok(reply),
        };
        // Its id begins with its day; it may have ended some days later.
        let begun =
            query.get(..8).and_then(|day| Date::strptime("%Y%m%d", day).ok()).ok_or(Failed::NotFound)?;
        let end = begun.checked_add(7.days()).map_err(|_| Failed::NotFound)?;
        let wanted = Wanted { from: begun.to_string(), to: end.to_string(), ..Wanted::default() };
        let found = self.found(&session, "audit_search", &wanted, EACH, Some(query.to_owned())).await?;
        let rows: Vec<Value> =
            found.lines.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect();
        if rows.is_empty() {
            return Err(Failed::NotFound);
        }
        let mut frame = self.frame("A query", Some(&session));
        frame.place = Place::Audit;
        Ok(Reply::page(StatusCode::OK, records::query(&frame, query, &rows)))
    }

    /// What is found, as JSON Lines.
    pub(super) async fn audit_download(&self) -> Result {
        let session = match self.auditor().await? {
            Ok(session) => session,
            Err(reply) => return Ok(reply),
        };
        let wanted = Wanted { skip: 0, ..self.wanted() };
        let found = self.found(&session, "audit_export", &wanted, MOST_RECORDS, None).await?;
        if found.more {
            let message = "There are more records than a page can give. Ask for fewer, or have an operator run `northgate \
                           audit export`, which adds the proofs.";
            return Err(Failed::Because(StatusCode::PAYLOAD_TOO_LARGE, message.to_owned()));
        }
        let mut body = Vec::new();
        for line in found.lines {
            body.extend_from_slice(&line);
            body.push(b'\n');
        }
        let name = format!("audit-{}-{}.jsonl", wanted.from, wanted.to);
        Ok(Reply::download("application/x-ndjson", &name, body))
    }
}
