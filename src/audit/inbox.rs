//! What programs beside the gateway did with the audit: they leave a note in its folder, and the gateway records it.
//!
//! So that an export is on record that was made by `northgate audit` while the gateway held the folder, or while none ran.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::record::Event;
use super::shelf::Shelf;
use super::{Audit, AuditError};
use crate::units::cut;

const INBOX: &str = "inbox";
/// How often it is looked at, and the longest note, in bytes.
const EVERY: Duration = Duration::from_secs(2);
const LONGEST: u64 = 64 << 10;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Note {
    action: String,
    by: String,
    detail: String,
}

/// Leaves a note in the folder of an audit, which the gateway records at once, or when it starts. Whose program this is, the
/// system says.
///
/// # Errors
/// It cannot be written. What it is about must then not be done.
pub fn leave(folder: &Path, action: &str, detail: &str) -> io::Result<()> {
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self")?);
    let name = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_default();
    let by = format!("uid {uid} {}", cut(&name, 100)).trim_end().to_owned();
    let note = Note { action: action.to_owned(), by, detail: cut(detail, 4000).to_owned() };
    let now = jiff::Timestamp::now().as_nanosecond();
    let mut shelf = Shelf::new(folder);
    shelf.write(&format!("{INBOX}/{now:020}-{}", std::process::id()), &serde_json::to_vec(&note)?)?;
    shelf.sync()
}

/// The notes that are there, in order.
fn notes(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder.join(INBOX)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        // One that is being written has an ending.
        if path.extension().is_none() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> io::Result<Event> {
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(LONGEST).read_to_end(&mut text)?;
    let Note { action, by, detail } = serde_json::from_slice(&text)?;
    Ok(Event::Administration { action, by, peer: None, detail })
}

impl Audit {
    /// Records the notes that others leave in its folder, for as long as it is asked to.
    pub async fn watch_inbox(&self) {
        loop {
            if let Err(error) = self.take_notes().await {
                tracing::warn!(%error, "a note for the audit is not recorded yet");
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    pub(super) async fn take_notes(&self) -> Result<(), AuditError> {
        let wrong = |source| AuditError::Folder { path: self.folder.join(INBOX), source };
        for path in notes(&self.folder).map_err(wrong)? {
            let event = read(&path).unwrap_or_else(|error| Event::Administration {
                action: "unreadable_note".to_owned(),
                by: String::new(),
                peer: None,
                detail: format!("{}: {error}", path.display()),
            });
            self.record(&event).await?;
            // One that stays is recorded twice, which harms nothing.
            std::fs::remove_file(&path).map_err(wrong)?;
        }
        Ok(())
    }
}
