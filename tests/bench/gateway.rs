//! Northgate itself: its configuration for the bench, and its process.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fault::{Result, Trying, unusable};
use crate::library::POLICIES;
use crate::processes::{Running, free_address};
use crate::setup::{AUDIENCE, Ground, ISSUER};

/// Northgate, running.
pub(crate) struct Started {
    pub(crate) process: Running,
    pub(crate) address: SocketAddr,
    /// The folder of its audit.
    pub(crate) journal: PathBuf,
}

/// What is set besides.
#[derive(Clone, Copy, Default)]
pub(crate) struct Extra<'a> {
    /// Lines for the end of the configuration, in its section `[admission]` until a table begins.
    pub(crate) configuration: &'a str,
    /// One more document of policies.
    pub(crate) policies: Option<&'static str>,
}

/// Starts it as `name`, with its journal in a folder of `beside`.
pub(crate) fn start(
    ground: &Ground,
    name: &str,
    program: &Path,
    upstream: SocketAddr,
    beside: &Path,
) -> Result<Started> {
    start_with(ground, name, program, upstream, beside, Extra::default())
}

/// The same with more settings.
pub(crate) fn start_with(
    ground: &Ground,
    name: &str,
    program: &Path,
    upstream: SocketAddr,
    beside: &Path,
    extra: Extra<'_>,
) -> Result<Started> {
    let Prepared { mut command, address, folder, journal, .. } =
        prepare(ground, name, program, upstream, beside, extra)?;
    let mut process = Running::start("Northgate", &mut command)?;
    match process.wait_for(address) {
        Ok(()) => Ok(Started { process, address, journal }),
        Err(fault) => {
            let said = fs::read_to_string(folder.join("output.log")).unwrap_or_default();
            let last = said.lines().last().unwrap_or_default();
            Err(unusable(format!("{fault}; it said: {last}")))
        }
    }
}

/// Northgate, about to be started.
pub(crate) struct Prepared {
    pub(crate) command: Command,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Where its configuration and policies are.
    pub(crate) folder: PathBuf,
    /// The folder of its audit.
    journal: PathBuf,
}

/// Writes what it needs.
pub(crate) fn prepare(
    ground: &Ground,
    name: &str,
    program: &Path,
    upstream: SocketAddr,
    beside: &Path,
    extra: Extra,
) -> Result<Prepared> {
    let program = program
        .canonicalize()
        .trying(|| format!("find {}: cargo build --release --bin northgate", program.display()))?;
    let folder = ground.folder.join(name);
    fs::create_dir_all(folder.join("policies"))?;
    fs::write(folder.join("policies/bench.yaml"), POLICIES)?;
    if let Some(policies) = extra.policies {
        fs::write(folder.join("policies/extra.yaml"), policies)?;
    }
    fs::write(folder.join("users.toml"), "")?;
    let (address, admin) = (free_address()?, free_address()?);
    let journal = beside.join(format!("{name}-audit"));
    let configuration = include_str!("northgate.toml")
        .replace("@UPSTREAM@", &upstream.to_string())
        .replace("@ADDRESS@", &address.to_string())
        .replace("@ADMIN@", &admin.to_string())
        .replace("@CERTIFICATES@", &ground.folder.display().to_string())
        .replace("@JOURNAL@", &journal.display().to_string())
        .replace("@ISSUER@", ISSUER)
        .replace("@AUDIENCE@", AUDIENCE)
        + extra.configuration;
    let file = folder.join("northgate.toml");
    fs::write(&file, configuration)?;
    let log = fs::File::create(folder.join("output.log"))?;
    let mut command = Command::new(program);
    command.args(["serve", "--config"]).arg(&file).current_dir(&folder);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(Prepared { command, address, admin, folder, journal })
}
