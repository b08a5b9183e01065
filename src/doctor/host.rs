//! The disk that the audit is on.

use std::path::{Path, PathBuf};

use super::{Area, Finding};
use crate::audit;
use crate::units::ByteSize;

/// Less free than this is a problem, and a part of it a warning.
const LEAST: u64 = 256 << 20;
const LOW_PART: u64 = 10;
const LOW_MOST: u64 = 10 << 30;

/// How much of a disk there is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Free for the gateway's user.
    pub free: u64,
    /// In all.
    pub size: u64,
}

/// The disk that a folder is on, or will be.
///
/// # Errors
/// There is no such place, in words.
pub fn disk(folder: &Path) -> Result<Disk, String> {
    let place = there(folder);
    let stat = rustix::fs::statvfs(&place).map_err(|error| format!("{}: {error}", place.display()))?;
    Ok(Disk {
        free: stat.f_bavail.saturating_mul(stat.f_frsize),
        size: stat.f_blocks.saturating_mul(stat.f_frsize),
    })
}

/// The memory that this process has now, in bytes.
pub fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// The folder, or the nearest above it that there is.
fn there(folder: &Path) -> PathBuf {
    let found = folder.ancestors().find(|path| path.is_dir() && !path.as_os_str().is_empty());
    found.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// What there is to say of the audit's folder and its disk.
pub fn findings(config: &audit::Config) -> Vec<Finding> {
    let folder = &config.folder;
    let place = there(folder);
    let access = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    let mut found = vec![match rustix::fs::access(&place, access) {
        Ok(()) if place == *folder => {
            Finding::good(Area::Disk, format!("the audit's folder {} can be written", folder.display()))
        }
        Ok(()) => Finding::good(Area::Disk, format!("the audit's folder {} can be made", folder.display())),
        Err(error) => Finding::problem(
            Area::Disk,
            format!(
                "the audit's folder {}: {} cannot be written: {error}",
                folder.display(),
                place.display()
            ),
            "give the folder to the gateway's user (`chown`), and run the doctor as that user: all queries are refused \
             while the audit cannot be written",
        ),
    }];
    found.push(match disk(folder) {
        Ok(disk) => room(disk, folder),
        Err(why) => Finding::problem(Area::Disk, why, "see whether the audit's disk is mounted"),
    });
    found
}

/// What there is to say of how much is free for the audit.
pub fn room(disk: Disk, folder: &Path) -> Finding {
    let Disk { free, size } = disk;
    let says = format!("{} of {} free for the audit at {}", rounded(free), rounded(size), folder.display());
    let remedy = "make room on the disk or extend it, never by deleting files of the audit; with [audit.s3] what was copied \
                  leaves the disk";
    if free < LEAST {
        Finding::problem(Area::Disk, format!("only {says}"), remedy)
    } else if free < (size / LOW_PART).min(LOW_MOST) {
        Finding::warning(Area::Disk, says, remedy)
    } else {
        Finding::good(Area::Disk, says)
    }
}

/// A size as people read it.
pub fn rounded(bytes: u64) -> String {
    let unit = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match unit.iter().find(|(_, size)| bytes >= *size) {
        Some((name, size)) => format!("{} {name}", bytes / size),
        None => ByteSize(bytes).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn how_much_room_is_enough() {
        let check = |free: u64, size: u64, expect: Level| {
            assert_eq!(room(Disk { free, size }, Path::new("audit")).level, expect, "{free} of {size}");
        };
        let gib = 1 << 30;
        check(50 * gib, 100 * gib, Level::Good);
        check(9 * gib, 100 * gib, Level::Warning);
        check(11 * gib, 1_000 * gib, Level::Good);
        check(0, 100 * gib, Level::Problem);
        check(200 << 20, 1 << 30, Level::Problem);
    }
}
