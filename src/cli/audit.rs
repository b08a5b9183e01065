//! `northgate audit`: the record verified, searched and taken away. No server is needed for any of it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::Said;
use crate::audit::take::report::{self, Hours, report};
use crate::audit::take::{self, Format, Place, Selection};
use crate::audit::verify::{self, Kept, Verdict};
use crate::audit::{self, Verifier, witness};
use crate::config::Config;

/// The largest file that holds a key or a checkpoint, in bytes.
const MAX_NOTE: u64 = 1 << 20;

/// What `northgate audit` does.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Prints the key that checkpoints are verified with. Give it to the auditor by a way of its own.
    Key {
        /// The configuration file.
        #[arg(long, default_value = "northgate.toml")]
        config: PathBuf,
    },
    /// Verifies the audit or an export, offline. Exits with 1 where something is wrong, and says which record, tile or
    /// checkpoint.
    Verify {
        /// The audit folder or a copy of it, an export, or `s3://BUCKET/PREFIX`, for which the credentials are in the
        /// environment.
        log: PathBuf,
        /// The server of the bucket.
        #[command(flatten)]
        server: Server,
        /// The verifier key, or a file with it. Without it the key in the folder is believed, which whoever changed the
        /// folder may have changed too.
        #[arg(long)]
        key: Option<String>,
        /// A checkpoint that you kept, of an earlier or a later time; may be given several times.
        #[arg(long = "checkpoint")]
        checkpoints: Vec<PathBuf>,
        /// The verifier key of a witness that must have signed; may be given several times.
        #[arg(long = "witness")]
        witnesses: Vec<String>,
    },
    /// Lists the logs of all gateways that are copied to a bucket and listed there. With the keys that are known elsewhere it
    /// also verifies each, and exits with 1 where something is wrong, one is missing, or one is there that nobody knows.
    Logs {
        /// Where they are listed: `s3://BUCKET/INDEX`, with the `audit.s3.index` of the configuration.
        index: PathBuf,
        /// The server of the bucket.
        #[command(flatten)]
        server: Server,
        /// A file with the verifier keys, one to a line.
        #[arg(long)]
        keys: Option<PathBuf>,
    },
    /// Writes records into a new folder, with a signed manifest and the proofs that each is the one that was written.
    Export {
        /// Where the log is.
        #[command(flatten)]
        place: Log,
        /// Which records are meant.
        #[command(flatten)]
        asked: Asked,
        /// What the records are written as.
        #[arg(long, default_value = "jsonl")]
        format: As,
        /// The folder.
        #[arg(short, long)]
        output: PathBuf,
    },
    /// Prints records, one JSON object to a line.
    Search {
        /// Where the log is.
        #[command(flatten)]
        place: Log,
        /// Which records are meant.
        #[command(flatten)]
        asked: Asked,
        /// The most that are printed.
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// Destroys the keys that somebody's texts are encrypted with, so that nobody can read these any more: in this log, in
    /// its copies and in exports that were made without opening them. What they did, and when, stays on record.
    Erase {
        /// The configuration file.
        #[arg(long, default_value = "northgate.toml")]
        config: PathBuf,
        /// Whose texts.
        #[arg(long)]
        user: String,
        /// Of which month (`2026-11`), if not of all.
        #[arg(long)]
        month: Option<String>,
        /// What is written on record as the reason, such as the number of the request.
        #[arg(long)]
        reason: String,
    },
    /// Prints the JSON Schema of a record.
    Schema,
    /// Prints a report.
    Report {
        /// What is reported.
        kind: Kind,
        /// Where the log is.
        #[command(flatten)]
        place: Log,
        /// Which records are meant.
        #[command(flatten)]
        asked: Asked,
        /// Business hours, from Monday to Friday, for `hours`.
        #[arg(long, default_value = "8-18")]
        hours: String,
        /// The time zone of these hours, such as `Europe/Berlin`.
        #[arg(long, default_value = "UTC")]
        zone: String,
        /// For `inactive`.
        #[arg(long, default_value_t = 90)]
        days: u32,
        /// Whether it is CSV.
        #[arg(long)]
        csv: bool,
    },
}

/// A server of S3.
#[derive(Clone, Debug, Args)]
pub struct Server {
    /// The region of the bucket.
    #[arg(long)]
    region: Option<String>,
    /// The S3 server, if it is not Amazon's.
    #[arg(long)]
    endpoint: Option<String>,
}

/// Where the log is.
#[derive(Debug, Args)]
pub struct Log {
    /// The configuration file. The folder that it names is read.
    #[arg(long, default_value = "northgate.toml")]
    config: PathBuf,
    /// What is read in its place: another folder, or `s3://BUCKET/PREFIX`. For searches and reports it may be given several times,
    /// as each gateway has a log of its own.
    #[arg(long = "log")]
    elsewhere: Vec<PathBuf>,
    #[command(flatten)]
    server: Server,
}

