//! `northgate compliance-report`: a month in one page, to be read, printed and signed: who used the gateway, who read what is
//! tagged, what was denied, what changed, and that nobody has changed the log.

use std::path::{Path, PathBuf};

use clap::Args;

use super::Said;
use crate::audit::take::Place;
use crate::audit::take::compliance::{Month, Seen};
use crate::audit::verify::{self, Kept, Verdict};
use crate::audit::{self, Verifier};
use crate::config::Config;
use crate::web::compliance::{Made, document};

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
    let month = Month::read(&command.month)?;
    let folder = &config.folder;
    // Who takes it out of the log is on record before they have it.
    audit::inbox::leave(folder, "audit_report", &format!("compliance report of {}", command.month)).map_err(
        |error| format!("{}: this cannot be recorded, and is therefore not done: {error}", folder.display()),
    )?;
    let verdict = verdict(folder, command)?;
    let seen = Seen::of(&Place::Folder(folder.clone()), &month).map_err(|error| error.to_string())?;
    let key = if command.key.is_some() { "the key that was given" } else { "the key in the folder" };
    let made = Made { month: &month, origin: &config.origin, key, verdict: &verdict, seen: &seen };
    let page = document(&made).into_string();
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
