//! Reports of the audit, for auditors.

use http::StatusCode;
use jiff::{Timestamp, ToSpan as _};
use maud::{Markup, html};

use super::answer::Reply;
use super::auditor::Wanted;
use super::pages::{Frame, Place};
use super::records::tabs;
use super::{Failed, Page, Result};
use crate::audit::take::TakeError;
use crate::audit::take::report::{self, Kind, Report};

/// Lines of a report that a page shows. All of them are in the CSV.
const SHOWN: usize = 500;
/// Days that a report is of, if not said otherwise.
const DAYS: i32 = 30;

/// The reports: the name of each, and what it says.
const KINDS: [(&str, &str); 6] = [
    ("access", "Who read a table or what has a tag"),
    ("denials", "What was denied or refused, and failed sign-ins"),
    ("pii", "Access to personal data, by user"),
    ("hours", "Queries outside of business hours"),
    ("privileged", "Privileged actions"),
    ("inactive", "Users who have not been seen"),
];

/// What is asked for besides the time, as it was typed.
struct Form {
    kind: String,
    hours: String,
    zone: String,
    days: String,
}

impl Page<'_> {
    fn report_form(&self) -> (Form, Wanted) {
        let text = |name: &str, default: &str| {
            let text = self.asked.parameter(name).unwrap_or_default().trim().to_owned();
            if text.is_empty() { default.to_owned() } else { text }
        };
        let mut wanted = self.wanted();
        let kind = text("kind", "");
        if self.asked.parameter("from").is_none_or(|from| from.trim().is_empty()) {
            // Who has not been seen for long was seen before.
            wanted.from = if matches!(&*kind, "" | "inactive") {
                String::new()
            } else {
                let from = Timestamp::now().checked_sub((DAYS * 24).hours()).unwrap_or_default();
                from.strftime("%Y-%m-%d").to_string()
            };
        }
        let form =
            Form { kind, hours: text("hours", "8-18"), zone: text("zone", "UTC"), days: text("days", "90") };
        (form, wanted)
    }

    /// Makes it, when it is on record that somebody has it made.
    async fn report(
        &self,
        session: &crate::identity::Session,
        form: &Form,
        wanted: &Wanted,
    ) -> Result<std::result::Result<Report, String>> {
        let more = |name: &str| match name {
            "tag" => Some(wanted.tag.clone()).filter(|tag| !tag.is_empty()),
            "hours" => Some(form.hours.clone()),
            "zone" => Some(form.zone.clone()),
            "days" => Some(form.days.clone()),
            _ => None,
        };
        let kind = match Kind::read(&form.kind, more) {
            Ok(kind) => kind,
            Err(wrong) => return Ok(Err(wrong)),
        };
        let selection = self.noted(session, "audit_report", wanted, &format!(", {}", form.kind)).await?;
        let place = self.auditors.place().clone();
        self.looked(move || match report::report(&[place], &kind, &selection) {
            Ok(report) => Ok(Ok(report)),
            Err(TakeError::Asked(wrong)) => Ok(Err(wrong.replace("--", ""))),
            Err(error) => Err(error.to_string()),
        })
        .await
    }

    pub(super) async fn reports(&self) -> Result {
        let session = match self.auditor().await? {
            Ok(session) => session,
            Err(reply) => return Ok(reply),
        };
        let (form, wanted) = self.report_form();
        let made =
            if form.kind.is_empty() { None } else { Some(self.report(&session, &form, &wanted).await?) };
        let status = if matches!(made, Some(Err(_))) { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        let mut frame = self.frame("Reports", Some(&session));
        frame.place = Place::Audit;
        Ok(Reply::page(status, page(&frame, &form, &wanted, made.as_ref())))
    }

    pub(super) async fn report_csv(&self) -> Result {
        let session = match self.auditor().await? {
            Ok(session) => session,
            Err(reply) => return Ok(reply),
        };
        let (form, wanted) = self.report_form();
        match self.report(&session, &form, &wanted).await? {
            Ok(report) => {
                let from = if wanted.from.is_empty() { "all" } else { &wanted.from };
                let name = format!("{}-{from}-{}.csv", form.kind, wanted.to);
                Ok(Reply::download("text/csv; charset=utf-8", &name, report.csv().into_bytes()))
            }
            Err(wrong) => Err(Failed::Because(StatusCode::BAD_REQUEST, wrong)),
        }
    }
}

