//! The pages of the audit, as they look.

use maud::{Markup, html};
use serde_json::Value;

use super::auditor::Wanted;
use super::pages::Frame;

/// Longest text that is shown in a list, in characters.
const SHOWN: usize = 160;

fn text<'v>(record: &'v Value, name: &str) -> &'v str {
    record[name].as_str().unwrap_or_default()
}

/// Who did it.
fn who(record: &Value) -> String {
    let name =
        ["principal", "claimed", "by"].iter().map(|name| text(record, name)).find(|name| !name.is_empty());
    let name = name.or_else(|| record["token"]["owner"].as_str()).unwrap_or_default();
    match text(record, "impersonator") {
        "" => name.to_owned(),
        impersonator => format!("{name}, by {impersonator}"),
    }
}

/// What came of it, in a word.
fn outcome(record: &Value) -> &str {
    let words = ["decision", "state", "reason", "outcome", "action"];
    words.iter().map(|name| text(record, name)).find(|word| !word.is_empty()).unwrap_or_default()
}

fn what(record: &Value) -> String {
    let what = ["text", "error", "detail", "what"].iter().map(|name| text(record, name));
    let what = what.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
    let mut shown: String = what.chars().take(SHOWN).collect();
    if shown.len() < what.len() {
        shown.push('…');
    }
    shown
}

/// What there is of the audit.
pub(super) fn tabs(here: &str) -> Markup {
    let all = [
        ("/audit", "Records"),
        ("/audit/reports", "Reports"),
        ("/audit/compliance", "Compliance"),
        ("/audit/exports", "Exports"),
    ];
    html! {
        nav.tabs aria-label="Parts of the audit" {
            @for (path, title) in all { a href=(path) aria-current=[(path == here).then_some("page")] { (title) } }
        }
    }
}

pub(super) fn list(
    frame: &Frame<'_>,
    wanted: &Wanted,
    rows: &[Value],
    next: Option<usize>,
    each: usize,
) -> Markup {
    let before = wanted.skip.checked_sub(each);
    frame.around(false, &html! {
        h1 { "Audit" }
        (tabs("/audit"))
        form.card.filters method="get" action="/audit" {
            div.field { label for="from" { "From (UTC)" } input #from type="date" name="from" value=(wanted.from) required; }
            div.field { label for="to" { "To, this day included" } input #to type="date" name="to" value=(wanted.to) required; }
            div.field { label for="user" { "User" } input #user type="text" name="user" value=(wanted.user); }
            div.field { label for="table" { "Table" } input #table type="text" name="table" value=(wanted.table) placeholder="lake.gold.*"; }
            div.field { label for="tag" { "Tag" } input #tag type="text" name="tag" value=(wanted.tag); }
            div.field { label.check { input type="checkbox" name="denied" value="yes" checked[wanted.denied]; span { "Denied or refused only" } } }
            div.actions {
                button type="submit" { "Search" }
                a.button.plain href={ "/audit/records.jsonl?" (wanted.query(0)) } { "Download these" }
                a.button.plain href={ "/audit/exports?" (wanted.query(0)) } { "Export with proofs" }
            }
        }
        p.quiet role="status" {
            @if rows.is_empty() { "There are no such records." }
            @else { "Records " (wanted.skip + 1) " to " (wanted.skip + rows.len()) @if next.is_some() { "; there are more" } "." }
            " They are of this gateway; where there are several, each has a log of its own. Your searches are on record, too."
        }
        @if !rows.is_empty() {
            div.card.scroll {
                table {
                    thead { tr {
                        th scope="col" { "Time (UTC)" } th scope="col" { "Who" } th scope="col" { "Record" }
                        th scope="col" { "What" } th scope="col" { "Query" }
                    } }
                    tbody { @for record in rows { tr {
                        td.time { (text(record, "time").get(..19).unwrap_or_default().replace('T', " ")) }
                        td { (who(record)) }
                        td { (text(record, "type").replace('_', " ")) br; span.quiet { (outcome(record)) } }
                        td.wide { (what(record)) }
                        td { @if let Some(query) = record["query"].as_str() {
                            a href={ "/audit/query/" (query) } { (query) }
                        } }
                    } } }
                }
            }
        }
        nav.actions aria-label="Pages of records" {
            @if let Some(before) = before { a.button.plain href={ "/audit?" (wanted.query(before)) } { "Earlier" } }
            @if let Some(next) = next { a.button.plain href={ "/audit?" (wanted.query(next)) } { "Later" } }
        }
    })
}

pub(super) fn query(frame: &Frame<'_>, id: &str, rows: &[Value]) -> Markup {
    frame.around(false, &html! {
        h1 { "Query " (id) }
        @for record in rows {
            h2 { (text(record, "type").replace('_', " ")) @match outcome(record) { "" => "", word => { ": " (word) } } }
            div.card {
                dl {
                    @for (name, value) in record.as_object().into_iter().flatten() {
                        dt { (name) }
                        dd {
                            @match value {
                                Value::String(text) if name == "text" || name == "rewritten" => { pre.wrap { (text) } }
                                Value::String(text) => { (text) }
                                Value::Array(values) if values.iter().all(Value::is_string) => {
                                    (values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
                                }
                                Value::Array(_) | Value::Object(_) => {
                                    pre.wrap { (serde_json::to_string_pretty(value).unwrap_or_default()) }
                                }
                                other => { (other) }
                            }
                        }
                    }
                }
            }
        }
        p { a href="/audit" { "Back to the search" } }
    })
}
