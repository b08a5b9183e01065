//! Exports that are prepared while somebody waits for them, and kept until they are fetched or others take their place.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::{Format, Place, Selection, Summary, TakeError, export};
use crate::audit::Config;
use crate::units::hex;

/// Exports that are kept, and the bytes that one may have; all that are kept may have as many.
const MOST: usize = 6;
const MOST_BYTES: u64 = 20_000_000_000;
/// What the names of our files begin with.
const PREFIX: &str = "export-";

/// How an export is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is being written.
    Running,
    /// It is there.
    Done(Summary),
    /// It is not, and will not be.
    Failed(String),
}

/// One export.
#[derive(Debug)]
pub struct Job {
    /// Its name. Nobody can guess it.
    pub id: String,
    /// For whom.
    pub by: String,
    /// What was asked for, in words.
    pub asked: String,
    /// As what.
    pub format: Format,
    /// When it was asked for.
    pub begun: Timestamp,
    /// Records that were looked at, and how many there are.
    looked: AtomicU64,
    of: AtomicU64,
    progress: Mutex<Progress>,
    file: PathBuf,
}

impl Job {
    /// How it is.
    pub fn progress(&self) -> Progress {
        locked(&self.progress).clone()
    }

    /// Records that were looked at, and how many there are.
    pub fn looked(&self) -> (u64, u64) {
        (self.looked.load(Ordering::Relaxed), self.of.load(Ordering::Relaxed))
    }

    /// The file, once it is done: a tar of the export's folder.
    pub fn file(&self) -> Option<&Path> {
        matches!(self.progress(), Progress::Done(_)).then_some(&self.file)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // Nobody has it any more.
        drop(fs::remove_file(&self.file));
    }
}

fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The exports of a gateway.
pub struct Jobs {
    config: Config,
    folder: PathBuf,
    all: Arc<Mutex<VecDeque<Arc<Job>>>>,
}

impl Jobs {
    /// Exports of the log of a configuration, beside its folder (`audit.exports`). Those that an earlier process left behind
    /// are removed.
    pub fn new(config: Config) -> Self {
        let folder = config.folder.with_extension("exports");
        let jobs = Self { config, folder, all: Arc::default() };
        if jobs.folder.is_dir()
            && let Err(error) = jobs.clear()
        {
            tracing::error!(%error, folder = %jobs.folder.display(), "old exports of the audit cannot be removed");
        }
        jobs
    }

    /// Begins one.
    ///
    /// # Errors
    /// Another is being written, or this one cannot be begun.
    pub fn begin(
        &self,
        by: &str,
        asked: &str,
        selection: Selection,
        format: Format,
    ) -> Result<Arc<Job>, TakeError> {
        let mut jobs = locked(&self.all);
        if jobs.iter().any(|job| job.progress() == Progress::Running) {
            return Err(TakeError::Asked(
                "another export is being prepared: try again when it is done".to_owned(),
            ));
        }
        if jobs.is_empty() {
            self.clear()?;
        }
        let mut id = [0_u8; 16];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| io::Error::other("no random numbers"))?;
        let id = hex(&id);
        let job = Arc::new(Job {
            file: self.folder.join(format!("{PREFIX}{id}.tar")),
            id,
            by: by.to_owned(),
            asked: asked.to_owned(),
            format,
            begun: Timestamp::now(),
            looked: AtomicU64::new(0),
            of: AtomicU64::new(0),
            progress: Mutex::new(Progress::Running),
        });
        let (work, config, all) = (Arc::clone(&job), self.config.clone(), Arc::clone(&self.all));
        let made = self.folder.join(format!("{PREFIX}{}", job.id));
        std::thread::Builder::new().name("audit-export".to_owned()).spawn(move || {
            let ended = Ended(&work);
            let done = write(&work, &config, &selection, &made);
            drop(fs::remove_dir_all(&made));
            *locked(&ended.0.progress) = match done {
                Ok(summary) => Progress::Done(summary),
                Err(error) => {
                    tracing::error!(%error, "an export of the audit failed");
                    Progress::Failed(error.to_string())
                }
            };
            bound(&mut locked(&all), MOST_BYTES);
        })?;
        jobs.push_front(Arc::clone(&job));
        jobs.truncate(MOST);
        Ok(job)
    }

    /// Those of somebody, the newest first.
    pub fn of(&self, by: &str) -> Vec<Arc<Job>> {
        locked(&self.all).iter().filter(|job| job.by == by).cloned().collect()
    }

    fn clear(&self) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.folder)?;
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Drops the oldest while all together have more bytes than this. The newest stays.
fn bound(jobs: &mut VecDeque<Arc<Job>>, most: u64) {
    let bytes = |job: &Arc<Job>| fs::metadata(&job.file).map_or(0, |metadata| metadata.len());
    let mut all: u64 = jobs.iter().map(bytes).sum();
    while all > most && jobs.len() > 1 {
        if let Some(oldest) = jobs.pop_back() {
            all = all.saturating_sub(bytes(&oldest));
        }
    }
}

