//! Fail points: the places around which a crash matters, each by a name, at which a test has the process killed.
//!
//! `MILLRACE_KILL_AT=commit.record-synced:3` has the process send itself SIGKILL when it comes by that place the third
//! time; without a number, the first. `write.log+settle.log` is the first time at the second place after the first one. It
//! says so on standard error before, so that a test knows where it died.
//!
//! Always true: a release build has none, nor has one without the feature `fail-points`: there [`reach`] is nothing.
//! Whoever adds a point adds it here, and the crash tests kill there from then on.

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)*) => {
        /// A place at which the process can be killed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Point {
            $($(#[$doc])* $point,)*
        }

        impl Point {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$point),*];

            /// What it is called from outside.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }
        }
    };
}

points! {
    /// All state was read and verified; nothing was changed yet.
    StateRead = "start.state-read",
    /// The term is on disk.
    TermTaken = "start.term-taken",
    /// A chunk of the log that no epoch counts was removed; others may follow.
    LogCut = "start.log-cut",
    /// So was a dead letter.
    LettersCut = "start.dead-letters-cut",
    /// A file of an output is cut back.
    FileCut = "start.file-cut",
    /// A chunk of an outbox that no epoch counts was removed; others may follow.
    OutboxCut = "start.outbox-cut",
    /// The record of a first start is on disk.
    Baseline = "start.baseline",
    /// A source reads from its resumed position, or is about to.
    Sought = "start.sought",
    /// Events of the input log that came after the checkpoint go to the workers again.
    InputRead = "start.input-read",

    /// Rows are in a view's outputs, as far as those take them before a flush: files and outboxes.
    OutputsWritten = "write.outputs",
    /// A chunk is in the log; others may follow.
    LogWritten = "write.log",
    /// Rows are in the online store, as far as it takes them before a flush.
    OnlineWritten = "write.online",
    /// A dead letter is written; others may follow.
    LetterWritten = "write.dead-letter",

    /// All online writes are acknowledged; the log is not flushed.
    OnlineSettled = "settle.online",
    /// The log is on disk; dead letters are not.
    LogSettled = "settle.log",
    /// Dead letters are on disk; files are not.
    LettersSettled = "settle.dead-letters",
    /// Everything that came before the barrier is safe; the committer knows nothing of it yet.
    Settled = "settle.all",

    /// A chunk of state is written; others may follow.
    PartWritten = "commit.part-written",
    /// State and outboxes are on disk; there is no record.
    PartsSynced = "commit.parts-synced",
    /// The record is written and not synced.
    RecordWritten = "commit.record-written",
    /// The record is on disk: the epoch counts.
    RecordSynced = "commit.record-synced",
    /// A record or a stage's state that nobody goes back to was removed; others may follow.
    Removing = "commit.removing",
    /// All of that was removed; nothing was published.
    Removed = "commit.removed",
    /// A transaction has all its messages and is not committed.
    TransactionOpen = "publish.transaction-open",
    /// It is committed; nothing here knows.
    TransactionCommitted = "publish.transaction-committed",
    /// What was committed is published; sources and coordinator do not know yet.
    Telling = "commit.telling",

    /// Events of a push are written and not synced.
    InputWritten = "input.written",
    /// They are on disk; nobody was answered.
    InputSynced = "input.synced",
    /// A record that is below a committed position was removed; others may follow.
    InputRemoved = "input.removed",
}

/// The process is at this place.
#[cfg(not(all(feature = "fail-points", debug_assertions)))]
#[inline]
pub fn reach(_: Point) {}

#[cfg(all(feature = "fail-points", debug_assertions))]
pub use armed::reach;

#[cfg(all(feature = "fail-points", debug_assertions))]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

    use super::Point;

    /// The way to the process's death: at the last of these.
    struct Way {
        steps: Vec<Step>,
        /// The first that was not passed yet.
        at: AtomicUsize,
    }

    struct Step {
        point: Point,
        /// How often it is still to be passed.
        left: AtomicU32,
    }

    /// The process is at this place.
    ///
    /// # Panics
    /// `MILLRACE_KILL_AT` names a place that there is not.
    pub fn reach(point: Point) {
        static WAY: OnceLock<Option<Way>> = OnceLock::new();
        let read = || {
            let text = std::env::var("MILLRACE_KILL_AT").ok()?;
            Some(
                parse(&text)
                    .unwrap_or_else(|| panic!("MILLRACE_KILL_AT={text}: not POINT or POINT:NUMBER, joined by +")),
            )
        };
        let Some(way) = WAY.get_or_init(read) else { return };
        if way.pass(point) {
            eprintln!("killed at {}", point.name());
            kill();
            // Others may run for a moment longer; this thread does not.
            loop {
                std::thread::park();
            }
        }
    }

    #[expect(unsafe_code, reason = "the standard library signals children alone, and `abort` is another signal")]
    fn kill() {
        // SAFETY: both calls take and give numbers alone.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }

    impl Way {
        /// Whether this is where it ends.
        fn pass(&self, point: Point) -> bool {
            let at = self.at.load(Ordering::Acquire);
            let Some(step) = self.steps.get(at).filter(|step| step.point == point) else { return false };
            let passed = step.left.fetch_sub(1, Ordering::AcqRel) == 1;
            if passed {
                self.at.store(at + 1, Ordering::Release);
            }
            passed && at + 1 == self.steps.len()
        }
    }

    fn parse(text: &str) -> Option<Way> {
        let step = |text: &str| {
            let (name, times) = match text.split_once(':') {
                Some((name, times)) => (name, times.parse().ok().filter(|times| *times > 0)?),
                None => (text, 1),
            };
            let point = Point::ALL.iter().find(|point| point.name() == name)?;
            Some(Step { point: *point, left: AtomicU32::new(times) })
        };
        Some(Way { steps: text.split('+').map(step).collect::<Option<_>>()?, at: AtomicUsize::new(0) })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn it_ends_at_the_last_of_the_places_as_often_as_said() {
            let way = parse("write.log:2+commit.record-synced").unwrap();
            let passes = |point| way.pass(point);
            assert!(!passes(Point::RecordSynced) && !passes(Point::LogWritten) && !passes(Point::RecordSynced));
            assert!(!passes(Point::LogWritten) && !passes(Point::LogWritten));
            assert!(passes(Point::RecordSynced));
            for wrong in ["", "write.lg", "write.log:0", "write.log:x", "write.log+"] {
                assert!(parse(wrong).is_none(), "{wrong}");
            }
        }
    }
}
