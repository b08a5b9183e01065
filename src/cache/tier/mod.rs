//! What is below the memory: the Redis that gateways share, or a disk of this one's own. What is there is sealed, under the name of
//! its question.

mod disk;
mod shared;

pub(super) use disk::Disk;
pub use disk::DiskLoad;
pub(super) use shared::Shared;

use super::Key;
use super::entry::{Corrupt, Entry};
use crate::state::StoreError;

/// Another after each purge, at all gateways that share a tier.
pub(super) type Epoch = [u8; 16];

/// The tier.
pub(super) enum Tier {
    /// That of several gateways.
    Shared(Shared),
    /// That of this one.
    Disk(Disk),
}

/// What there is.
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// The answer that is here already.
    Same,
    /// This one.
    Entry(Box<Entry>),
    /// One that does not open. It is removed.
    Corrupt,
}

impl Tier {
    /// That of several gateways.
    pub(super) fn shared(&self) -> Option<&Shared> {
        match self {
            Self::Shared(shared) => Some(shared),
            Self::Disk(_) => None,
        }
    }

    /// That of this one.
    pub(super) fn disk(&self) -> Option<&Disk> {
        match self {
            Self::Shared(_) => None,
            Self::Disk(disk) => Some(disk),
        }
    }

    /// The answer to a question, unless it is that of the source which is here; and the epoch.
    pub(super) async fn look(&self, key: &Key, here: Option<&str>) -> Result<(Found, Epoch), StoreError> {
        match self {
            Self::Shared(shared) => shared.look(key, here).await,
            Self::Disk(disk) => Ok((disk.look(key, here.is_some()).await, Epoch::default())),
        }
    }
}

/// The answer that was sealed for a question; none if its time is over.
fn opened(key: &Key, unsealed: Result<Option<Vec<u8>>, StoreError>) -> Result<Option<Entry>, Corrupt> {
    let plain = unsealed.map_err(|_| Corrupt)?;
    let entry = plain.map(|plain| Entry::read(*key, &plain)).transpose()?;
    Ok(entry.filter(|entry| !entry.left().is_zero()))
}