fn page(
    frame: &Frame<'_>,
    form: &Form,
    wanted: &Wanted,
    made: Option<&std::result::Result<Report, String>>,
) -> Markup {
    let query = {
        let mut query = form_urlencoded::Serializer::new(wanted.query(0));
        for (name, value) in
            [("kind", &form.kind), ("hours", &form.hours), ("zone", &form.zone), ("days", &form.days)]
        {
            query.append_pair(name, value);
        }
        query.finish()
    };
    frame.around(false, &html! {
        h1 { "Audit" }
        (tabs("/audit/reports"))
        form.card.filters method="get" action="/audit/reports" {
            div.field.broad {
                label for="kind" { "Report" }
                select #kind name="kind" {
                    @for (name, title) in KINDS { option value=(name) selected[name == form.kind] { (title) } }
                }
            }
            div.field { label for="from" { "From (UTC)" } input #from type="date" name="from" value=(wanted.from); }
            div.field { label for="to" { "To, this day included" } input #to type="date" name="to" value=(wanted.to) required; }
            div.field { label for="user" { "User" } input #user type="text" name="user" value=(wanted.user); }
            div.field { label for="table" { "Table" } input #table type="text" name="table" value=(wanted.table) placeholder="lake.gold.*"; }
            div.field { label for="tag" { "Tag" } input #tag type="text" name="tag" value=(wanted.tag) placeholder=(report::PII); }
            div.field { label for="hours" { "Business hours" } input #hours type="text" name="hours" value=(form.hours); }
            div.field { label for="zone" { "Their time zone" } input #zone type="text" name="zone" value=(form.zone); }
            div.field { label for="days" { "Days not seen" } input #days type="text" inputmode="numeric" name="days" value=(form.days); }
            div.actions { button type="submit" { "Make the report" } }
        }
        @match made {
            None => {
                p.quiet { "Without a first day a report is of the last " (DAYS) " days; that of users who have not been seen is of all." }
            }
            Some(Err(wrong)) => { p.bad role="alert" { (wrong) } }
            Some(Ok(report)) => {
                p.quiet role="status" {
                    @if report.lines.is_empty() { "The report has no lines." }
                    @else if report.lines.len() > SHOWN { "The first " (SHOWN) " of " (report.lines.len()) " lines." }
                    @else if report.lines.len() == 1 { "One line." }
                    @else { (report.lines.len()) " lines." }
                    " That it was made is on record, too."
                }
                @if !report.lines.is_empty() {
                    div.card.scroll {
                        table {
                            thead { tr { @for name in &report.names { th scope="col" { (name) } } } }
                            tbody { @for line in report.lines.iter().take(SHOWN) { tr {
                                @for (name, cell) in report.names.iter().zip(line) {
                                    td class=[class(name)] { (shown(name, cell)) }
                                }
                            } } }
                        }
                    }
                    p { a.button.plain href={ "/audit/report.csv?" (query) } { "Download as CSV" } }
                }
            }
        }
    })
}

/// Cells with long texts are wide, and numbers stand at the right.
fn class(name: &str) -> Option<&'static str> {
    match name {
        "detail" | "relations" => Some("wide"),
        "queries" | "rows" => Some("number"),
        "time" | "first" | "last" | "last seen" => Some("time"),
        _ => None,
    }
}

/// Moments to the second.
fn shown(name: &str, cell: &str) -> String {
    match class(name) {
        Some("time") => cell.get(..19).unwrap_or(cell).replace('T', " "),
        _ => cell.to_owned(),
    }
}
