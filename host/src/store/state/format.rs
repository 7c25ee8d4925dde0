//! The bytes of chunks, commit records and the folder's header, version 1 each.
//!
//! All are sealed as [`crate::store::sealed`] says; numbers are little-endian, a text is its length, u32, and UTF-8.
//! ```text
//! header, "MRSH"   project, text · key groups, u16 · the state's id, u64
//! term,   "MRST"   the newest term, u64
//! record, "MRSR"   the commit record, as JSON
//! chunk,  "MRSP"   epoch, u64 · number, u32 · stage, text              where it belongs
//!                  runs: their number, u32, each
//!                    table, u16 · part's number, i64 · shape, u16 · rows, u32
//!                  shapes: their number, u16, each
//!                    length, u32 · an Arrow IPC stream of one record batch, not compressed
//! ```
//! A run is a part of an operator's state, or a stretch of one. Runs alike in their columns share a shape, whose rows
//! are theirs one after the other: a hundred panes of three rows take one schema, not a hundred.
//!
//! Fixtures of these bytes are in the tests, and stay there when a version 2 comes.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::error::ArrowError;
use arrow::ipc::MetadataVersion;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use bytes::Buf;

use crate::engine::checkpoint::Commit;
use crate::engine::state::Part;
use crate::store::fields::{put_text, take_bytes, take_text};
use crate::store::sealed::{self, Unreadable, damaged};

const VERSION: u16 = 1;
const HEADER: [u8; 4] = *b"MRSH";
const TERM: [u8; 4] = *b"MRST";
const RECORD: [u8; 4] = *b"MRSR";
const CHUNK: [u8; 4] = *b"MRSP";

/// Whose folder it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) project: String,
    pub(super) key_groups: u16,
    /// Drawn when the folder was made.
    pub(super) id: u64,
}

pub(super) fn encode_header(header: &Header) -> Option<Vec<u8>> {
    seal(HEADER, |out| {
        put_text(out, &header.project);
        out.extend_from_slice(&header.key_groups.to_le_bytes());
        out.extend_from_slice(&header.id.to_le_bytes());
    })
}

pub(super) fn decode_header(value: &[u8]) -> Result<Header, Unreadable> {
    let mut body = sealed::open(value, HEADER, VERSION)?;
    let header = take_text(&mut body).and_then(|project| {
        Some(Header { project, key_groups: body.try_get_u16_le().ok()?, id: body.try_get_u64_le().ok()? })
    });
    header.filter(|_| body.is_empty()).ok_or_else(|| damaged("its fields do not read"))
}

pub(super) fn encode_term(term: u64) -> Option<Vec<u8>> {
    seal(TERM, |out| out.extend_from_slice(&term.to_le_bytes()))
}

pub(super) fn decode_term(value: &[u8]) -> Result<u64, Unreadable> {
    let mut body = sealed::open(value, TERM, VERSION)?;
    body.try_get_u64_le().ok().filter(|_| body.is_empty()).ok_or_else(|| damaged("it is no number"))
}

pub(super) fn encode_record(commit: &Commit) -> Result<Vec<u8>, String> {
    let json = serde_json::to_vec(commit).map_err(|error| error.to_string())?;
    seal(RECORD, |out| out.extend_from_slice(&json)).ok_or_else(|| "it exceeds 4 GiB".into())
}

pub(super) fn decode_record(value: &[u8]) -> Result<Commit, Unreadable> {
    let body = sealed::open(value, RECORD, VERSION)?;
    serde_json::from_slice(body).map_err(|error| damaged(format!("it does not read: {error}")))
}

fn seal(magic: [u8; 4], write: impl FnOnce(&mut Vec<u8>)) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    sealed::begin(&mut out, magic, VERSION);
    write(&mut out);
    sealed::finish(&mut out)?;
    Some(out)
}

/// Where a chunk belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Place<'a> {
    pub(in crate::store) epoch: u64,
    pub(in crate::store) stage: &'a str,
    pub(in crate::store) number: u32,
}

