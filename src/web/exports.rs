//! Exports of the audit that are prepared for a browser: with their proofs, to be verified anywhere.

use http::StatusCode;
use maud::{Markup, html};

use super::answer::Reply;
use super::auditor::Wanted;
use super::pages::{self, Frame, Place};
use super::records::tabs;
use super::{Failed, Page, Result, to};
use crate::audit::Event;
use crate::audit::take::{Format, Job, Progress, TakeError};

const FORMATS: [(&str, &str, Format); 3] = [
    ("parquet", "Parquet", Format::Parquet),
    ("csv", "CSV", Format::Csv),
    ("jsonl", "JSON Lines", Format::Jsonl),
];

impl Page<'_> {
    pub(super) async fn exports(&self) -> Result {
        let session = match self.auditor().await? {
            Ok(session) => session,
            Err(reply) => return Ok(reply),
        };
        let jobs = self.auditors.jobs().of(session.principal().name());
        let mut frame = self.frame("Exports", Some(&session));
        frame.place = Place::Audit;
        if jobs.iter().any(|job| job.progress() == Progress::Running) {
            frame.next = Some("/audit/exports");
        }
        Ok(Reply::page(StatusCode::OK, page(&frame, &self.wanted(), &jobs, &pages::key(&session))))
    }

    pub(super) async fn begin_export(&self) -> Result {
        if !self.asked.is_own(&self.origin) {
            return Err(Failed::Forged);
        }
        let session = match self.auditor().await? {
            Ok(session) => session,
            Err(reply) => return Ok(reply),
        };
        self.holds_key_of(&session)?;
        let form = self.asked.form();
        let text = |name: &str| form.text(name).trim().to_owned();
        let wanted = Wanted {
            from: text("from"),
            to: text("to"),
            user: text("user"),
            table: text("table"),
            tag: text("tag"),
            denied: form.field("denied").is_some(),
            skip: 0,
        };
        let bad = |message: String| Failed::Because(StatusCode::BAD_REQUEST, message);
        let format = FORMATS.iter().find(|(name, ..)| *name == form.text("format"));
        let (name, _, format) = format.ok_or_else(|| bad("There is no such format.".to_owned()))?;
        let selection = self.noted(&session, "audit_export", &wanted, &format!(", as {name}")).await?;
        let begun =
            self.auditors.jobs().begin(session.principal().name(), &wanted.words(), selection, *format);
        match begun {
            Ok(_) => to("/audit/exports"),
            Err(TakeError::Asked(why)) => {
                Err(Failed::Because(StatusCode::CONFLICT, format!("Not now: {why}.")))
            }
            Err(error) => {
                tracing::error!(%error, "an export cannot be begun");
                Err(Failed::Because(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "The export cannot be begun.".to_owned(),
                ))
            }
        }
    }

    pub(super) async fn fetch_export(&self, name: &str) -> Result {
        let session = match self.auditor().await? {
            Ok(session) => session,
            Err(reply) => return Ok(reply),
        };
        let by = session.principal().name();
        let id = name.strip_suffix(".tar").ok_or(Failed::NotFound)?;
        let jobs = self.auditors.jobs().of(by);
        let job = jobs.iter().find(|job| job.id == id).ok_or(Failed::NotFound)?;
        let path = job.file().ok_or(Failed::NotFound)?;
        let event = Event::Administration {
            action: "audit_export".to_owned(),
            by: by.to_owned(),
            peer: Some(self.asked.peer.origin()),
            detail: format!("fetched: {}", job.asked),
        };
        self.recorded(&event).await?;
        let file = tokio::fs::File::open(path).await.map_err(|_| Failed::NotFound)?;
        let name = format!("audit-export-{}.tar", job.begun.strftime("%Y%m%d-%H%M%S"));
        Ok(Reply::file("application/x-tar", &name, file))
    }
}

fn page(frame: &Frame<'_>, wanted: &Wanted, jobs: &[std::sync::Arc<Job>], key: &Markup) -> Markup {
    frame.around(false, &html! {
        h1 { "Audit" }
        (tabs("/audit/exports"))
        p { "An export has the records, the signed checkpoint, a signed list of what was asked for, and the proof that each "
            "record is the one that was written. Unpacked, " code { "northgate audit verify FOLDER --key KEY" }
            " holds them against each other on any computer." }
        form.card.filters method="post" action="/audit/exports" {
            (key)
            div.field { label for="from" { "From (UTC)" } input #from type="date" name="from" value=(wanted.from) required; }
            div.field { label for="to" { "To, this day included" } input #to type="date" name="to" value=(wanted.to) required; }
            div.field { label for="user" { "User" } input #user type="text" name="user" value=(wanted.user); }
            div.field { label for="table" { "Table" } input #table type="text" name="table" value=(wanted.table) placeholder="lake.gold.*"; }
            div.field { label for="tag" { "Tag" } input #tag type="text" name="tag" value=(wanted.tag); }
            div.field {
                label for="format" { "Format" }
                select #format name="format" { @for (name, title, _) in FORMATS { option value=(name) { (title) } } }
            }
            div.field { label.check { input type="checkbox" name="denied" value="yes" checked[wanted.denied]; span { "Denied or refused only" } } }
            div.actions { button type="submit" { "Prepare the export" } }
        }
        @if jobs.is_empty() { p.quiet { "You have no exports. They are kept until the gateway stops or newer ones take their place." } }
        @for job in jobs {
            div.card.job {
                @let (looked, of) = job.looked();
                h2 { "As " (FORMATS.iter().find(|(.., format)| *format == job.format).map_or("", |(_, title, _)| title)) }
                p.quiet { (job.asked) " · asked for at " (job.begun.strftime("%Y-%m-%d %H:%M:%S").to_string()) " UTC" }
                @match job.progress() {
                    Progress::Running => {
                        p role="status" {
                            label for={ "progress-" (job.id) } { "Being prepared: " (looked) " of " (of) " records looked at" }
                            progress #{ "progress-" (job.id) } value=(looked) max=(of.max(1)) {}
                        }
                    }
                    Progress::Done(summary) => {
                        p role="status" { (summary.records) " records, under a checkpoint over " (summary.size) "." }
                        p { a.button href={ "/audit/exports/" (job.id) ".tar" } { "Download" } }
                    }
                    Progress::Failed(why) => { p.bad role="alert" { "It could not be prepared: " (why) } }
                }
            }
        }
    })
}
