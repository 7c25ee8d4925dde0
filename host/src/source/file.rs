//! JSON lines from a file: one partition, and an event's offset is the byte at which its line begins.
//!
//! A thread reads large chunks and cuts them where lines begin; batches share the chunk, so nothing is copied but the
//! broken line between two chunks. A line longer than [`MAX_LINE`] goes on as its first [`MAX_LINE`] bytes, which do not
//! decode: it becomes a dead letter with its position, and the lines after it are read as ever.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use memchr::{memchr, memrchr};
use tokio::sync::mpsc;

use super::intake::Intake;
use super::{SourceContext, SourceError, lines};
use crate::record::{Origin, RawBatch};

/// The longest line that is kept whole, in bytes.
pub const MAX_LINE: usize = 1 << 20;

/// How much is read at once.
const CHUNK: usize = 1 << 20;

/// How many chunks wait, cut, for the workers.
const CHUNKS_AHEAD: usize = 2;

/// What a file source runs with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file.
    pub path: PathBuf,
    /// Reading begins with the first line that starts at this byte or after it.
    pub start: u64,
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
    let (chunks, mut cut) = mpsc::channel(CHUNKS_AHEAD);
    let cutter = Cutter { origin: context.origin(0), rows: context.batch_rows.max(1), position: 0, skipping: false };
    let clock = context.clock.clone();
    // The thread ends once nobody wants its chunks, so a stop need not wait for it.
    let reading = tokio::task::spawn_blocking(move || {
        read(&options, cutter, |mut batches| {
            let now = clock.now();
            batches.iter_mut().for_each(|batch| batch.arrivals = vec![now; batch.len()]);
            chunks.blocking_send(batches).is_ok()
        })
        .map_err(|error| format!("cannot read {}: {error}", options.path.display()))
    });
    context.intake.send(Intake::Partitions { source: context.index, count: 1 }).await?;
    while let Some(batches) = cut.recv().await {
        for batch in batches {
            context.intake.send(Intake::Data(batch)).await?;
        }
    }
    match reading.await {
        Ok(Ok(())) => Ok(context.intake.send(Intake::End(context.origin(0))).await?),
        Ok(Err(cause)) => Err(context.refused(cause)),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Reads and cuts until the end of the file, or until `give` wants no more.
fn read(options: &Options, mut cutter: Cutter, mut give: impl FnMut(Vec<RawBatch>) -> bool) -> io::Result<()> {
    let mut file = File::open(&options.path)?;
    if options.start > 0 {
        let length = file.metadata()?.len();
        if length < options.start {
            let start = options.start;
            let cause =
                format!("it has {length} bytes but was read up to byte {start} before: is it another file now?");
            return Err(io::Error::other(cause));
        }
        // From the byte before, so that a line which starts at the very position is not skipped.
        file.seek(SeekFrom::Start(options.start - 1))?;
        cutter.position = i64::try_from(options.start - 1).map_err(io::Error::other)?;
        cutter.skipping = true;
    }
    let mut carried = Vec::new();
    loop {
        let mut buffer = Vec::with_capacity(carried.len() + CHUNK);
        buffer.append(&mut carried);
        let filled = buffer.len();
        buffer.resize(filled + CHUNK, 0);
        let count = read_some(&mut file, buffer.get_mut(filled..).unwrap_or_default())?;
        buffer.truncate(filled + count);
        let batches = cutter.cut(buffer, count == 0, &mut carried);
        if (!batches.is_empty() && !give(batches)) || count == 0 {
            return Ok(());
        }
    }
}

fn read_some(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Where in the file the cutting stands.
#[derive(Debug)]
struct Cutter {
    origin: Origin,
    rows: usize,
    /// The byte of the file at which the next buffer begins.
    position: i64,
    /// The next buffer begins within a line whose rest is not wanted.
    skipping: bool,
}

impl Cutter {
    /// Cuts the whole lines of `buffer` into batches, and leaves the bytes after them in `carried`; at the end of the
    /// file those are a line too.
    fn cut(&mut self, buffer: Vec<u8>, at_end: bool, carried: &mut Vec<u8>) -> Vec<RawBatch> {
        let mut begin = 0;
        if self.skipping {
            let newline = memchr(b'\n', &buffer);
            self.skipping = newline.is_none();
            begin = newline.map_or(buffer.len(), |newline| newline + 1);
        }
        let rest = buffer.get(begin..).unwrap_or_default();
        let too_long = rest.len() > MAX_LINE;
        let end = match memrchr(b'\n', rest) {
            _ if at_end => buffer.len(),
            Some(newline) => begin + newline + 1,
            None if too_long => {
                self.skipping = true;
                buffer.len()
            }
            None => begin,
        };
        carried.extend_from_slice(buffer.get(end..).unwrap_or_default());
        let batches = self.batches(&Bytes::from(buffer), begin..end);
        self.position += offset(end);
        batches
    }

    fn batches(&self, buffer: &Bytes, part: Range<usize>) -> Vec<RawBatch> {
        let mut lines = lines::ranges(buffer.get(part.clone()).unwrap_or_default())
            .map(|line| part.start + line.start..part.start + line.end.min(line.start + MAX_LINE))
            .peekable();
        let mut batches = Vec::new();
        while let Some(start) = lines.peek().map(|line| line.start) {
            let mut spans = Vec::with_capacity(self.rows);
            let mut offsets = Vec::with_capacity(self.rows);
            let mut end = start;
            for line in lines.by_ref().take(self.rows) {
                spans.push((span(line.start - start), span(line.end - start)));
                offsets.push(self.position + offset(line.start));
                end = line.end;
            }
            let data = buffer.slice(start..end);
            batches.push(RawBatch { origin: self.origin, data, spans, offsets, arrivals: Vec::new() });
        }
        batches
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a buffer holds a chunk and what was carried over: a few MiB")]
fn span(bytes: usize) -> u32 {
    bytes as u32
}

#[expect(clippy::cast_possible_wrap, reason = "a position within a buffer of a few MiB")]
fn offset(bytes: usize) -> i64 {
    bytes as i64
}

#[cfg(test)]
mod tests;