/// Which records are meant.
#[derive(Debug, Args)]
pub struct Asked {
    /// The first day, or moment: `2026-11-01`, `2026-11-01T08:00:00Z`.
    #[arg(long)]
    from: Option<String>,
    /// The first day, or moment, that is too late.
    #[arg(long)]
    to: Option<String>,
    /// Who did it, or as whom it was done.
    #[arg(long)]
    user: Option<String>,
    /// A table that is read, `catalog.schema.table`; `*` is any text.
    #[arg(long)]
    table: Option<String>,
    /// A tag of what is read.
    #[arg(long)]
    tag: Option<String>,
    /// Only what was denied or refused.
    #[arg(long)]
    denied: bool,
}

/// The formats of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum As {
    /// Lines of JSON.
    Jsonl,
    /// For spreadsheets.
    Csv,
    /// For Athena, Trino, pandas.
    Parquet,
}

/// The reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Who read a --table or a --tag.
    Access,
    /// All that was denied or refused, and failed sign-ins.
    Denials,
    /// Access to what is tagged --tag (pii), by user.
    Pii,
    /// Queries outside of --hours.
    Hours,
    /// Administration, tokens, reloads, impersonation, changes of data.
    Privileged,
    /// Who has not been seen for --days.
    Inactive,
}

/// Does it.
///
/// # Errors
/// What cannot be read, in words.
pub fn audit(command: &Audit) -> Result<Said, String> {
    match command {
        Audit::Key { config } => {
            let config = Config::load(config).map_err(|error| error.to_string())?;
            let key = audit::verifier(&config.audit).map_err(|error| error.to_string())?;
            Ok(Said { out: format!("{key}\n"), ..Said::default() })
        }
        Audit::Verify { log, server, key, checkpoints, witnesses } => {
            verified(&place(log, server)?, key.as_deref(), checkpoints, witnesses)
        }
        Audit::Export { place: log, asked, format, output } => {
            let config = Config::load(&log.config).map_err(|error| error.to_string())?;
            let format = match format {
                As::Jsonl => Format::Jsonl,
                As::Csv => Format::Csv,
                As::Parquet => Format::Parquet,
            };
            log.note("audit_export", asked, &format!("into {}", output.display()))?;
            let [place] = &log.places()?[..] else {
                return Err("an export is of one log, whose proofs are in it".to_owned());
            };
            let made =
                take::export(place, &config.audit, &log.selection(asked)?, format, output, &|_, _| Ok(()))
                    .map_err(|error| error.to_string())?;
            let out = format!(
                "{}: {} records, {} bytes, under a checkpoint over {} records\n",
                output.display(),
                made.records,
                made.bytes,
                made.size
            );
            Ok(Said { out, ..Said::default() })
        }
        Audit::Logs { index, server, keys } => logs(index, server, keys.as_deref()),
        Audit::Schema => {
            let schema =
                serde_json::to_string_pretty(&audit::schema::schema()).map_err(|error| error.to_string())?;
            Ok(Said { out: schema + "\n", ..Said::default() })
        }
        Audit::Erase { config, user, month, reason } => erase(config, user, month.as_deref(), reason),
        Audit::Search { place: log, asked, limit } => {
            let mut said = Said::default();
            let mut left = *limit;
            log.note("audit_search", asked, "")?;
            let mut line = |_: u64, line: &[u8]| {
                if left == 0 {
                    said.err =
                        format!("there are more than {limit}: ask for fewer, or give a larger --limit\n");
                    return false;
                }
                left -= 1;
                said.out.push_str(&harmless(&String::from_utf8_lossy(line)));
                said.out.push('\n');
                true
            };
            let selection = log.selection(asked)?;
            for place in log.places()? {
                take::search(&place, &selection, &mut line).map_err(|error| error.to_string())?;
            }
            Ok(said)
        }
        Audit::Report { kind, place: log, asked, hours, zone, days, csv } => {
            let selection = log.selection(asked)?;
            let kind = match kind {
                Kind::Access => report::Kind::Access,
                Kind::Denials => report::Kind::Denials,
                Kind::Pii => {
                    report::Kind::Tagged(asked.tag.clone().unwrap_or_else(|| report::PII.to_owned()))
                }
                Kind::Hours => report::Kind::Hours(Hours::read(hours, zone)?),
                Kind::Privileged => report::Kind::Privileged,
                Kind::Inactive => report::Kind::Inactive(*days),
            };
            log.note("audit_report", asked, &format!("{kind:?}"))?;
            let report = report(&log.places()?, &kind, &selection).map_err(|error| error.to_string())?;
            Ok(Said { out: if *csv { report.csv() } else { report.text() }, ..Said::default() })
        }
    }
}

