//! The compliance report of a month: a page for auditors, and a page of its own for `northgate compliance-report`. Either is
//! printed by a browser.

use http::StatusCode;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::answer::Reply;
use super::auditor::Wanted;
use super::pages::{Frame, Place};
use super::records::tabs;
use super::{Page, Result};
use crate::audit::Verifier;
use crate::audit::take;
use crate::audit::take::compliance::{Month, Seen};
use crate::audit::verify::{self, Verdict};

/// The most lines of a table on the page; `northgate compliance-report` has all.
const SHOWN: usize = 2_000;
/// How the page of its own is printed. It is a file: nothing is loaded.
const STYLE: &str = "body{font:10pt/1.4 system-ui,sans-serif;margin:2cm;color:#111}h1{font-size:18pt}h2{font-size:13pt;margin-top:1.5em;\
break-after:avoid}table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.25em .6em;\
border-bottom:1px solid #bbb;overflow-wrap:anywhere}td.number,th.number{text-align:right}thead{display:table-header-group}\
tr{break-inside:avoid}.bad{font-weight:bold;color:#a00}.sign{margin-top:3em}";

/// What a report is made of.
pub struct Made<'m> {
    /// The month.
    pub month: &'m Month,
    /// The log's name.
    pub origin: &'m str,
    /// Whose word the key is that the log was verified with.
    pub key: &'m str,
    /// Whether the log is as it was written.
    pub verdict: &'m Verdict,
    /// What the month has had.
    pub seen: &'m Seen,
}

/// The report as a page of its own.
pub fn document(made: &Made<'_>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "Northgate: compliance report of " (made.month.name) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Compliance report of " (made.month.name) }
                (report(made, usize::MAX))
            }
        }
    }
}

impl Page<'_> {
    pub(super) async fn compliance(&self) -> Result {
        let session = match self.auditor().await? {
            Ok(session) => session,
            Err(reply) => return Ok(reply),
        };
        let asked = self.asked.parameter("month").unwrap_or_default().trim().to_owned();
        let mut frame = self.frame("Compliance report", Some(&session));
        frame.place = Place::Audit;
        if asked.is_empty() {
            // Nothing is read before somebody asks for it.
            let before = Month::before(Timestamp::now());
            return Ok(Reply::page(StatusCode::OK, page(&frame, &before, None)));
        }
        let month = match Month::read(&asked) {
            Ok(month) => month,
            Err(wrong) => {
                let page = page(&frame, &asked, Some(html! { p.bad role="alert" { (wrong) } }));
                return Ok(Reply::page(StatusCode::BAD_REQUEST, page));
            }
        };
        let last = month.to.checked_sub(jiff::SignedDuration::from_secs(1)).unwrap_or(month.to);
        let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
        let wanted = Wanted { from: day(month.from), to: day(last), ..Wanted::default() };
        self.noted(&session, "audit_report", &wanted, ", compliance").await?;
        let (place, key, of) =
            (self.auditors.place().clone(), self.audit.verifier().to_owned(), month.clone());
        let (verdict, seen) = self.looked(move || found(&place, &key, &of)).await?;
        let made = Made {
            month: &month,
            origin: self.auditors.origin(),
            key: "the gateway's own key",
            verdict: &verdict,
            seen: &seen,
        };
        let content = html! {
            h2.title { "Compliance report of " (month.name) }
            (report(&made, SHOWN))
        };
        Ok(Reply::page(StatusCode::OK, page(&frame, &asked, Some(content))))
    }
}

fn found(place: &take::Place, key: &str, month: &Month) -> std::result::Result<(Verdict, Seen), String> {
    let take::Place::Folder(folder) = place else { return Err("the log is not on this machine".to_owned()) };
    let key = Verifier::new(key).map_err(|error| error.to_string())?;
    let verdict = verify::folder(folder, &key, &[], &[]).map_err(|error| error.to_string())?;
    Ok((verdict, Seen::of(place, month).map_err(|error| error.to_string())?))
}

fn page(frame: &Frame<'_>, month: &str, content: Option<Markup>) -> Markup {
    frame.around(
        false,
        &html! {
            h1 { "Audit" }
            (tabs("/audit/compliance"))
            form.card.filters method="get" action="/audit/compliance" {
                div.field {
                    label for="month" { "Month (UTC)" }
                    input #month type="month" name="month" value=(month) placeholder="2026-11" required;
                }
                div.actions { button type="submit" { "Make the report" } }
            }
            @match content {
                Some(content) => { (content) }
                None => {
                    p.quiet {
                        "One page of a month, to be read, printed and signed: users, access to what is tagged, denials, changes, and \
                         whether the log is as it was written. All of the log is verified for it, which may take a while. That it is \
                         made is on record, too."
                    }
                }
            }
        },
    )
}

