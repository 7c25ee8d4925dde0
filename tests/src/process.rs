//! The real `millrace` binary.
//!
//! ```no_run
//! use millrace_tests::patience::START;
//! use millrace_tests::process::Millrace;
//!
//! let mut running = Millrace::command().args(["run", "fraud.toml"]).dir("examples/fraud").start();
//! running.ready("127.0.0.1:6566");
//! running.interrupt();
//! assert!(running.wait(START).success());
//! ```

use std::env;
use std::ffi::OsStr;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::guarded::{Guarded, Signal, Stream};
use crate::{http, patience};

/// How the binary is to be called.
#[derive(Debug)]
pub struct Millrace(Command);

/// The binary, running: dropping it kills it.
#[derive(Debug)]
pub struct Running(Guarded);

/// What a call of the binary left behind.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Millrace {
    /// The binary under test, without arguments.
    ///
    /// # Panics
    /// It has not been built.
    pub fn command() -> Self {
        let mut command = Command::new(binary());
        // Messages are compared: no colours, and no filter of whoever runs the tests.
        command.env("NO_COLOR", "1").env_remove("RUST_LOG").env_remove("RUST_BACKTRACE");
        Self(command)
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.0.args(arguments);
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Sets the folder that it runs in.
    #[must_use]
    pub fn dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.0.current_dir(folder);
        self
    }

    /// Starts it.
    pub fn start(self) -> Running {
        Running(Guarded::spawn(&self.0, None))
    }

    /// Starts it and waits for its end.
    ///
    /// # Panics
    /// It runs after `limit`.
    pub fn finish(self, limit: Duration) -> Finished {
        let mut running = self.start();
        let status = running.wait(limit);
        let text = |stream| running.lines(stream).join("\n");
        Finished { status, stdout: text(Stream::Out), stderr: text(Stream::Err) }
    }
}

impl Running {
    /// Waits until `GET /ready` at `address` answers 200.
    ///
    /// # Panics
    /// It ends, or does not get ready within [`patience::START`]; the message has all output.
    pub fn ready(&mut self, address: &str) {
        let mut last = None;
        let ready = patience::poll(patience::START, || {
            if let Some(status) = self.0.ended() {
                panic!("millrace ended with {status} before it was ready; it said:\n{}", self.0.said());
            }
            last = http::get(address, "/ready").ok();
            last.as_ref().filter(|answer| answer.status == 200).map(drop)
        });
        assert!(ready.is_some(), "{address} is not ready: {last:?}; millrace said:\n{}", self.0.said());
    }

    /// Ctrl-C.
    pub fn interrupt(&mut self) {
        self.0.signal(Signal::Interrupt);
    }

    /// The most memory that it has held so far, in bytes.
    ///
    /// # Panics
    /// It has ended.
    pub fn peak_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.0.id());
        let status = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
        let kibibytes: Option<u64> = peak.and_then(|peak| peak.trim().parse().ok());
        kibibytes.unwrap_or_else(|| panic!("no VmHWM: the process has ended\n{status}")) * 1024
    }
}

impl Deref for Running {
    type Target = Guarded;

    fn deref(&self) -> &Guarded {
        &self.0
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Guarded {
        &mut self.0
    }
}

/// Where the binary is: `target/PROFILE/millrace` for a test executable in `target/PROFILE/deps`, or a tool beside it.
///
/// # Panics
/// It has not been built.
pub fn binary() -> PathBuf {
    if let Some(path) = env::var_os("MILLRACE_BIN") {
        return path.into();
    }
    let executable = env::current_exe().unwrap_or_else(|error| panic!("where the tests are is not known: {error}"));
    let folders = executable.parent().into_iter().chain(executable.parent().and_then(Path::parent));
    let mut paths = folders.map(|folder| folder.join("millrace"));
    let path = paths.find(|path| path.is_file()).unwrap_or_else(|| PathBuf::from("target/debug/millrace"));
    assert!(
        path.exists(),
        "{} is not there: run `make test`, or `cargo build -p millrace -p millrace-tests` first",
        path.display()
    );
    path
}