/// The logs of an index, and whether they are those whose keys are known.
fn logs(index: &Path, server: &Server, keys: Option<&Path>) -> Result<Said, String> {
    let Place::Bucket(config) = place(index, server)? else {
        return Err(format!("{}: an index is in a bucket: s3://BUCKET/INDEX", index.display()));
    };
    let listed = audit::index::listed(&config).map_err(|error| error.to_string())?;
    let mut said = Said::default();
    let Some(keys) = keys else {
        for log in &listed {
            let _ = writeln!(said.out, "s3://{}/{} {}", config.bucket, log.prefix, harmless(&log.verifier));
        }
        return Ok(said);
    };
    let keys = super::read(keys, MAX_NOTE)?;
    let known: std::collections::BTreeSet<&str> =
        keys.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let mut seen = std::collections::BTreeSet::new();
    for log in &listed {
        if !known.contains(log.verifier.as_str()) {
            let _ = writeln!(
                said.out,
                "s3://{}/{}: nobody knows its key {}",
                config.bucket,
                log.prefix,
                harmless(&log.verifier)
            );
            said.failed = true;
            continue;
        }
        seen.insert(log.verifier.as_str());
        let place =
            Place::Bucket(Box::new(audit::s3::Config { prefix: log.prefix.clone(), ..(*config).clone() }));
        match verified(&place, Some(&log.verifier), &[], &[]) {
            Ok(one) => {
                said.out.push_str(&one.out);
                said.failed |= one.failed;
            }
            Err(error) => {
                let _ = writeln!(said.out, "s3://{}/{}: {}", config.bucket, log.prefix, harmless(&error));
                said.failed = true;
            }
        }
    }
    for missing in known.difference(&seen) {
        let _ = writeln!(said.out, "{}: no log is listed that this is the key of", harmless(missing));
        said.failed = true;
    }
    Ok(said)
}

/// Destroys keys, when it is on record that they are.
fn erase(config: &Path, user: &str, month: Option<&str>, reason: &str) -> Result<Said, String> {
    let config = Config::load(config).map_err(|error| error.to_string())?.audit;
    let keys = config
        .text_keys
        .ok_or("audit.text_keys is not set: texts are in the records as they were written")?;
    let months = month.map_or_else(|| "of all months".to_owned(), |month| format!("of {month}"));
    audit::inbox::leave(
        &config.folder,
        "audit_erase",
        &format!("the texts of user {user}, {months}: {reason}"),
    )
    .map_err(|error| {
        format!("{}: this cannot be recorded, and is therefore not done: {error}", config.folder.display())
    })?;
    let mut destroyed =
        audit::shred::destroy(&keys, user, month).map_err(|error| format!("{}: {error}", keys.display()))?;
    destroyed.dedup();
    let out = if destroyed.is_empty() {
        format!("{}: there are no keys of {user}\n", keys.display())
    } else {
        format!("the texts of {user} can be read no more, of: {}\n", destroyed.join(", "))
    };
    Ok(Said { out: harmless(&out).replace("\\u000a", "\n"), ..Said::default() })
}

impl Log {
    /// What is asked for, and what texts are opened with: the keys of the configuration, if there is one.
    fn selection(&self, asked: &Asked) -> Result<Selection, String> {
        let keys = match Config::load(&self.config) {
            Ok(config) => config.audit.text_keys,
            Err(_) if !self.elsewhere.is_empty() => None,
            Err(error) => return Err(error.to_string()),
        };
        Ok(Selection { text_keys: keys, ..asked.selection()? })
    }

    fn places(&self) -> Result<Vec<Place>, String> {
        if !self.elsewhere.is_empty() {
            return self.elsewhere.iter().map(|log| place(log, &self.server)).collect();
        }
        let config = Config::load(&self.config).map_err(|error| error.to_string())?;
        Ok(vec![Place::Folder(config.audit.folder)])
    }
}

impl Log {
    /// Who takes records out of the gateway's own log is on record before they have them.
    fn note(&self, action: &str, asked: &Asked, more: &str) -> Result<(), String> {
        if !self.elsewhere.is_empty() && action != "audit_export" {
            return Ok(());
        }
        let config = Config::load(&self.config).map_err(|error| error.to_string())?;
        let Asked { from, to, user, table, tag, denied } = asked;
        let words = [("from", from), ("to", to), ("user", user), ("table", table), ("tag", tag)];
        let given = words.iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?)));
        let denied = denied.then(|| "denied".to_owned());
        let detail: Vec<String> = given.chain(denied).chain(Some(more.to_owned())).collect();
        audit::inbox::leave(&config.audit.folder, action, detail.join(", ").trim_end_matches(", ")).map_err(
            |error| {
                format!(
                    "{}: this cannot be recorded, and is therefore not done: {error}",
                    config.audit.folder.display()
                )
            },
        )
    }
}

