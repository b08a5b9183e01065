//! What somebody has asked, for themselves. What policies made of it is not shown: their text is nobody's but the operators'.

use std::collections::{BTreeMap, VecDeque};

use http::StatusCode;
use jiff::{Timestamp, ToSpan as _};
use maud::{Markup, html};
use serde::Deserialize;

use super::answer::Reply;
use super::pages::{Frame, Place};
use super::{Failed, Page, Result, to};
use crate::audit::take::{self, Selection};
use crate::identity::Refused;

/// Days that are shown at a time, and the most queries of them.
const DAYS: i64 = 7;
const MOST: usize = 200;
/// The bytes of a statement that are shown, those of anything else, and those of all lines together.
const TEXT: usize = 16_000;
const OTHER: usize = 1_000;
const ALL: usize = 4 << 20;

/// What is read of a record. All else stays where it is.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Record {
    #[serde(rename = "type")]
    kind: String,
    time: String,
    query: String,
    principal: String,
    impersonator: String,
    claimed: String,
    auth_method: String,
    outcome: String,
    peer: String,
    source: String,
    text: String,
    state: String,
    error: String,
    rows: Option<u64>,
    elapsed_ms: Option<u64>,
}

impl Record {
    /// Keeps no more of it than is shown, whatever its user has sent. Gives the bytes that it has then.
    fn cut(&mut self) -> usize {
        let Self { kind, time, query, principal, impersonator, claimed, auth_method, .. } = self;
        let mut others = vec![kind, time, query, principal, impersonator, claimed, auth_method];
        let Self { outcome, peer, source, state, error, .. } = self;
        others.extend([outcome, peer, source, state, error]);
        let others: usize = others.into_iter().map(|text| cut(text, OTHER)).sum();
        others + cut(&mut self.text, TEXT)
    }
}

/// Cuts a text, with a note of that, and gives its length.
fn cut(text: &mut String, most: usize) -> usize {
    if text.len() > most {
        let note = format!("… (cut: it has {} bytes)", text.len());
        text.truncate(text.floor_char_boundary(most));
        text.push_str(&note);
    }
    text.shrink_to_fit();
    text.len()
}

/// A query, or a sign-in.
struct Line {
    record: Record,
    ended: Option<Record>,
    /// Bytes of both.
    bytes: usize,
}

/// The newest lines, and whether there are more.
#[derive(Default)]
struct Lines {
    all: VecDeque<Line>,
    bytes: usize,
    /// How many were left out.
    first: usize,
}

impl Lines {
    fn push(&mut self, mut record: Record) {
        let bytes = record.cut();
        self.all.push_back(Line { record, ended: None, bytes });
        self.grow(bytes);
    }

    /// That the line with this number ended.
    fn end(&mut self, at: usize, mut record: Record) {
        let Some(line) = at.checked_sub(self.first).and_then(|at| self.all.get_mut(at)) else { return };
        let bytes = record.cut();
        line.bytes += bytes;
        line.ended = Some(record);
        self.grow(bytes);
    }

    fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        while self.all.len() > MOST || self.bytes > ALL {
            let Some(line) = self.all.pop_front() else { return };
            self.bytes -= line.bytes;
            self.first += 1;
        }
    }
}

/// The table, how many lines it has, and whether some are left out.
fn look(
    place: &take::Place,
    selection: &Selection,
    me: &str,
) -> std::result::Result<(Markup, usize, bool), String> {
    let (mut lines, mut places) = (Lines::default(), BTreeMap::new());
    let line = |_: u64, line: &[u8]| {
        let Ok(record) = serde_json::from_slice::<Record>(line) else { return true };
        if record.kind == "outcome" {
            if let Some(at) = places.remove(&record.query) {
                lines.end(at, record);
            }
            return true;
        }
        // An identity provider may call somebody else what this one is called here.
        let mine =
            [&record.principal, &record.impersonator, &record.claimed].into_iter().any(|name| name == me);
        let shown = matches!(&*record.kind, "intent" | "denied" | "refused" | "sign_in" | "login_failed");
        if !mine || !shown {
            return true;
        }
        if record.kind == "intent" {
            places.insert(record.query.clone(), lines.first + lines.all.len());
        }
        lines.push(record);
        true
    };
    take::search(place, selection, line).map_err(|error| error.to_string())?;
    Ok((table(me, &lines.all), lines.all.len(), lines.first > 0))
}

impl Page<'_> {
    pub(super) async fn history(&self) -> Result {
        let Some(session) = self.session().await? else { return to("/login") };
        let text = self.asked.parameter("to").unwrap_or_default();
        let last = if text.trim().is_empty() {
            Timestamp::now().strftime("%Y-%m-%d").to_string()
        } else {
            text.trim().to_owned()
        };
        let bad = |message: String| Failed::Because(StatusCode::BAD_REQUEST, message);
        let day = super::auditor::day(&last).map_err(bad)?;
        let end = day.checked_add(24.hours()).map_err(|error| bad(error.to_string()))?;
        let begin = end.checked_sub((DAYS * 24).hours()).map_err(|error| bad(error.to_string()))?;
        let me = session.principal().name().to_owned();
        let selection =
            Selection { from: Some(begin), to: Some(end), user: Some(me.clone()), ..Selection::default() };
        let selection = self.auditors.opening(selection);
        let busy = || Failed::Refused(Refused::Unavailable("too many look for their history".to_owned()));
        let turn = self.auditors.own_turn(&me).await.ok_or_else(busy)?;
        let place = self.auditors.place().clone();
        let looked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            look(&place, &selection, &me)
        });
        let unreadable = |why: String| {
            tracing::error!(why, "the audit cannot be read");
            Failed::Refused(Refused::Unavailable(format!("the audit cannot be read: {why}")))
        };
        let (table, lines, left_out) =
            looked.await.map_err(|error| unreadable(error.to_string()))?.map_err(unreadable)?;
        let mut frame = self.frame("History", Some(&session));
        frame.place = Place::History;
        let earlier = begin.checked_sub(24.hours()).unwrap_or(begin).strftime("%Y-%m-%d").to_string();
        Ok(Reply::page(StatusCode::OK, page(&frame, &table, lines, left_out, &last, &earlier)))
    }
}

