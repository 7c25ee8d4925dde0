//! Fail points: the places around which a crash matters, each by a name, at which a test has the process killed.
//!
//! `MILLRACE_KILL_AT=commit.record-synced:3` has the process send itself SIGKILL when it comes by that place the third
//! time; without a number, the first. It says so on standard error before, so that a test knows where it died.
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
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::Point;

    /// Where the process is to die.
    struct Death {
        point: Point,
        /// How often it still comes by there, the last time included.
        left: AtomicU32,
    }

    /// The process is at this place.
    ///
    /// # Panics
    /// `MILLRACE_KILL_AT` names no place.
    pub fn reach(point: Point) {
        static DEATH: OnceLock<Option<Death>> = OnceLock::new();
        let wanted = || {
            std::env::var("MILLRACE_KILL_AT")
                .ok()
                .map(|text| parse(&text).unwrap_or_else(|| panic!("MILLRACE_KILL_AT={text}: no place and number")))
        };
        let Some(death) = DEATH.get_or_init(wanted) else { return };
        if death.point == point && death.left.fetch_sub(1, Ordering::AcqRel) == 1 {
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

    fn parse(text: &str) -> Option<Death> {
        let (name, times) = match text.split_once(':') {
            Some((name, times)) => (name, times.parse().ok().filter(|times| *times > 0)?),
            None => (text, 1),
        };
        let point = Point::ALL.iter().find(|point| point.name() == name)?;
        Some(Death { point: *point, left: AtomicU32::new(times) })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_place_is_named_with_a_number_or_without() {
            let death = parse("commit.record-synced:3").unwrap();
            assert_eq!((death.point, death.left.into_inner()), (Point::RecordSynced, 3));
            assert_eq!(parse("write.log").unwrap().left.into_inner(), 1);
            for wrong in ["", "write.lg", "write.log:0", "write.log:x"] {
                assert!(parse(wrong).is_none(), "{wrong}");
            }
        }
    }
}
