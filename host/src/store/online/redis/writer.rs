//! The writing side: rows go out in pipelines, one Lua call a key, over a blocking connection that the writer's thread
//! owns. It tries nothing twice: retries belong to the caller, and do no harm.

use redis::{ConnectionLike, Value as Answer};

use super::fence::{self, SCRIPT};
use super::value::{FeastValue, Timestamp, seconds};
use super::{Prepared, Shared};
use crate::record::ColumnType;
use crate::store::StoreError;
use crate::store::online::columns::{Cells, Typed, is_deleted};
use crate::store::online::{Mark, OnlineBatch, OnlineWriter};
use prost::Message;
use std::sync::Arc;

/// How many rows go out before their answers are read.
const PIPELINE: usize = 512;

/// The writing side of a [`super::RedisStore`].
pub struct RedisWriter {
    shared: Arc<Shared>,
    connection: Option<redis::Connection>,
    /// Taken once a Redis is reached, and anew where it turns out to be another one.
    term: Option<u64>,
    sequence: u64,
    /// Whether its rows are older than all others of the same owner and event time: it takes no term of its own then.
    fills: bool,
    key: Vec<u8>,
    value: Vec<u8>,
    fence: Vec<u8>,
}

/// Puts a mark in place of another. KEYS: the mark. ARGV: what is there if all is well, what is to be there then, what
/// else. A call that is made again finds what it has put itself. Returns 1 where all is well.
const MARK: &str = r"
local there = redis.call('GET', KEYS[1]) or ''
local kept = there == ARGV[1] or there == ARGV[2]
redis.call('SET', KEYS[1], kept and ARGV[2] or ARGV[3])
return kept and 1 or 0
";

impl RedisWriter {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            connection: None,
            term: None,
            sequence: 0,
            fills: false,
            key: Vec::new(),
            value: Vec::new(),
            fence: Vec::new(),
        }
    }

    /// The same, to fill in what is missing.
    pub(super) fn filling(self) -> Self {
        Self { fills: true, ..self }
    }

    /// Connects and takes a term, where that has not happened. A write does it by itself; this is for those who want
    /// to know at the start.
    ///
    /// # Errors
    /// Redis is away, not writable, or does not let us in.
    pub fn connect(&mut self) -> Result<(), StoreError> {
        self.connected().map(|_| ())
    }

    /// The connection and the term.
    fn connected(&mut self) -> Result<(&mut redis::Connection, u64), StoreError> {
        let shared = &*self.shared;
        let (connection, term) = match (self.connection.take(), self.term) {
            (Some(connection), Some(term)) if connection.is_open() => (connection, term),
            (_, former) => {
                let failed = |error| shared.error(&error);
                let timeout = shared.options.timeout;
                let mut connection = shared.client.get_connection_with_timeout(timeout).map_err(failed)?;
                connection.set_read_timeout(Some(timeout)).map_err(failed)?;
                connection.set_write_timeout(Some(timeout)).map_err(failed)?;
                let own = shared.options.term;
                let term = if self.fills { own } else { take_term(shared, &mut connection, former)? };
                (connection, term)
            }
        };
        self.term = Some(term);
        Ok((self.connection.insert(connection), term))
    }

    fn send(&mut self, pipeline: &[u8], commands: usize) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        let (connection, _) = self.connected()?;
        let answers = match connection.req_packed_commands(pipeline, 0, commands) {
            Ok(answers) => answers,
            Err(error) => {
                // What is still on its way belongs to nobody.
                self.connection = None;
                return Err(shared.error(&error));
            }
        };
        let refusal = answers.into_iter().find_map(|answer| match answer {
            Answer::ServerError(error) => Some(redis::RedisError::from(error)),
            _ => None,
        });
        refusal.map_or(Ok(()), |error| Err(shared.error(&error)))
    }
}

/// Takes a term that no owner of this Redis has had and that is not below the owner's own. `former` is the one from before the connection was lost: it is
/// kept, unless this Redis does not know of it.
fn take_term(shared: &Shared, connection: &mut redis::Connection, former: Option<u64>) -> Result<u64, StoreError> {
    let failed = |error| shared.error(&error);
    let name = format!("millrace:{}:term", shared.options.project);
    let known: Option<u64> = redis::cmd("GET").arg(&name).query(connection).map_err(failed)?;
    let known = known.unwrap_or(0);
    let mut least = shared.options.term;
    if let Some(former) = former {
        if known >= former {
            return Ok(former);
        }
        tracing::warn!(store = shared.name, "this Redis does not know of the term that it gave: a new one is taken");
        least = least.max(former.saturating_add(1));
    }
    // Of several that do this at once each gets a number of its own.
    let step = least.saturating_sub(known).max(1);
    redis::cmd("INCRBY").arg(&name).arg(step).query(connection).map_err(failed)
}