/// Writes a chunk into `out`, replacing what it held.
pub(super) fn encode(out: &mut Vec<u8>, place: Place<'_>, runs: &[Part]) -> Result<(), ArrowError> {
    let mut shapes: Vec<Vec<&RecordBatch>> = Vec::new();
    sealed::begin(out, CHUNK, VERSION);
    out.extend_from_slice(&place.epoch.to_le_bytes());
    out.extend_from_slice(&place.number.to_le_bytes());
    put_text(out, place.stage);
    out.extend_from_slice(&count(runs.len())?.to_le_bytes());
    for run in runs {
        let shape = shapes.iter().position(|shape| alike(shape, &run.rows)).unwrap_or(shapes.len());
        match shapes.get_mut(shape) {
            Some(rows) => rows.push(&run.rows),
            None => shapes.push(vec![&run.rows]),
        }
        out.extend_from_slice(&run.table.to_le_bytes());
        out.extend_from_slice(&run.number.to_le_bytes());
        out.extend_from_slice(&u16::try_from(shape).map_err(|_| too_long())?.to_le_bytes());
        out.extend_from_slice(&count(run.rows.num_rows())?.to_le_bytes());
    }
    out.extend_from_slice(&u16::try_from(shapes.len()).map_err(|_| too_long())?.to_le_bytes());
    let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5)?;
    for shape in &shapes {
        let length = out.len();
        out.extend_from_slice(&[0; 4]);
        let rows = match shape.as_slice() {
            [rows] => (*rows).clone(),
            several => concat_batches(several.first().ok_or_else(too_long)?.schema_ref(), several.iter().copied())?,
        };
        let mut stream = StreamWriter::try_new_with_options(&mut *out, rows.schema_ref(), options.clone())?;
        stream.write(&rows)?;
        stream.finish()?;
        let written = count(out.len() - length - 4)?;
        if let Some(field) = out.get_mut(length..length + 4) {
            field.copy_from_slice(&written.to_le_bytes());
        }
    }
    sealed::finish(out).ok_or_else(too_long)
}

fn alike(shape: &[&RecordBatch], rows: &RecordBatch) -> bool {
    shape.first().is_some_and(|first| first.schema_ref() == rows.schema_ref())
}

fn too_long() -> ArrowError {
    ArrowError::IpcError("a length exceeds what a chunk holds".into())
}

fn count(length: usize) -> Result<u32, ArrowError> {
    u32::try_from(length).map_err(|_| too_long())
}

/// The runs of the chunk that belongs to `place`, verified.
pub(in crate::store) fn decode(value: &[u8], place: Place<'_>) -> Result<Vec<Part>, Unreadable> {
    let mut body = sealed::open(value, CHUNK, VERSION)?;
    let (runs, shapes) = take(&mut body, place)?.ok_or_else(|| damaged("its fields do not read"))?;
    let shapes: Vec<RecordBatch> = shapes.into_iter().map(batch).collect::<Result<_, _>>()?;
    let mut given = vec![0_usize; shapes.len()];
    let mut parts = Vec::with_capacity(runs.len());
    for run in runs {
        let shape = usize::from(run.shape);
        let (Some(rows), Some(given)) = (shapes.get(shape), given.get_mut(shape)) else {
            return Err(damaged("a run has none of its shapes"));
        };
        if run.rows > rows.num_rows() - *given {
            return Err(damaged("its runs have more rows than its shapes"));
        }
        parts.push(Part { table: run.table, number: run.number, rows: rows.slice(*given, run.rows) });
        *given += run.rows;
    }
    if shapes.iter().zip(&given).any(|(rows, given)| rows.num_rows() != *given) {
        return Err(damaged("its runs have fewer rows than its shapes"));
    }
    Ok(parts)
}

struct Run {
    table: u16,
    number: i64,
    shape: u16,
    rows: usize,
}

type RunsAndShapes<'a> = (Vec<Run>, Vec<&'a [u8]>);

fn take<'a>(body: &mut &'a [u8], place: Place<'_>) -> Result<Option<RunsAndShapes<'a>>, Unreadable> {
    let (Ok(epoch), Ok(number)) = (body.try_get_u64_le(), body.try_get_u32_le()) else { return Ok(None) };
    let Some(stage) = take_text(body) else { return Ok(None) };
    if (Place { epoch, stage: &stage, number }) != place {
        return Err(damaged(format!("it is chunk {number} of stage {stage} in epoch {epoch}")));
    }
    Ok(take_runs(body).filter(|_| body.is_empty()))
}

fn take_runs<'a>(body: &mut &'a [u8]) -> Option<RunsAndShapes<'a>> {
    let runs = (0..body.try_get_u32_le().ok()?)
        .map(|_| {
            Some(Run {
                table: body.try_get_u16_le().ok()?,
                number: body.try_get_i64_le().ok()?,
                shape: body.try_get_u16_le().ok()?,
                rows: body.try_get_u32_le().ok()? as usize,
            })
        })
        .collect::<Option<_>>()?;
    let shapes = (0..body.try_get_u16_le().ok()?).map(|_| take_bytes(body)).collect::<Option<_>>()?;
    Some((runs, shapes))
}

/// The rows of a shape. The CRC vouches for them: Arrow's reader is not made for bytes that nobody wrote.
fn batch(columns: &[u8]) -> Result<RecordBatch, Unreadable> {
    let unreadable = |error: ArrowError| damaged(format!("its columns do not read: {error}"));
    let mut stream = StreamReader::try_new(columns, None).map_err(unreadable)?;
    let rows = stream.next().ok_or_else(|| damaged("a shape has no rows"))?.map_err(unreadable)?;
    if stream.next().is_some() {
        return Err(damaged("a shape has more than one batch"));
    }
    Ok(rows)
}
