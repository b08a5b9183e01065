//! A disk that fails when it is told to.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::super::folder::{Sink, Store};

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
pub(super) struct State {
    /// Of each file: its bytes, how many are durable, and whether it is removed.
    pub(super) files: Vec<(Vec<u8>, usize, bool)>,
    /// How many bytes fit in all.
    pub(super) room: usize,
    pub(super) fail_sync: bool,
    pub(super) fail_cut: bool,
    pub(super) panic: bool,
    /// Syncs wait while this is set.
    pub(super) frozen: bool,
    pub(super) syncs: usize,
}

/// The disk; clones are the same disk.
#[derive(Clone)]
pub(super) struct Disk(Arc<(Mutex<State>, Condvar)>);

impl Disk {
    pub(super) fn new(room: usize) -> Self {
        Self(Arc::new((Mutex::new(State { room, ..State::default() }), Condvar::new())))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().expect("not poisoned")
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.0.1.notify_all();
    }

    /// What a crash would leave, file by file.
    pub(super) fn durable(&self) -> Vec<String> {
        let state = self.state();
        let left = state.files.iter().filter(|(.., removed)| !removed);
        left.map(|(bytes, durable, _)| String::from_utf8(bytes[..*durable].to_vec()).expect("UTF-8"))
            .collect()
    }
}

impl Store for Disk {
    fn create(&mut self, _: u64) -> io::Result<Box<dyn Sink>> {
        let mut state = self.state();
        state.files.push((Vec::new(), 0, false));
        Ok(Box::new(File { disk: self.clone(), at: state.files.len() - 1 }))
    }
}

struct File {
    disk: Disk,
    at: usize,
}

impl Sink for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        assert!(!state.panic, "the disk was told to");
        let used: usize = state.files.iter().map(|(bytes, ..)| bytes.len()).sum();
        let fits = state.room.saturating_sub(used).min(bytes.len());
        state.files[self.at].0.extend_from_slice(&bytes[..fits]);
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let state = self.disk.state();
        let mut state = self.disk.0.1.wait_while(state, |s| s.frozen).expect("not poisoned");
        state.syncs += 1;
        if state.fail_sync {
            return Err(io::Error::other("EIO"));
        }
        let file = &mut state.files[self.at];
        file.1 = file.0.len();
        Ok(())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.fail_cut {
            return Err(io::Error::other("EIO"));
        }
        let length = usize::try_from(length).expect("small");
        let file = &mut state.files[self.at];
        file.0.truncate(length);
        file.1 = file.1.min(length);
        Ok(())
    }

    fn path(&self) -> &Path {
        Path::new("")
    }

    fn discard(self: Box<Self>) {
        self.disk.state().files[self.at].2 = true;
    }
}