impl OnlineWriter for RedisWriter {
    fn write(&mut self, batch: &OnlineBatch) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        let prepared = shared.view(&batch.view)?;
        let typed = Typed::new(batch).map_err(|cause| shared.refused(format!("view {}: {cause}", batch.view.name)))?;
        let (_, term) = self.connected()?;
        self.sequence += u64::from(!self.fills);
        let rows: Vec<usize> = (0..batch.times.len()).collect();
        for rows in rows.chunks(PIPELINE) {
            let mut pipeline = redis::pipe();
            // Costs nothing beside a pipeline, and no restart or fail-over leaves a connection without the script.
            pipeline.cmd("SCRIPT").arg("LOAD").arg(fence::source());
            for &row in rows {
                self.upsert(&mut pipeline, prepared, batch, &typed, term, row);
            }
            self.send(&pipeline.get_packed_pipeline(), rows.len() + 1)?;
        }
        Ok(())
    }

    /// Every write has been acknowledged when it returned.
    fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn marked(&mut self) -> Result<Option<String>, StoreError> {
        let shared = self.shared.clone();
        let (connection, _) = self.connected()?;
        let mark = redis::cmd("GET").arg(shared.mark()).query(connection);
        self.answered(mark)
    }

    fn mark(&mut self, mark: &Mark<'_>) -> Result<bool, StoreError> {
        let shared = self.shared.clone();
        let (connection, _) = self.connected()?;
        let call = redis::cmd("EVAL")
            .arg(MARK)
            .arg(1)
            .arg(shared.mark())
            .arg(mark.before)
            .arg(mark.next)
            .arg(mark.lost)
            .query(connection);
        self.answered(call)
    }
}

impl RedisWriter {
    /// An answer to a call by itself.
    fn answered<T>(&mut self, answer: redis::RedisResult<T>) -> Result<T, StoreError> {
        answer.map_err(|error| {
            if !matches!(error.kind(), redis::ErrorKind::Server(_) | redis::ErrorKind::Extension) {
                // What is still on its way belongs to nobody.
                self.connection = None;
            }
            self.shared.error(&error)
        })
    }
}

impl RedisWriter {
    /// Adds one row to a pipeline; for the arguments see [`fence`].
    fn upsert(
        &mut self,
        pipeline: &mut redis::Pipeline,
        prepared: &Prepared,
        batch: &OnlineBatch,
        typed: &Typed<'_>,
        term: u64,
        row: usize,
    ) {
        let time = batch.times.get(row).copied().unwrap_or_default();
        prepared.key.row(&mut self.key, &typed.keys, row);
        fence::put(&mut self.fence, time, batch.created_at(row), term, self.sequence);
        let margin = u64::try_from(self.shared.options.margin.as_millis()).unwrap_or(u64::MAX);
        let call = pipeline
            .cmd("EVALSHA")
            .arg(SCRIPT.get_hash())
            .arg(1)
            .arg(self.key.as_slice())
            .arg(prepared.fence.as_slice())
            .arg(self.fence.as_slice())
            .arg(prepared.stamp.as_slice())
            .arg(seconds(time))
            .arg(prepared.expiry.unwrap_or(0))
            .arg(margin.max(1));
        if is_deleted(batch.deleted.as_ref(), row) {
            call.arg("delete");
            for field in &prepared.features {
                call.arg(field);
            }
        } else {
            call.arg("write").arg(Timestamp::from_micros(time).encode_to_vec());
            for ((field, cells), (_, kind)) in prepared.features.iter().zip(&typed.features).zip(&batch.view.features) {
                encode(&mut self.value, cells, kind, row);
                call.arg(field).arg(self.value.as_slice());
            }
        }
    }
}

fn encode(out: &mut Vec<u8>, cells: &Cells<'_>, kind: &ColumnType, row: usize) {
    out.clear();
    FeastValue::new(cells.value(row), kind).encode(out).expect("a vector grows");
}
