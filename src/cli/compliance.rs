//! `northgate compliance-report`: a month in one page, to be read, printed and signed: who used the gateway, who read what is
//! tagged, what was denied, what changed, and that nobody has changed the log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use super::Said;
use crate::audit::take::{self, Place, Selection};
use crate::audit::verify::{self, Kept, Verdict};
use crate::audit::{self, Verifier};
use crate::config::Config;

/// The most lines of a table; what there is more is counted.
const MOST: usize = 100_000;
/// How it is printed. The page is a file of its own: nothing is loaded.
const STYLE: &str = "body{font:10pt/1.4 system-ui,sans-serif;margin:2cm;color:#111}h1{font-size:18pt}h2{font-size:13pt;margin-top:1.5em;\
break-after:avoid}table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.25em .6em;\
border-bottom:1px solid #bbb;overflow-wrap:anywhere}td.n,th.n{text-align:right}thead{display:table-header-group}tr{break-inside:avoid}\
.bad{font-weight:bold;color:#a00}.sign{margin-top:3em}";

/// What `northgate compliance-report` is told.
#[derive(Args, Clone, Debug)]
pub struct ComplianceReport {
    /// The configuration file. The log of the gateway on this machine is read.
    #[arg(long, default_value = "northgate.toml")]
    config: PathBuf,
    /// The month, such as 2026-11 (UTC).
    #[arg(long)]
    month: String,
    /// The key that the log is verified with, or a file with it, as `northgate audit key` printed it at the beginning. Without it
    /// the key in the folder is believed, which whoever changed the folder may have changed too.
    #[arg(long)]
    key: Option<String>,
    /// A checkpoint that was kept; may be given several times.
    #[arg(long = "checkpoint")]
    checkpoints: Vec<PathBuf>,
    /// The page (HTML), which a browser prints.
    #[arg(long, short)]
    output: PathBuf,
}

/// Writes it. It has failed where the log does not verify.
///
/// # Errors
/// Something cannot be read or written, in words.
pub fn compliance_report(command: &ComplianceReport) -> Result<Said, String> {
    let config = Config::load(&command.config).map_err(|error| error.to_string())?.audit;
    let (from, to) = month(&command.month)?;
    let folder = &config.folder;
    // Who takes it out of the log is on record before they have it.
    audit::inbox::leave(folder, "audit_report", &format!("compliance report of {}", command.month)).map_err(
        |error| format!("{}: this cannot be recorded, and is therefore not done: {error}", folder.display()),
    )?;
    let verdict = verdict(folder, command)?;
    let mut seen = Seen::default();
    let selection = Selection { from: Some(from), to: Some(to), ..Selection::default() };
    let each = |_: u64, line: &[u8]| {
        if let Ok(record) = serde_json::from_slice::<Value>(line) {
            seen.add(&record);
        }
        true
    };
    take::search(&Place::Folder(folder.clone()), &selection, each).map_err(|error| error.to_string())?;
    let page = page(&command.month, &config.origin, command.key.is_some(), &verdict, &seen).into_string();
    let wrong = |error: std::io::Error| format!("{}: {error}", command.output.display());
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&command.output).map_err(wrong)?;
    std::io::Write::write_all(&mut file, page.as_bytes()).map_err(wrong)?;
    let out = format!(
        "{}: {} users, {} accesses to what is tagged, {} denials, {} changes, {} faults in the log\n",
        command.output.display(),
        seen.users.0.len(),
        seen.tagged.0.len(),
        seen.denials.0.values().sum::<u64>(),
        seen.changes.len(),
        verdict.faults.len()
    );
    Ok(Said { out, failed: !verdict.faults.is_empty(), ..Said::default() })
}

/// The first moment of a month, and that of the next.
fn month(text: &str) -> Result<(Timestamp, Timestamp), String> {
    let wrong = || format!("'{text}' is no month; write it as 2026-11");
    let day: Date = format!("{text}-01").parse().map_err(|_| wrong())?;
    let next = day.checked_add(1.month()).map_err(|_| wrong())?;
    let moment = |day: Date| day.to_zoned(TimeZone::UTC).map(|at| at.timestamp()).map_err(|_| wrong());
    Ok((moment(day)?, moment(next)?))
}

fn verdict(folder: &Path, command: &ComplianceReport) -> Result<Verdict, String> {
    let read = |path: &Path| super::read(path, 1 << 20);
    let key = match &command.key {
        Some(text) if text.contains('+') => text.clone(),
        Some(path) => read(Path::new(path))?,
        None => read(&folder.join("verifier"))?,
    };
    let key = Verifier::new(&key).map_err(|error| error.to_string())?;
    let keep = |path: &PathBuf| Ok(Kept { name: path.display().to_string(), note: read(path)?.into_bytes() });
    let kept = command.checkpoints.iter().map(keep).collect::<Result<Vec<_>, String>>()?;
    verify::folder(folder, &key, &kept, &[]).map_err(|error| error.to_string())
}

