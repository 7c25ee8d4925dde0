//! Events from a file, JSON lines or CSV: one partition, and an event's offset is the byte at which its line begins.
//!
//! A thread reads large chunks and cuts them where lines begin (`cutter`); batches share the chunk, so nothing is
//! copied but the broken line between two chunks. A line longer than [`MAX_LINE`] goes on as its first [`MAX_LINE`]
//! bytes, which do not decode: it becomes a dead letter with its position, and the lines after it are read as ever.
//!
//! A file that is **followed** is read on as it grows (`reader`), and is waited for while it is not there. Where another
//! file has taken its name, the rest of the old one is read first; one that was cut short is read from its beginning.
//! Positions go on counting through all of that, and a start finds the file that a position is in, whatever its name is by
//! then (`trail`). It never ends by itself.

mod cutter;
mod reader;
mod trail;

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::{SourceContext, SourceError};
pub use cutter::{Cut, MAX_LINE};
use reader::Reader;

/// How many chunks wait, cut, for the workers.
const CHUNKS_AHEAD: usize = 2;

/// How often a file that is followed is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What a file source runs with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file.
    pub path: PathBuf,
    /// Reading begins with the first line that starts at this byte or after it.
    pub start: u64,
    /// Whether it is read on as it grows.
    pub follow: bool,
    /// Where one event ends and the next begins.
    pub cut: Cut,
    /// Where it is kept which files have been read, of one that is followed; none: nowhere, and a file that was rotated
    /// cannot be gone on with after a restart.
    pub trail: Option<PathBuf>,
}

impl Options {
    /// The file's lines, from the first to the last.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), start: 0, follow: false, cut: Cut::Lines, trail: None }
    }
}

/// Reads the file to its end, which ends the partition, or until it is stopped, which does not.
///
/// # Errors
/// [`SourceError::Refused`] for a file that cannot be read, with its path; [`SourceError::Stopped`] when the workers are
/// gone.
pub async fn run(options: Options, context: SourceContext) -> Result<(), SourceError> {
    context.until_stopped(forward(options, &context)).await
}

async fn forward(options: Options, context: &SourceContext) -> Result<(), SourceError> {
    let (follow, path) = (options.follow, options.path.display().to_string());
    let start = i64::try_from(options.start).unwrap_or(i64::MAX);
    let mut reader = Reader::new(options, context);
    context.announce(&[start]).await?;
    loop {
        let (chunks, mut cut) = mpsc::channel(CHUNKS_AHEAD);
        let clock = context.clock.clone();
        // The thread ends once nobody wants its chunks, so a stop need not wait for it.
        let reading = tokio::task::spawn_blocking(move || {
            let read = reader.read(|mut batches| {
                let now = clock.now();
                batches.iter_mut().for_each(|batch| batch.arrivals = vec![now; batch.len()]);
                chunks.blocking_send(batches).is_ok()
            });
            (reader, read)
        });
        while let Some(batches) = cut.recv().await {
            for batch in batches {
                context.give(batch).await?;
            }
        }
        match reading.await {
            Ok((back, Ok(()))) => reader = back,
            Ok((_, Err(error))) => return Err(context.refused(format!("cannot read {path}: {error}"))),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
        if !follow {
            return context.end(0).await;
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests;
