//! A child process that never outlives the tests, and whose output is kept, line by line.
//!
//! Dropping [`Guarded`] kills the process and waits for it. Where nothing is dropped — the test process is killed, or
//! the owner is a `static` — the guard of `guard.sh` does it: it holds the other end of a pipe that closes with the
//! test process. Signals other than SIGKILL go through the same pipe, so none of this needs a process id to be trusted
//! after its process has gone.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::patience;

const GUARD: &str = include_str!("guard.sh");

/// Where a line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// What a process can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: please end.
    Terminate,
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGSTOP: stand still, as a machine that hangs.
    Stop,
    /// SIGCONT: go on.
    Continue,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
            Self::Interrupt => "INT",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        }
    }
}

/// A running, or ended, process.
#[derive(Debug)]
pub struct Guarded {
    name: String,
    child: Child,
    /// None once the process has ended and its guard is released.
    orders: Option<ChildStdin>,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Output {
    kept: Mutex<Kept>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Kept {
    lines: Vec<(Stream, String)>,
    /// How many of the two streams have ended.
    ended: u8,
}

impl Guarded {
    /// Starts what `command` says, with nothing on its standard input. `folder` is removed if the test process ends
    /// without dropping this.
    ///
    /// # Panics
    /// It does not start, with the reason.
    pub fn spawn(command: &Command, folder: Option<&Path>) -> Self {
        let program = command.get_program();
        let mut guarded = Command::new("sh");
        guarded.args(["-c", GUARD, "guard"]).arg(folder.unwrap_or(Path::new(""))).arg(program).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => guarded.env(name, value),
                None => guarded.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            guarded.current_dir(folder);
        }
        let mut child = guarded
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("sh does not start: {error}"));
        let output = Arc::new(Output::default());
        let readers = vec![
            output.read(Stream::Out, child.stdout.take().expect("it is a pipe")),
            output.read(Stream::Err, child.stderr.take().expect("it is a pipe")),
        ];
        let orders = child.stdin.take();
        Self { name: program.to_string_lossy().into_owned(), child, orders, output, readers }
    }

    /// The process's id, for `/proc`.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal. [`Signal::Stop`] and [`Signal::Continue`] have worked when this returns; to the others the
    /// process answers in its own time.
    ///
    /// # Panics
    /// It has been waited for.
    pub fn signal(&mut self, signal: Signal) {
        let orders = self.orders.as_mut().expect("only a process that runs is sent a signal");
        writeln!(orders, "{}", signal.name()).expect("the guard listens until it is released");
        if matches!(signal, Signal::Stop | Signal::Continue) {
            patience::wait_for("the signal's effect", patience::START, || {
                (self.is_stopped() == (signal == Signal::Stop)).then_some(())
            });
        }
    }

    /// Whether the system lets it stand still.
    fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        // Its state stands after its name, which is in parentheses.
        stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T"))
    }

    /// Its status, if it has ended.
    ///
    /// # Panics
    /// The system does not say.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// Waits for its end and for the last of its output.
    ///
    /// # Panics
    /// It runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        match patience::poll(limit, || self.ended()) {
            Some(status) => {
                self.release();
                status
            }
            None => panic!("{} runs after {limit:?}; it said:\n{}", self.name, self.said()),
        }
    }

    /// SIGKILL, and waits for the end.
    ///
    /// # Panics
    /// It cannot be killed.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
        self.release();
    }

    /// Waits for a line that contains `text`, on either stream and also in the past.
    ///
    /// # Panics
    /// The process ends without it, or it does not come within `limit`; the message has all output.
    pub fn line(&self, text: &str, limit: Duration) -> String {
        let end = patience::now() + limit;
        let mut kept = self.output.lock();
        loop {
            if let Some((_, line)) = kept.lines.iter().find(|(_, line)| line.contains(text)) {
                return line.clone();
            }
            let left = end.saturating_duration_since(patience::now());
            if left.is_zero() || kept.ended == 2 {
                let why = if kept.ended == 2 { "ended" } else { "took too long" };
                let said = kept.text();
                drop(kept);
                panic!("{} {why} without a line with {text:?}; it said:\n{said}", self.name);
            }
            kept = self.output.more.wait_timeout(kept, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The lines of one stream up to now.
    pub fn lines(&self, stream: Stream) -> Vec<String> {
        self.output.lock().lines.iter().filter(|(from, _)| *from == stream).map(|(_, line)| line.clone()).collect()
    }

    /// All its output up to now, for messages.
    pub fn said(&self) -> String {
        self.output.lock().text()
    }

    /// Ends the guard, whose process has been waited for, and reads the output to its end.
    fn release(&mut self) {
        if let Some(mut orders) = self.orders.take() {
            // Killed before the guard was there, the command leaves none behind.
            let released = writeln!(orders, "released");
            let none = released.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
            assert!(released.is_ok() || none, "the guard listens until it is released: {released:?}");
        }
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader does not panic");
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
        } else {
            self.release();
        }
    }
}

impl Output {
    fn read(self: &Arc<Self>, stream: Stream, from: impl Read + Send + 'static) -> JoinHandle<()> {
        let output = self.clone();
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while matches!(from.read_until(b'\n', &mut line), Ok(read) if read > 0) {
                let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned();
                output.lock().lines.push((stream, text));
                output.more.notify_all();
                line.clear();
            }
            output.lock().ended += 1;
            output.more.notify_all();
        })
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn text(&self) -> String {
        self.lines.iter().fold(String::new(), |mut text, (_, line)| {
            writeln!(text, "  {line}").expect("memory takes it");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patience::{START, wait_for};

    fn sh(script: &str) -> Guarded {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Guarded::spawn(&command, None)
    }

    fn is_alive(id: u32) -> bool {
        // The third field of a dead process that nobody has waited for is Z.
        std::fs::read_to_string(format!("/proc/{id}/stat"))
            .is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
    }

    #[test]
    fn output_and_status_are_kept() {
        let mut process = sh("echo one; echo two >&2; echo three; exit 7");
        assert_eq!(process.line("three", START), "three");
        assert_eq!(process.wait(START).code(), Some(7));
        assert_eq!(process.lines(Stream::Out), ["one", "three"]);
        assert_eq!(process.lines(Stream::Err), ["two"]);
    }

    #[test]
    fn a_signal_arrives() {
        let mut process = sh("trap 'echo asked; exit 3' TERM; echo ready; while :; do sleep 0.05; done");
        process.line("ready", START);
        process.signal(Signal::Terminate);
        assert_eq!(process.wait(START).code(), Some(3));
        assert_eq!(process.lines(Stream::Out), ["ready", "asked"]);
    }

    #[test]
    fn a_dropped_process_is_dead() {
        let process = sh("echo ready; exec sleep 1000");
        process.line("ready", START);
        let id = process.id();
        assert!(is_alive(id));
        drop(process);
        assert!(!is_alive(id));
    }

    #[test]
    fn a_process_dies_with_the_tests_and_takes_its_folder_along() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        command.arg("1000");
        let mut process = Guarded::spawn(&command, Some(folder.path()));
        // What the system does to a test process that is killed: it closes the pipe.
        process.orders = None;
        wait_for("the end of the process", START, || process.ended());
        wait_for("the end of the folder", START, || (!folder.path().exists()).then_some(()));
    }

    #[test]
    #[should_panic(expected = "ended without a line with \"never\"; it said:\n  hello")]
    fn an_end_without_the_line_is_told_with_the_output() {
        sh("echo hello").line("never", START);
    }
}