/// Numbers by what they are of, up to [`MOST`].
#[derive(Default)]
struct Counts<K>(BTreeMap<K, u64>, u64);

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
struct Seen {
    /// Queries, by user.
    users: Counts<String>,
    /// Queries that read something tagged, by user, table, tag and whether all its columns were masked.
    tagged: Counts<(String, String, String, &'static str)>,
    /// By user, type and reason.
    denials: Counts<(String, String, String)>,
    /// Time, who, what, detail.
    changes: Vec<[String; 4]>,
    /// Changes that there was no room for.
    more: u64,
}

impl Seen {
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

fn page(month: &str, origin: &str, keyed: bool, verdict: &Verdict, seen: &Seen) -> Markup {
    let now = crate::status::time(Timestamp::now());
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "Northgate: compliance report of " (month) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Compliance report of " (month) }
                p { "Of the log " strong { (origin) } ", made on " (now) " by Northgate " (env!("CARGO_PKG_VERSION")) ". Times are UTC." }
                h2 { "The log" }
                p {
                    (verdict.records) " records and " (verdict.checkpoints) " checkpoints were verified"
                    @if keyed { ", with the key that was given" } @else { ", with the key in the folder" } ": "
                    @if verdict.faults.is_empty() { strong { "nothing is wrong." } }
                    @else { span.bad { (verdict.faults.len()) " faults." } }
                    @if verdict.pending > 0 { " " (verdict.pending) " newer records are under no checkpoint yet." }
                }
                @if !verdict.faults.is_empty() {
                    ul { @for fault in &verdict.faults { li.bad { (fault) } } }
                }
                h2 { "Users" }
                (counted(&["User", "Queries"], seen.users.0.iter().map(|(who, n)| (vec![who.as_str()], *n)), seen.users.1))
                h2 { "Access to what is tagged" }
                (counted(
                    &["User", "Table", "Tag", "Seen", "Queries"],
                    seen.tagged.0.iter().map(|((who, table, tag, how), n)| (vec![who.as_str(), table, tag, how], *n)),
                    seen.tagged.1,
                ))
                h2 { "Denials, refusals and failed sign-ins" }
                (counted(
                    &["User", "Type", "Reason", "Times"],
                    seen.denials.0.iter().map(|((who, kind, reason), n)| (vec![who.as_str(), kind, reason], *n)),
                    seen.denials.1,
                ))
                h2 { "Changes of policies and other administration" }
                table {
                    thead { tr { th { "Time" } th { "Who" } th { "What" } th { "Detail" } } }
                    tbody { @for change in &seen.changes { tr { @for cell in change { td { (cell) } } } } }
                }
                @if seen.more > 0 { p { "And " (seen.more) " more." } }
                p.sign { "Seen by ______________________________ on ______________" }
            }
        }
    }
}

fn counted<'a>(names: &[&str], lines: impl Iterator<Item = (Vec<&'a str>, u64)>, more: u64) -> Markup {
    let lines: Vec<_> = lines.collect();
    html! {
        @if lines.is_empty() {
            p { "None." }
        } @else {
            table {
                thead { tr { @for (n, name) in names.iter().enumerate() { th.n[n + 1 == names.len()] { (name) } } } }
                tbody { @for (cells, n) in &lines { tr { @for cell in cells { td { (cell) } } td.n { (n) } } } }
            }
        }
        @if more > 0 { p { "And " (more) " of others, which are too many for this page." } }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn months() {
        let check = |text: &str, expect: Option<(&str, &str)>| {
            let got = month(text).ok().map(|(from, to)| (from.to_string(), to.to_string()));
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
    fn a_month_is_counted_and_nothing_in_it_is_markup() {
        let mut seen = Seen::default();
        let table = json!({"name": "lake.a.t", "tags": {"ssn": ["pii", "secret"], "name": ["pii"]}, "masked": ["ssn"]});
        seen.add(&json!({"type": "intent", "principal": "ann", "tables": [table]}));
        seen.add(&json!({"type": "intent", "principal": "ann", "impersonator": "tool", "tables": []}));
        seen.add(&json!({"type": "denied", "principal": "<b>eve</b>", "reason": "no policy"}));
        seen.add(&json!({"type": "login_failed", "claimed": "root", "reason": "bad_credentials"}));
        seen.add(
            &json!({"type": "reload", "what": "policies", "accepted": false, "time": "T", "detail": "wrong"}),
        );
        seen.add(&json!({"type": "outcome", "query": "q"}));
        let verdict =
            Verdict { records: 7, pending: 0, checkpoints: 2, witnessed: Vec::new(), faults: Vec::new() };
        let page = page("2026-11", "one", true, &verdict, &seen).into_string();
        for there in [
            "<td>ann</td><td class=\"n\">1</td>",
            "<td>tool as ann</td>",
            "<td>lake.a.t</td><td>pii</td><td>as it is</td>",
            "<td>lake.a.t</td><td>secret</td><td>masked</td>",
            "<td>&lt;b&gt;eve&lt;/b&gt;</td><td>denied</td><td>no policy</td>",
            "<td>root</td><td>login_failed</td>",
            "<td>reload policies</td><td>rejected: wrong</td>",
            "nothing is wrong",
        ] {
            assert!(page.contains(there), "'{there}' is missing: {page}");
        }
    }
}