/// What became of it, in words that its user knows.
fn outcome(line: &Line) -> String {
    let Record { kind, outcome, .. } = &line.record;
    match (&**kind, &line.ended) {
        ("intent", None) => "not ended".to_owned(),
        ("intent", Some(Record { state, error, .. })) if error.is_empty() => state.clone(),
        ("intent", Some(Record { state, error, .. })) => format!("{state}: {error}"),
        ("sign_in", _) => outcome.replace('_', " "),
        _ => kind.replace('_', " "),
    }
}

fn page(
    frame: &Frame<'_>,
    table: &Markup,
    lines: usize,
    left_out: bool,
    last: &str,
    earlier: &str,
) -> Markup {
    frame.around(false, &html! {
        h1 { "Your history" }
        p { "What was asked in your name, and your sign-ins, as they are on record. If you see something that you have not done, "
            "tell your security team." }
        form.card.filters method="get" action="/history" {
            div.field { label for="to" { "The " (DAYS) " days up to (UTC)" } input #to type="date" name="to" value=(last) required; }
            div.actions {
                button type="submit" { "Show" }
                a.button.plain href={ "/history?to=" (earlier) } { "Earlier" }
            }
        }
        p.quiet role="status" {
            @if lines == 0 { "There is nothing in these days." }
            @else if left_out { "The last " (lines) " of these days, the newest first." }
            @else { "The newest first." }
        }
        @if lines > 0 { div.card.scroll { (table) } }
    })
}

/// The newest first.
fn table(me: &str, lines: &VecDeque<Line>) -> Markup {
    html! {
                table {
                    thead { tr {
                        th scope="col" { "Time (UTC)" } th scope="col" { "What" } th scope="col" { "Outcome" }
                        th.number scope="col" { "Rows" } th.number scope="col" { "Time taken" } th scope="col" { "From" }
                    } }
                    tbody { @for line in lines.iter().rev() { tr {
                        @let Record { time, text, query, principal, impersonator, auth_method, peer, source, .. } = &line.record;
                        td.time { (time.get(..19).unwrap_or_default().replace('T', " ")) }
                        td.wide {
                            @if text.is_empty() { "Sign-in (" (auth_method) ")" }
                            @else if text.chars().count() <= 160 { code { (text) } }
                            @else {
                                details { summary { code { (text.chars().take(160).collect::<String>()) "…" } } pre.wrap { (text) } }
                            }
                            @if !impersonator.is_empty() {
                                br; span.quiet { @if impersonator == me { "as " (principal) } @else { "by " (impersonator) } }
                            }
                            @if !query.is_empty() { br; span.quiet { (query) } }
                        }
                        td { (outcome(line)) }
                        td.number { @if let Some(rows) = line.ended.as_ref().and_then(|ended| ended.rows) { (rows) } }
                        td.number { @if let Some(ms) = line.ended.as_ref().and_then(|ended| ended.elapsed_ms) { (ms) " ms" } }
                        td { (peer) @if !source.is_empty() { br; span.quiet { (source) } } }
                    } } }
                }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_and_all_lines_are_bounded() {
        let record = |n: usize, length: usize| Record {
            kind: "intent".to_owned(),
            query: n.to_string(),
            text: "ä".repeat(length / 2),
            ..Record::default()
        };
        let mut lines = Lines::default();
        (0..=MOST).for_each(|n| lines.push(record(n, 1 << 20)));
        assert_eq!((lines.all.len(), lines.first), (MOST, 1));
        let text = &lines.all[0].record.text;
        assert!(text.len() < TEXT + 100 && text.capacity() < TEXT + 100, "{}", text.len());
        assert!(text.ends_with("ä… (cut: it has 1048576 bytes)"), "{text}");
        let ended = || Record { error: "<".repeat(1 << 20), ..Record::default() };
        // The first is left out already.
        (0..=MOST).for_each(|at| lines.end(at, ended()));
        assert_eq!(lines.bytes, lines.all.iter().map(|line| line.bytes).sum::<usize>());
        for n in 0..10 * MOST {
            let source = "x".repeat(OTHER);
            let mut record = record(n, TEXT);
            (record.source, record.claimed, record.outcome) =
                (source.clone(), source.clone(), source.clone());
            (record.state, record.error, record.peer) = (source.clone(), source.clone(), source);
            lines.push(record);
            assert!(lines.bytes <= ALL, "{}", lines.bytes);
        }
        assert!(lines.all.len() < MOST, "{} lines of 22 kB each", lines.all.len());
        assert_eq!(lines.bytes, lines.all.iter().map(|line| line.bytes).sum::<usize>());
        assert!(table("ann", &lines.all).into_string().len() < 2 * ALL);
    }
}
