//! The users file as it was last read, and read again when it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::error::SetupError;
use super::users::Users;

/// How often the users file is looked at for a change.
const WATCH: Duration = Duration::from_secs(2);

/// The users file as last read.
pub(super) struct Snapshot {
    path: PathBuf,
    pub(super) users: ArcSwap<Users>,
    /// Told each time that a change of the file was met: what is wrong with it, if anything is.
    pub(super) reread: watch::Sender<Option<String>>,
}

impl Snapshot {
    /// The users of a file.
    pub(super) fn new(path: PathBuf, users: Users) -> Self {
        Self { path, users: ArcSwap::from_pointee(users), reread: watch::Sender::new(None) }
    }

    pub(super) fn reload(&self) -> Result<(), SetupError> {
        let users = Users::load(&self.path)?;
        tracing::info!(users = users.len(), "read the users file");
        self.users.store(Arc::new(users));
        Ok(())
    }
}

/// What changes when a file is written or replaced.
#[derive(PartialEq, Eq)]
struct Stamp {
    modified: Option<std::time::SystemTime>,
    length: u64,
    inode: u64,
}

impl Stamp {
    async fn of(path: &Path) -> Option<Self> {
        let metadata = tokio::fs::metadata(path).await.ok()?;
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        Some(Self { modified: metadata.modified().ok(), length: metadata.len(), inode })
    }
}

/// Reads the users file again when it changes. By asking, not by notification: that also works for files which
/// are swapped behind symbolic links, and on network folders.
pub(super) async fn follow(users: Arc<Snapshot>) {
    let mut last = Stamp::of(&users.path).await;
    loop {
        tokio::time::sleep(WATCH).await;
        let now = Stamp::of(&users.path).await;
        if now == last {
            continue;
        }
        last = now;
        let snapshot = Arc::clone(&users);
        match tokio::task::spawn_blocking(move || snapshot.reload()).await {
            Ok(Ok(())) => drop(users.reread.send_replace(None)),
            Ok(Err(error)) => {
                tracing::error!(%error, "the users file is not in order; the last one stays in force");
                drop(users.reread.send_replace(Some(error.to_string())));
            }
            Err(error) => tracing::error!(%error, "could not read the users file"),
        }
    }
}
