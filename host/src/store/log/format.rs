//! A chunk's bytes, version 1.
//!
//! It is sealed as [`crate::store::sealed`] says, with the magic "MRLG". Of the body, at
//! ```text
//!  16  4  length of the header, h       numbers are little-endian; a text is its length, u32, and UTF-8
//!  20  h  header: kind, u8: 0 close, 1 update, 2 tombstone; plus 128 where the rows were not given to the online store
//!                 epoch, u64
//!                 written at, i64: microseconds since 1970 by the wall clock
//!                 rows, u32
//!                 view, text · view version, text
//!                 UDF digests: their number, u32, each a text
//!                 source positions: their number, u32, each source, text · partition, u32 · next offset, i64
//! 20+h    columns: an Arrow IPC stream of one record batch, not compressed
//! ```
//! A fixture of these bytes is in the tests, and stays there when a version 2 comes.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::MetadataVersion;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use bytes::Buf;

use crate::store::fields::{put_text, take_bytes, take_text};
use crate::store::sealed::{self, BODY, Unreadable, damaged};
use crate::time::Micros;

/// Says that rows were not given to the online store.
const OFFLINE: u8 = 128;

const MAGIC: [u8; 4] = *b"MRLG";
const VERSION: u16 = 1;

/// Which rows a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChunkKind {
    /// Rows of windows that have closed, and of views without windows.
    Close,
    /// Provisional rows: outside of determinism.
    Update,
    /// Keys that are empty from a time on, and deleted online.
    Tombstone,
}

impl ChunkKind {
    /// Its name, as commands print it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Update => "update",
            Self::Tombstone => "tombstone",
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Close => 0,
            Self::Update => 1,
            Self::Tombstone => 2,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [Self::Close, Self::Update, Self::Tombstone].into_iter().find(|kind| kind.number() == number)
    }
}

/// How far a partition of a source had been read when the rows were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The source, by name.
    pub source: String,
    /// Its partition.
    pub partition: u32,
    /// The offset of the first event that is not in yet.
    pub next_offset: i64,
}

/// What a chunk says of its rows: all that it takes to make them again, and to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    /// The view, by name.
    pub view: String,
    /// The hash of the view's resolved definition.
    pub view_version: String,
    /// Which rows these are.
    pub kind: ChunkKind,
    /// Whether they were given to the online store too, where the view is online: not what fires for the end of all input
    /// alone.
    pub online: bool,
    /// The epoch in which they were written.
    pub epoch: u64,
    /// The wall-clock time from which they could be read online.
    pub written_at: Micros,
    /// The digests of the UDFs that made them.
    pub udfs: Vec<String>,
    /// How far the sources had been read.
    pub positions: Vec<Position>,
}

/// Writes a chunk into `out`, replacing what it held.
///
/// # Errors
/// The batch cannot be written as Arrow IPC, or a length exceeds 4 GiB.
pub(super) fn encode(out: &mut Vec<u8>, header: &ChunkHeader, batch: &RecordBatch) -> Result<(), ArrowError> {
    sealed::begin(out, MAGIC, VERSION);
    out.extend_from_slice(&[0; 4]);
    put_header(out, header, count(batch.num_rows())?)?;
    let length = count(out.len() - BODY - 4)?;
    if let Some(field) = out.get_mut(BODY..BODY + 4) {
        field.copy_from_slice(&length.to_le_bytes());
    }
    let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5)?;
    let mut stream = StreamWriter::try_new_with_options(&mut *out, batch.schema_ref(), options)?;
    stream.write(batch)?;
    stream.finish()?;
    sealed::finish(out).ok_or_else(too_long)
}

fn too_long() -> ArrowError {
    ArrowError::IpcError("a length exceeds 4 GiB".into())
}

fn count(length: usize) -> Result<u32, ArrowError> {
    u32::try_from(length).map_err(|_| too_long())
}

fn put_header(out: &mut Vec<u8>, header: &ChunkHeader, rows: u32) -> Result<(), ArrowError> {
    out.push(header.kind.number() | if header.online { 0 } else { OFFLINE });
    out.extend_from_slice(&header.epoch.to_le_bytes());
    out.extend_from_slice(&header.written_at.to_le_bytes());
    out.extend_from_slice(&rows.to_le_bytes());
    put_text(out, &header.view);
    put_text(out, &header.view_version);
    out.extend_from_slice(&count(header.udfs.len())?.to_le_bytes());
    for udf in &header.udfs {
        put_text(out, udf);
    }
    out.extend_from_slice(&count(header.positions.len())?.to_le_bytes());
    for position in &header.positions {
        put_text(out, &position.source);
        out.extend_from_slice(&position.partition.to_le_bytes());
        out.extend_from_slice(&position.next_offset.to_le_bytes());
    }
    Ok(())
}

/// A chunk's parts.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) header: ChunkHeader,
    pub(super) rows: u32,
    columns: &'a [u8],
}

/// Reads a chunk up to its body, and verifies all of it.
pub(super) fn decode(chunk: &[u8]) -> Result<Parts<'_>, Unreadable> {
    let mut body = sealed::open(chunk, MAGIC, VERSION)?;
    let header = take_bytes(&mut body).and_then(|mut fields| take_header(&mut fields));
    let (header, rows) = header.ok_or_else(|| damaged("its header does not read"))?;
    Ok(Parts { header, rows, columns: body })
}

fn take_header(fields: &mut &[u8]) -> Option<(ChunkHeader, u32)> {
    let kind = fields.try_get_u8().ok()?;
    let (kind, online) = (ChunkKind::from_number(kind & !OFFLINE)?, kind & OFFLINE == 0);
    let epoch = fields.try_get_u64_le().ok()?;
    let written_at = fields.try_get_i64_le().ok()?;
    let rows = fields.try_get_u32_le().ok()?;
    let view = take_text(fields)?;
    let view_version = take_text(fields)?;
    let udfs = (0..fields.try_get_u32_le().ok()?).map(|_| take_text(fields)).collect::<Option<_>>()?;
    let positions = (0..fields.try_get_u32_le().ok()?)
        .map(|_| {
            Some(Position {
                source: take_text(fields)?,
                partition: fields.try_get_u32_le().ok()?,
                next_offset: fields.try_get_i64_le().ok()?,
            })
        })
        .collect::<Option<_>>()?;
    fields
        .is_empty()
        .then_some((ChunkHeader { view, view_version, kind, online, epoch, written_at, udfs, positions }, rows))
}

impl Parts<'_> {
    /// The rows. The CRC vouches for them: Arrow's reader is not made for bytes that nobody wrote.
    pub(super) fn batch(&self) -> Result<RecordBatch, Unreadable> {
        let unreadable = |error: ArrowError| damaged(format!("its columns do not read: {error}"));
        let mut stream = StreamReader::try_new(self.columns, None).map_err(unreadable)?;
        let batch = match stream.next() {
            Some(batch) => batch.map_err(unreadable)?,
            None => RecordBatch::new_empty(Arc::clone(&stream.schema())),
        };
        if batch.num_rows() != self.rows as usize || stream.next().is_some() {
            return Err(damaged("it has other rows than its header says"));
        }
        Ok(batch)
    }
}
