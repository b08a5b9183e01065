//! Processes that never outlive the tests: each runs under `tests/stack/guard`, which ends it when our end of a
//! pipe closes, however we end.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{repository, stack};

/// A server under a guard. Dropping it ends the server.
pub(crate) struct Guarded {
    guard: Child,
    pid_file: PathBuf,
}

impl Guarded {
    /// Runs `command` with its output in `log`. `folder`, which takes the file with its process id, is removed
    /// when it has ended, so that nothing is left when the tests end without dropping this.
    pub(crate) fn spawn(command: &Command, folder: &Path, log: &Path) -> io::Result<Self> {
        let pid_file = folder.join("pid");
        let output = File::create(log)?;
        let mut guard = Command::new(repository().join("tests/stack/guard"));
        guard
            .arg("--pid")
            .arg(&pid_file)
            .arg("--remove")
            .arg(folder)
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => guard.env(name, value),
                None => guard.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            guard.current_dir(folder);
        }
        let guard = guard.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output).spawn()?;
        Ok(Self { guard, pid_file })
    }

    /// The process id of the server itself.
    pub(crate) fn pid(&self) -> u32 {
        let read = || fs::read_to_string(&self.pid_file).ok()?.trim().parse().ok();
        within(Duration::from_secs(10), read).expect("the guard writes the process id")
    }

    /// Sends the server a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(status.expect("kill runs").success(), "no process to signal");
    }

    /// Whether it has ended, and with which status.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        self.guard.try_wait().expect("the guard can be asked").map(|status| status.code().unwrap_or(-1))
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, longest: Duration) -> Option<i32> {
        within(longest, || self.ended())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        if self.wait(Duration::from_secs(25)).is_none() {
            let _ = self.guard.kill();
        }
    }
}

/// Asks again and again until there is an answer, for at most `longest`.
pub(crate) fn within<T>(longest: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + longest;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        sleep(Duration::from_millis(25));
    }
}

/// Runs a command of the test stack to its end and gives what it printed.
pub(crate) fn run_stack(arguments: &[&str]) -> String {
    run(Command::new(stack()).args(arguments))
}

/// Runs a command to its end, which must be a good one, and gives what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("the command runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}\n{errors}", output.status);
    text
}

/// Ports that nothing listens on.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    use std::net::TcpListener;
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("bound").port())
}