/// A job that ends whatever comes.
struct Ended<'j>(&'j Job);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let mut progress = locked(&self.0.progress);
        if *progress == Progress::Running {
            *progress = Progress::Failed("a fault of the gateway".to_owned());
        }
    }
}

fn write(job: &Job, config: &Config, selection: &Selection, to: &Path) -> Result<Summary, TakeError> {
    let records = to.join(job.format.file());
    let progress = |looked: u64, of: u64| {
        job.looked.store(looked, Ordering::Relaxed);
        job.of.store(of, Ordering::Relaxed);
        let bytes = fs::metadata(&records).map_or(0, |metadata| metadata.len());
        if bytes > MOST_BYTES {
            let most = format!("it has more than {} GB: ask for fewer", MOST_BYTES / 1_000_000_000);
            return Err(io::Error::other(most));
        }
        Ok(())
    };
    let place = Place::Folder(config.folder.clone());
    let summary = export(&place, config, selection, job.format, to, &progress)?;
    let mut options = fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.write(true).create_new(true).open(&job.file)?;
    let mut tar = tar::Builder::new(io::BufWriter::with_capacity(1 << 20, file));
    tar.mode(tar::HeaderMode::Deterministic);
    tar.append_dir_all("audit-export", to)?;
    tar.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o777
    }

    #[test]
    fn what_was_left_behind_is_removed_at_the_start() {
        let temp = tempfile::tempdir().expect("a folder");
        let config = Config { folder: temp.path().join("audit"), ..Config::default() };
        let folder = temp.path().join("audit.exports");
        fs::create_dir_all(folder.join("export-1")).expect("made");
        fs::write(folder.join("export-2.tar"), "old").expect("written");
        fs::write(folder.join("another's"), "kept").expect("written");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("set");
        drop(Jobs::new(config));
        let names = fs::read_dir(&folder).expect("read").map(|entry| entry.expect("an entry").file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["another's"]);
        assert_eq!(mode(&folder), 0o700);
    }

    #[test]
    fn the_oldest_go_where_all_are_too_large() {
        let temp = tempfile::tempdir().expect("a folder");
        let mut jobs = VecDeque::new();
        for n in 0..4 {
            let file = temp.path().join(n.to_string());
            fs::write(&file, [0; 10]).expect("written");
            jobs.push_back(Arc::new(Job {
                id: n.to_string(),
                by: "eva".to_owned(),
                asked: String::new(),
                format: Format::Csv,
                begun: Timestamp::now(),
                looked: AtomicU64::new(0),
                of: AtomicU64::new(0),
                progress: Mutex::new(Progress::Running),
                file,
            }));
        }
        for (most, left) in [(40, 4), (39, 3), (25, 2), (1, 1)] {
            bound(&mut jobs, most);
            assert_eq!(jobs.iter().map(|job| &*job.id).collect::<Vec<_>>(), ["0", "1", "2", "3"][..left]);
            assert_eq!(fs::read_dir(temp.path()).expect("read").count(), left);
        }
    }
}
