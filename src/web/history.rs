//! What somebody has asked, for themselves. What policies made of it is not shown: their text is nobody's but the operators'.

use std::collections::BTreeMap;

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

/// A query, or a sign-in.
struct Line {
    record: Record,
    ended: Option<Record>,
}

fn look(
    place: &take::Place,
    selection: &Selection,
    me: &str,
) -> std::result::Result<(Vec<Line>, bool), String> {
    let (mut lines, mut places) = (std::collections::VecDeque::<Line>::new(), BTreeMap::new());
    let (mut first, mut left_out) = (0_usize, false);
    let line = |_: u64, line: &[u8]| {
        let Ok(record) = serde_json::from_slice::<Record>(line) else { return true };
        if record.kind == "outcome" {
            let place = places.remove(&record.query).and_then(|at: usize| at.checked_sub(first));
            if let Some(line) = place.and_then(|at| lines.get_mut(at)) {
                line.ended = Some(record);
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
            places.insert(record.query.clone(), first + lines.len());
        }
        lines.push_back(Line { record, ended: None });
        if lines.len() > MOST {
            lines.pop_front();
            first += 1;
            left_out = true;
        }
        true
    };
    take::search(place, selection, line).map_err(|error| error.to_string())?;
    Ok((lines.into_iter().rev().collect(), left_out))
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
        let turn = self.auditors.own_turn().await.ok_or_else(busy)?;
        let place = self.auditors.place().clone();
        let looked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            look(&place, &selection, &me)
        });
        let unreadable = |why: String| {
            tracing::error!(why, "the audit cannot be read");
            Failed::Refused(Refused::Unavailable(format!("the audit cannot be read: {why}")))
        };
        let (lines, left_out) =
            looked.await.map_err(|error| unreadable(error.to_string()))?.map_err(unreadable)?;
        let mut frame = self.frame("History", Some(&session));
        frame.place = Place::History;
        let earlier = begin.checked_sub(24.hours()).unwrap_or(begin).strftime("%Y-%m-%d").to_string();
        Ok(Reply::page(
            StatusCode::OK,
            page(&frame, session.principal().name(), &lines, left_out, &last, &earlier),
        ))
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

fn page(frame: &Frame<'_>, me: &str, lines: &[Line], left_out: bool, last: &str, earlier: &str) -> Markup {
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
            @if lines.is_empty() { "There is nothing in these days." }
            @else if left_out { "The last " (lines.len()) " of these days, the newest first." }
            @else { "The newest first." }
        }
        @if !lines.is_empty() {
            div.card.scroll {
                table {
                    thead { tr {
                        th scope="col" { "Time (UTC)" } th scope="col" { "What" } th scope="col" { "Outcome" }
                        th.number scope="col" { "Rows" } th.number scope="col" { "Time taken" } th scope="col" { "From" }
                    } }
                    tbody { @for line in lines { tr {
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
    })
}
