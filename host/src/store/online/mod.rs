//! The online store: the newest feature row of each entity, read at request time.
//!
//! A write is a fenced upsert: of two rows for one key the one with the greater (event time, creation, term, sequence)
//! stays, whatever the order they arrive in; a row whose creation nobody knows counts as created before all. The term is a number taken durably at every start of an owner, never used twice;
//! the sequence counts an owner's writes.

mod columns;
#[cfg(test)]
mod contract;
pub mod embedded;
pub mod redis;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::buffer::ScalarBuffer;

use super::StoreError;
use crate::record::{ColumnType, NEVER_CREATED, Value};
use crate::time::Micros;

/// A name and its type.
pub type NamedType = (String, ColumnType);

/// A view as the online store knows it.
#[derive(Clone, Debug)]
pub struct OnlineView {
    /// The view's name: part of every key or field.
    pub name: String,
    /// The entity's keys, in the order of their names.
    pub keys: Vec<NamedType>,
    /// The features, in the order of the view's columns.
    pub features: Vec<NamedType>,
    /// How long a row counts as fresh; none for ever.
    pub ttl: Option<Duration>,
}

/// Rows to write: one a key at most, so that what counts is decided before it gets here.
#[derive(Clone, Debug)]
pub struct OnlineBatch {
    /// The view that the rows belong to.
    pub view: Arc<OnlineView>,
    /// The key columns, in the order of [`OnlineView::keys`].
    pub keys: Vec<ArrayRef>,
    /// The event time of each row.
    pub times: Vec<Micros>,
    /// The feature columns, in the order of [`OnlineView::features`].
    pub features: Vec<ArrayRef>,
    /// Rows whose key is to be deleted instead; none where no row is.
    pub deleted: Option<BooleanArray>,
    /// When each row was created, where rows of equal event time are told apart by it.
    pub created: Option<ScalarBuffer<Micros>>,
}

impl OnlineBatch {
    /// When a row was created; none where nobody knows.
    pub fn created_at(&self, row: usize) -> Option<Micros> {
        let created = self.created.as_ref()?.get(row).copied();
        created.filter(|created| *created != NEVER_CREATED)
    }
}

/// A row as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct OnlineRow {
    /// Its event time.
    pub event_time: Micros,
    /// The features that were asked for, in that order.
    pub values: Vec<Value>,
}

/// The writing side, owned by one thread, which may block.
pub trait OnlineWriter: Send {
    /// Takes rows in. What was taken in is visible to readers soon, and safe once [`OnlineWriter::flush`] returns.
    ///
    /// # Errors
    /// The store does not take the rows; [`crate::error::Blame::retry_helps`] says whether to try the same call again,
    /// which does no harm.
    fn write(&mut self, batch: &OnlineBatch) -> Result<(), StoreError>;

    /// Waits until everything that was written is acknowledged, and for the embedded store: on disk.
    ///
    /// # Errors
    /// As [`OnlineWriter::write`].
    fn flush(&mut self) -> Result<(), StoreError>;

    /// The mark that is in the store; none in one that was emptied or exchanged, and in a new one.
    ///
    /// # Errors
    /// As [`OnlineWriter::write`].
    fn marked(&mut self) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    /// Puts a mark in place of the one before, in one step, and says whether that was there: if it was not, the store has
    /// been emptied or exchanged since, and has the mark for that now. For the embedded store it is safe after the next
    /// flush.
    ///
    /// # Errors
    /// As [`OnlineWriter::write`]; the same call may be made again.
    fn mark(&mut self, mark: &Mark<'_>) -> Result<bool, StoreError> {
        let _: &Mark<'_> = mark;
        Ok(true)
    }
}

/// What a store is marked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark<'a> {
    /// What is there if all is well; empty: nothing.
    pub before: &'a str,
    /// What is to be there then.
    pub next: &'a str,
    /// What is to be there if something else was.
    pub lost: &'a str,
}

/// What a read gives: for each key in turn its row, or none.
pub type ReadFuture<'a> = Pin<Box<dyn Future<Output = Result<Vec<Option<OnlineRow>>, StoreError>> + Send + 'a>>;

/// The reading side, shared by all requests.
pub trait OnlineReader: Send + Sync {
    /// Reads the rows of `keys`, each the key's values in the order of [`OnlineView::keys`]; of a row the features
    /// whose indices in [`OnlineView::features`] are `features`. The ttl is the caller's to judge.
    fn read<'a>(&'a self, view: &'a OnlineView, keys: &'a [Vec<Value>], features: &'a [usize]) -> ReadFuture<'a>;
}