impl Asked {
    fn selection(&self) -> Result<Selection, String> {
        let moment = |text: &Option<String>| text.as_deref().map(take::moment).transpose();
        Ok(Selection {
            from: moment(&self.from)?,
            to: moment(&self.to)?,
            user: self.user.clone(),
            table: self.table.clone(),
            tag: self.tag.clone(),
            denied: self.denied,
            ..Selection::default()
        })
    }
}

fn place(log: &Path, server: &Server) -> Result<Place, String> {
    let Some(address) = log.to_str().and_then(|text| text.strip_prefix("s3://")) else {
        return Ok(Place::Folder(log.to_owned()));
    };
    let (bucket, prefix) = address.trim_end_matches('/').split_once('/').unwrap_or((address, ""));
    let config = audit::s3::Config::reading(bucket, prefix, server.region.clone(), server.endpoint.clone());
    match config.problem() {
        None => Ok(Place::Bucket(Box::new(config))),
        Some(problem) => Err(format!("{}: {problem}", log.display())),
    }
}

fn verified(
    place: &Place,
    key: Option<&str>,
    checkpoints: &[PathBuf],
    witnesses: &[String],
) -> Result<Said, String> {
    let mut said = Said::default();
    let verifier = match key {
        Some(text) if text.contains('+') => text.to_owned(),
        Some(path) => super::read(Path::new(path), MAX_NOTE)?,
        None => {
            let Place::Folder(folder) = place else {
                return Err("give the --key that `northgate audit key` printed".to_owned());
            };
            said.err = "no --key is given: the key in the folder is believed\n".to_owned();
            super::read(&folder.join("verifier"), MAX_NOTE)?
        }
    };
    let verifier = Verifier::new(&verifier).map_err(|error| error.to_string())?;
    let keep = |path: &PathBuf| {
        let note = super::read(path, MAX_NOTE)?.into_bytes();
        Ok(Kept { name: path.display().to_string(), note })
    };
    let kept = checkpoints.iter().map(keep).collect::<Result<Vec<_>, String>>()?;
    let witnesses = witnesses.iter().map(|text| witness::Key::new(text)).collect::<Result<Vec<_>, _>>();
    let witnesses = witnesses.map_err(|error| error.to_string())?;
    let verdict = match place {
        Place::Folder(folder) if take::is_export(folder) => take::verify_export(folder, &verifier, &kept),
        Place::Folder(folder) => verify::folder(folder, &verifier, &kept, &witnesses),
        Place::Bucket(config) => verify::bucket(config, &verifier, &kept, &witnesses),
    };
    let Verdict { records, pending, checkpoints, faults, witnessed } =
        verdict.map_err(|error| error.to_string())?;
    for fault in &faults {
        // Names of files in it are those that somebody gave them.
        let _ = writeln!(said.out, "{}", harmless(&fault.to_string()));
    }
    for (name, size, at) in witnessed {
        let at =
            i64::try_from(at).ok().and_then(|at| jiff::Timestamp::from_second(at).ok()).unwrap_or_default();
        let _ = writeln!(said.out, "{name} signed the first {size} records at {at}");
    }
    let _ = writeln!(
        said.out,
        "{}: {records} records and {checkpoints} checkpoints verified, {} faults, {pending} records behind the last checkpoint",
        verifier.origin(),
        faults.len()
    );
    said.failed = !faults.is_empty();
    Ok(said)
}

/// A text that changes nothing of a terminal but what it writes: whatever would is written as JSON has it, so that JSON stays
/// the same JSON.
fn harmless(text: &str) -> std::borrow::Cow<'_, str> {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let bad = |c: char| c.is_control() || turns(c);
    if !text.contains(bad) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if bad(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_of_a_record_moves_a_terminal() {
        let check = |text: &str| {
            // As a record has it: what is below a space is escaped there already.
            let line = serde_json::to_string(text).expect("JSON");
            let shown = super::harmless(&line);
            assert!(!shown.chars().any(|c| c.is_control() || c == '\u{202e}'), "{shown:?}");
            assert_eq!(serde_json::from_str::<String>(&shown).expect("JSON"), text);
        };
        check("SELECT 1");
        check("\u{1b}]0;owned\u{7}\u{9b}2J\u{7f}\u{202e}\r\n\u{2066}ü");
        assert_eq!(super::harmless("checkpoints/\u{1b}[2J"), "checkpoints/\\u001b[2J");
    }
}