/// The report, with at most so many lines of a table.
fn report(made: &Made<'_>, most: usize) -> Markup {
    let Made { origin, key, verdict, seen, .. } = made;
    let now = crate::status::time(Timestamp::now());
    html! {
        p { "Of the log " strong { (origin) } ", made on " (now) " by Northgate " (env!("CARGO_PKG_VERSION")) ". Times are UTC." }
        h2 { "The log" }
        p {
            (verdict.records) " records and " (verdict.checkpoints) " checkpoints were verified, with " (key) ": "
            @if verdict.faults.is_empty() { strong { "nothing is wrong." } }
            @else { span.bad { (verdict.faults.len()) " faults." } }
            @if verdict.pending > 0 { " Newer records, which are under no checkpoint yet: " (verdict.pending) "." }
        }
        @if !verdict.faults.is_empty() {
            ul { @for fault in &verdict.faults { li.bad { (fault) } } }
        }
        h2 { "Users" }
        (counted(&["User", "Queries"], seen.users.0.iter().map(|(who, n)| (vec![who.as_str()], *n)), seen.users.1, most))
        h2 { "Access to what is tagged" }
        (counted(
            &["User", "Table", "Tag", "Seen", "Queries"],
            seen.tagged.0.iter().map(|((who, table, tag, how), n)| (vec![who.as_str(), table, tag, how], *n)),
            seen.tagged.1,
            most,
        ))
        h2 { "Denials, refusals and failed sign-ins" }
        (counted(
            &["User", "Type", "Reason", "Times"],
            seen.denials.0.iter().map(|((who, kind, reason), n)| (vec![who.as_str(), kind, reason], *n)),
            seen.denials.1,
            most,
        ))
        h2 { "Changes of policies and other administration" }
        @if seen.changes.is_empty() { p { "None." } } @else {
            div.scroll { table {
                thead { tr { th scope="col" { "Time" } th scope="col" { "Who" } th scope="col" { "What" } th scope="col" { "Detail" } } }
                tbody { @for change in seen.changes.iter().take(most) { tr { @for cell in change { td { (cell) } } } } }
            } }
        }
        @let more = seen.more + u64::try_from(seen.changes.len().saturating_sub(most)).unwrap_or(u64::MAX);
        @if more > 0 { p { "And " (more) " more. " @if seen.more == 0 { "`northgate compliance-report` has them." } } }
        p.sign { "Seen by ______________________________ on ______________" }
    }
}

fn counted<'a>(
    names: &[&str],
    lines: impl Iterator<Item = (Vec<&'a str>, u64)>,
    more: u64,
    most: usize,
) -> Markup {
    let lines: Vec<_> = lines.collect();
    html! {
        @if lines.is_empty() {
            p { "None." }
        } @else {
            div.scroll { table {
                thead { tr { @for (n, name) in names.iter().enumerate() { th.number[n + 1 == names.len()] scope="col" { (name) } } } }
                tbody { @for (cells, n) in lines.iter().take(most) { tr { @for cell in cells { td { (cell) } } td.number { (n) } } } }
            } }
        }
        @if lines.len() > most { p { "And " (lines.len() - most) " more lines, which `northgate compliance-report` has." } }
        @if more > 0 { p { "And " (more) " of others, which are too many for this page." } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_it_is_markup_and_what_is_left_out_is_told() {
        let mut seen = Seen::default();
        for user in ["ann", "<b>eve</b>", "zoe"] {
            seen.users.0.insert(user.to_owned(), 7);
        }
        let (month, verdict) = (Month::read("2026-11").expect("a month"), Verdict::default());
        let made = Made {
            month: &month,
            origin: "one",
            key: "the key that was given",
            verdict: &verdict,
            seen: &seen,
        };
        let all = document(&made).into_string();
        for there in [
            "<td>&lt;b&gt;eve&lt;/b&gt;</td>",
            "nothing is wrong",
            "with the key that was given",
            "<td>zoe</td>",
        ] {
            assert!(all.contains(there), "'{there}' is missing: {all}");
        }
        assert!(!all.contains("more lines"), "{all}");
        let some = report(&made, 2).into_string();
        assert!(some.contains("And 1 more lines") && !some.contains("zoe"), "{some}");
    }
}
