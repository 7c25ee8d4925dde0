//! What a guest may use, and the host's side of a store that holds it to that: memory, and lines of log.
//!
//! Time is held by the engine's epoch (`engine`, `instance`), rows and bytes where results are read (`convert`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::bindings::millrace::feature::log;

/// The most rows that one call carries; larger batches are cut, so that a time limit means the same for every caller.
pub const MAX_ROWS: usize = 8_192;

/// Longest text of a guest that is kept: a reason, an error, a line of log. The rest is cut.
const MAX_TEXT: usize = 2_048;

/// Lines of log that one UDF may write in [`LOG_WINDOW`] ticks.
const LOG_LINES: u64 = 20;
const LOG_WINDOW: u64 = 100;

/// Lines of log that one call may write, kept or not: two for each row that it may have. Each costs a call of the host.
pub(super) const MAX_LINES: usize = 2 * MAX_ROWS;

/// What one UDF may use. All of it is an option of the UDF in the project file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Wall time of one call, of at most [`MAX_ROWS`] rows. Held to 20 ms.
    pub time: Duration,
    /// Bytes of linear memory and tables of one instance.
    pub memory: usize,
    /// Rows that one call may return.
    pub rows: usize,
    /// Bytes that one call may hand over, with some overhead a column and a rejection.
    pub bytes: usize,
    /// Bytes of one state row of an aggregate.
    pub state: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_secs(1), memory: 64 << 20, rows: 8 * MAX_ROWS, bytes: 16 << 20, state: 4 << 10 }
    }
}

impl Limits {
    /// For the first look at a component, before a project has said what it may use: enough for an interpreter to start.
    pub(super) fn for_loading() -> Self {
        Self { time: Duration::from_secs(10), memory: 512 << 20, ..Self::default() }
    }
}

/// What a store knows beside the guest's memory.
pub(super) struct Host {
    memory_limit: usize,
    memory_used: usize,
    /// What was taken last, to be given back should the growth fail all the same.
    memory_taken: usize,
    /// Whether the guest was refused memory since the call began.
    pub(super) memory_denied: bool,
    /// The last line that the guest logged as an error since the call began: what it said before a trap.
    pub(super) last_words: Option<String>,
    /// Lines that the guest logged since the call began.
    pub(super) lines: usize,
    log: Arc<GuestLog>,
}

impl Host {
    pub(super) fn new(limits: &Limits, log: Arc<GuestLog>) -> Self {
        Self {
            memory_limit: limits.memory,
            memory_used: 0,
            memory_taken: 0,
            memory_denied: false,
            last_words: None,
            lines: 0,
            log,
        }
    }

    /// Bytes of memory and tables.
    pub(super) fn memory_used(&self) -> usize {
        self.memory_used
    }

    /// Takes `more` bytes, or notes that they were denied.
    fn take(&mut self, more: usize) -> bool {
        let wanted = self.memory_used.saturating_add(more);
        if wanted > self.memory_limit {
            self.memory_denied = true;
            self.memory_taken = 0;
            return false;
        }
        self.memory_used = wanted;
        self.memory_taken = more;
        true
    }

    fn give_back(&mut self) {
        self.memory_used = self.memory_used.saturating_sub(std::mem::take(&mut self.memory_taken));
    }
}

impl wasmtime::ResourceLimiter for Host {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.take(desired.saturating_sub(current)))
    }

    /// Called after a denial too, when nothing was taken.
    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.give_back();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.take(desired.saturating_sub(current).saturating_mul(size_of::<usize>())))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.give_back();
        Ok(())
    }
}

impl log::Host for Host {
    fn log(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.lines += 1;
        wasmtime::ensure!(self.lines <= MAX_LINES, "more than {MAX_LINES} lines of log in a call");
        let message = cut(message);
        self.log.write(level, &message);
        if level == log::Level::Error {
            self.last_words = Some(message);
        }
        Ok(())
    }
}

/// The log of one UDF, over all of its instances: lines beyond the rate are counted and left out.
pub(super) struct GuestLog {
    udf: String,
    ticks: Arc<AtomicU64>,
    window: AtomicU64,
    written: AtomicU64,
    left_out: AtomicU64,
}

