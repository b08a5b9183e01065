//! Northgate itself: its configuration for the bench, and its process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::fault::{Result, unusable};
use crate::processes::Running;
use crate::setup::Ground;

/// Northgate, running.
pub(crate) struct Started {
    pub(crate) process: Running,
    pub(crate) address: SocketAddr,
    /// The folder of its audit.
    pub(crate) journal: PathBuf,
}

/// Starts it, with its journal in a folder of `journal`.
pub(crate) fn start(
    _ground: &Ground,
    program: &Path,
    _upstream: SocketAddr,
    _journal: &Path,
) -> Result<Started> {
    Err(unusable(format!("{} can't be configured yet", program.display())))
}
