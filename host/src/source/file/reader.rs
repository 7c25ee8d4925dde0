//! Reads a file as far as it goes, and a file that is followed again and again.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;

use super::Options;
use super::cutter::{Cutter, MAX_LINE};
use crate::record::RawBatch;
use crate::source::SourceContext;

/// How much is read at once.
const CHUNK: usize = 1 << 20;

/// Where reading stands.
#[derive(Debug)]
pub(super) struct Reader {
    options: Options,
    /// The source's name, for messages.
    source: String,
    cutter: Cutter,
    /// What was read of a line whose end was not.
    carried: Vec<u8>,
    open: Option<Open>,
    /// It was said that the file is not there.
    told: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// How far it was read.
    at: u64,
    /// Which file it is, whatever its name.
    identity: (u64, u64),
}

impl Reader {
    pub(super) fn new(options: Options, context: &SourceContext) -> Self {
        let cutter = Cutter::new(context.origin(0), context.batch_rows, options.cut);
        Self { options, source: context.name.clone(), cutter, carried: Vec::new(), open: None, told: false }
    }

    /// Reads and cuts until the end of what is there, or until `give` wants no more.
    pub(super) fn read(&mut self, mut give: impl FnMut(Vec<RawBatch>) -> bool) -> io::Result<()> {
        if !self.options.follow {
            self.open_at_start()?;
            return self.read_on(true, &mut give).map(drop);
        }
        match self.look(&mut give) {
            // It lost its name between two looks.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Reads what has come to a file that is followed.
    fn look(&mut self, give: &mut impl FnMut(Vec<RawBatch>) -> bool) -> io::Result<()> {
        // First who has the name now, then the rest: what was written before the name changed is read.
        let named = match std::fs::metadata(&self.options.path) {
            Ok(named) => Some(named),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if self.open.is_none() {
            if named.is_none() {
                self.tell_absent();
                return Ok(());
            }
            self.open_at_start()?;
        }
        let Some(named) = named else { return self.read_on(false, give).map(drop) };
        let Some(open) = &self.open else { return Ok(()) };
        if open.identity != identity(&named) {
            if !self.read_on(true, give)? {
                return Ok(());
            }
            tracing::info!(source = self.source, path = %self.options.path.display(),
                "another file has its name: going on with that");
            self.open = None;
            self.cutter.restart();
            self.open_from(0)?;
        } else if named.len() < open.at {
            tracing::info!(source = self.source, path = %self.options.path.display(),
                "the file was cut short: reading it from its beginning");
            self.carried.clear();
            self.cutter.restart();
            self.open_from(0)?;
        }
        self.read_on(false, give).map(drop)
    }

    /// Reads to the end, which is the end of the last line too where the file is `complete`; false if `give` wants no
    /// more.
    fn read_on(&mut self, complete: bool, give: &mut impl FnMut(Vec<RawBatch>) -> bool) -> io::Result<bool> {
        let Self { open: Some(open), cutter, carried, .. } = self else { return Ok(true) };
        if !complete && open.file.metadata()?.len() == open.at {
            return Ok(true);
        }
        loop {
            let mut buffer = Vec::with_capacity(carried.len() + CHUNK);
            buffer.append(carried);
            let filled = buffer.len();
            buffer.resize(filled + CHUNK, 0);
            let count = read_some(&mut open.file, buffer.get_mut(filled..).unwrap_or_default())?;
            buffer.truncate(filled + count);
            open.at += count as u64;
            let batches = cutter.cut(buffer, complete && count == 0, carried);
            if !batches.is_empty() && !give(batches) {
                return Ok(false);
            }
            if count == 0 {
                return Ok(true);
            }
        }
    }

    /// Opens the file where reading is to begin.
    fn open_at_start(&mut self) -> io::Result<()> {
        let start = self.options.start;
        self.open_from(start.saturating_sub(1))?;
        if start == 0 {
            return Ok(());
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        let length = open.file.metadata()?.len();
        if length < start {
            let cause =
                format!("it has {length} bytes but was read up to byte {start} before: is it another file now?");
            return Err(io::Error::other(cause));
        }
        if self.cutter.wants_heading() {
            let mut first = vec![0; MAX_LINE];
            open.file.seek(SeekFrom::Start(0))?;
            let count = read_some(&mut open.file, &mut first)?;
            first.truncate(count);
            self.cutter.cut(first, false, &mut Vec::new());
            open.file.seek(SeekFrom::Start(start - 1))?;
        }
        // From the byte before, so that a line which starts at the very position is not skipped.
        self.cutter.resume(i64::try_from(start - 1).map_err(io::Error::other)?);
        Ok(())
    }

    fn open_from(&mut self, at: u64) -> io::Result<()> {
        let mut file = File::open(&self.options.path)?;
        if at > 0 {
            file.seek(SeekFrom::Start(at))?;
        }
        let identity = identity(&file.metadata()?);
        self.open = Some(Open { file, at, identity });
        if std::mem::take(&mut self.told) {
            tracing::info!(source = self.source, path = %self.options.path.display(),
                "the file is there");
        }
        Ok(())
    }

    fn tell_absent(&mut self) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(source = self.source, path = %self.options.path.display(),
                "there is no such file yet: waiting for it");
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn read_some(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
