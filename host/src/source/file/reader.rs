//! Reads a file as far as it goes, and a file that is followed again and again.

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Options;
use super::cutter::{Cutter, MAX_LINE};
use super::trail::{Found, Trail};
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
    /// Which files have been read; none where that is kept nowhere.
    trail: Option<Trail>,
    /// Files that came between the one that was read before this start and the one that has the name now.
    between: VecDeque<PathBuf>,
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
        let (source, between) = (context.name.clone(), VecDeque::new());
        Self { options, source, cutter, carried: Vec::new(), open: None, trail: None, between, told: false }
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
            if let Some(path) = self.options.trail.take() {
                self.trail = Some(Trail::open(path)?);
            }
            let known = self.trail.as_ref().is_some_and(|trail| !trail.is_empty());
            if named.is_none() && !(known && self.options.start > 0) {
                self.tell_absent();
                return Ok(());
            }
            self.open_at_start()?;
        }
        if let (Some(trail), Some(open)) = (&mut self.trail, &self.open) {
            trail.grown(&open.file, open.file.metadata()?.len())?;
        }
        let Some(named) = named else { return self.read_on(false, give).map(drop) };
        let Some(open) = &self.open else { return Ok(()) };
        if open.identity != identity(&named) {
            if !self.read_on(true, give)? {
                return Ok(());
            }
            let next = self.between.pop_front().unwrap_or_else(|| self.options.path.clone());
            tracing::info!(source = self.source, path = %next.display(), "another file has its name: going on with that");
            self.open = None;
            self.cutter.restart();
            self.open_next(&next)?;
            if next != self.options.path {
                return Ok(());
            }
        } else if named.len() < open.at {
            tracing::info!(source = self.source, path = %self.options.path.display(),
                "the file was cut short: reading it from its beginning");
            self.carried.clear();
            self.cutter.restart();
            let path = self.options.path.clone();
            self.open_next(&path)?;
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
        // What comes later begins with its first byte.
        let start = std::mem::take(&mut self.options.start);
        let named = self.options.path.clone();
        if start == 0 {
            if let Some(trail) = &mut self.trail {
                trail.clear();
            }
            return self.open_next(&named);
        }
        let Found { path, began, between } = match &self.trail {
            Some(trail) => trail.find(&named, start)?,
            None => Found { path: named.clone(), began: 0, between: Vec::new() },
        };
        if path != named {
            tracing::info!(source = self.source, path = %path.display(), "going on in the file that had its name before");
        }
        self.between = between.into();
        let place = start - began;
        self.open_from(&path, place.saturating_sub(1))?;
        let Some(open) = &mut self.open else { return Ok(()) };
        let length = open.file.metadata()?.len();
        if length < place {
            let cause =
                format!("it has {length} bytes but was read up to byte {place} before: is it another file now?");
            return Err(io::Error::other(cause));
        }
        if let Some(trail) = self.trail.as_mut().filter(|trail| trail.is_empty()) {
            trail.begin(began, &open.file)?;
        }
        if place == 0 {
            self.cutter.begin(position(start)?);
            return Ok(());
        }
        if self.cutter.wants_heading() {
            let mut first = vec![0; MAX_LINE];
            open.file.seek(SeekFrom::Start(0))?;
            let count = read_some(&mut open.file, &mut first)?;
            first.truncate(count);
            self.cutter.cut(first, false, &mut Vec::new());
            open.file.seek(SeekFrom::Start(place - 1))?;
        }
        // From the byte before, so that a line which starts at the very position is not skipped.
        self.cutter.resume(position(start - 1)?);
        Ok(())
    }

    /// Opens the file that follows, which begins where the one before it has ended.
    fn open_next(&mut self, path: &Path) -> io::Result<()> {
        self.open_from(path, 0)?;
        if let (Some(trail), Some(open)) = (&mut self.trail, &self.open) {
            trail.begin(u64::try_from(self.cutter.position()).unwrap_or(0), &open.file)?;
        }
        Ok(())
    }

    fn open_from(&mut self, path: &Path, at: u64) -> io::Result<()> {
        let mut file = File::open(path)?;
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

fn position(at: u64) -> io::Result<i64> {
    i64::try_from(at).map_err(io::Error::other)
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