impl GuestLog {
    /// `ticks` is the engine's count of ticks, the only clock here.
    pub(super) fn new(udf: String, ticks: Arc<AtomicU64>) -> Arc<Self> {
        let window = AtomicU64::new(ticks.load(Ordering::Relaxed) / LOG_WINDOW);
        Arc::new(Self { udf, ticks, window, written: AtomicU64::new(0), left_out: AtomicU64::new(0) })
    }

    fn write(&self, level: log::Level, message: &str) {
        let Some(left_out) = self.admit() else { return };
        let udf = &self.udf;
        if left_out > 0 {
            tracing::warn!(udf, "{left_out} lines of this UDF's log were left out");
        }
        match level {
            log::Level::Debug => tracing::debug!(udf, "{message}"),
            log::Level::Info => tracing::info!(udf, "{message}"),
            log::Level::Warn => tracing::warn!(udf, "{message}"),
            log::Level::Error => tracing::error!(udf, "{message}"),
        }
    }

    /// Whether a line may be written now, and how many were left out before it. Workers may race for the last line of
    /// a window; one more or less does no harm.
    fn admit(&self) -> Option<u64> {
        let window = self.ticks.load(Ordering::Relaxed) / LOG_WINDOW;
        if self.window.swap(window, Ordering::Relaxed) != window {
            self.written.store(0, Ordering::Relaxed);
        }
        if self.written.fetch_add(1, Ordering::Relaxed) < LOG_LINES {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// `text` up to [`MAX_TEXT`] bytes, at a character's border.
pub(super) fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines_beyond_the_rate_are_counted() {
        let ticks = Arc::new(AtomicU64::new(7));
        let log = GuestLog::new("clean".into(), Arc::clone(&ticks));
        let admitted: Vec<_> = (0..LOG_LINES + 5).map(|_| log.admit()).collect();
        assert_eq!(admitted.iter().flatten().count() as u64, LOG_LINES);
        ticks.fetch_add(LOG_WINDOW, Ordering::Relaxed);
        assert_eq!(log.admit(), Some(5));
        assert_eq!(log.admit(), Some(0));
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(cut("short".into()), "short");
        let long = cut("é".repeat(MAX_TEXT));
        assert!(long.ends_with("é…"));
        assert_eq!(long.len(), MAX_TEXT + '…'.len_utf8());
    }

    #[test]
    fn memory_is_counted_over_all_memories_and_tables() {
        use wasmtime::ResourceLimiter as _;
        let limits = Limits { memory: 200, ..Limits::default() };
        let mut host = Host::new(&limits, GuestLog::new("clean".into(), Arc::default()));
        assert!(host.memory_growing(0, 100, None).unwrap());
        assert!(host.table_growing(0, 10, None).unwrap());
        assert!(!host.memory_denied);
        assert!(!host.memory_growing(100, 200, None).unwrap());
        assert!(host.memory_denied);
        host.memory_grow_failed(wasmtime::format_err!("denied")).unwrap();
        assert!(host.memory_growing(100, 120, None).unwrap());
        assert!(!host.table_growing(10, 11, None).unwrap());
        host.table_grow_failed(wasmtime::format_err!("denied")).unwrap();
        assert!(!host.memory_growing(120, 121, None).unwrap());
        assert!(host.memory_growing(120, 120, None).unwrap());
    }

    #[test]
    fn memory_that_was_granted_and_not_to_be_had_comes_back() {
        use wasmtime::ResourceLimiter as _;
        let limits = Limits { memory: 200, ..Limits::default() };
        let mut host = Host::new(&limits, GuestLog::new("clean".into(), Arc::default()));
        assert!(host.memory_growing(0, 150, None).unwrap());
        host.memory_grow_failed(wasmtime::format_err!("no room")).unwrap();
        host.memory_grow_failed(wasmtime::format_err!("no room")).unwrap();
        assert!(host.memory_growing(0, 200, None).unwrap());
        assert!(!host.memory_growing(200, 201, None).unwrap());
    }
}
