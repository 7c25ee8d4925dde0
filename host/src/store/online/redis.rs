//! The online store in Redis, laid out exactly as Feast lays it out, so that Feast's own clients read what Millrace
//! writes and the other way round.
//!
//! A hash an entity, under Feast's serialised entity key (`key`). In it, for each view and feature:
//! ```text
//! murmur3_x86_32("VIEW:FEATURE"), 4 bytes little-endian  →  feast.types.Value (`value`)
//! "_ts:VIEW"                                             →  google.protobuf.Timestamp, the event time
//! "_mr:VIEW"                                             →  ours: the fence of the newest write (`fence`)
//! ```
//! Feast compares and writes in two steps; here one Lua call a key does both, and touches that key alone, so that it
//! works in a cluster's slots too. A row that Feast wrote later than ours counts as newer.
//!
//! Beside the entities there are two keys of ours: `millrace:PROJECT:term`, the last term that an owner took, and
//! `millrace:PROJECT:mark`, by which one notices that this Redis was emptied or exchanged.
//!
//! An entity's hash expires after the greatest ttl of its views and a margin, never if one of them has none. A hash
//! that is there without expiry, from Feast or an earlier configuration, keeps none.

mod fence;
mod key;
mod reader;
#[cfg(test)]
mod server;
#[cfg(test)]
mod tests;
mod value;
mod writer;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::columns::check_keys;
use super::{NamedType, OnlineView};
use crate::record::ColumnType;
use crate::store::StoreError;
pub use key::KeyVersion;
pub use reader::RedisReader;
pub use writer::RedisWriter;

/// Which Redis, and how entities are named in it.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// `redis://[user:password@]host:port[/database]` or `redis+unix:///path`.
    pub url: String,
    /// Feast's project name: the end of every key.
    pub project: String,
    /// How entity keys are serialised: Feast's `entity_key_serialization_version`.
    pub key_version: KeyVersion,
    /// How long a connection, an answer to a read, or an answer to a batch of writes may take.
    pub timeout: Duration,
    /// The owner's own term. The one it takes in Redis is not below it, and above all that this Redis knows of: so rows
    /// of an older owner lose, also where Redis has lost its count of the terms.
    pub term: u64,
    /// How much longer than the greatest ttl of its views an entity's hash stays.
    pub margin: Duration,
}

impl RedisOptions {
    /// Those for a project, with a time-out of 5 s, a margin of a day, and whichever term Redis gives.
    pub fn new(url: impl Into<String>, project: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            project: project.into(),
            key_version: KeyVersion::V3,
            timeout: Duration::from_secs(5),
            term: 0,
            margin: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// The online store in Redis.
pub struct RedisStore;

impl RedisStore {
    /// Makes both sides of the store for those views, all of the project's: an entity's expiry follows from its views.
    /// Nothing is sent: writer and reader connect when they are first used, and again whenever the connection is lost.
    ///
    /// # Errors
    /// The URL cannot be read, or a key has a type that no key can have.
    pub fn open(options: RedisOptions, views: &[Arc<OnlineView>]) -> Result<(RedisWriter, RedisReader), StoreError> {
        let client = redis::Client::open(options.url.as_str()).map_err(|error| StoreError::Refused {
            store: "Redis".into(),
            cause: format!("its URL cannot be used ({error}); write redis://HOST:PORT"),
        })?;
        let shared = Arc::new(Shared::new(client, options, views)?);
        Ok((RedisWriter::new(shared.clone()), RedisReader::new(shared)))
    }
}

impl RedisStore {
    /// What fills the store, beside a writer with the same options: its rows are older than all others of this owner with
    /// the same event time.
    ///
    /// # Errors
    /// As [`RedisStore::open`].
    pub fn filler(options: RedisOptions, views: &[Arc<OnlineView>]) -> Result<RedisWriter, StoreError> {
        let (writer, _) = Self::open(options, views)?;
        Ok(writer.filling())
    }
}

/// What writer and reader share.
struct Shared {
    client: redis::Client,
    options: RedisOptions,
    /// The store in messages, without a password.
    name: String,
    views: HashMap<String, Prepared>,
}

/// What of a view does not change from row to row.
struct Prepared {
    view: Arc<OnlineView>,
    key: key::KeyWriter,
    /// `_ts:VIEW`.
    stamp: Vec<u8>,
    /// `_mr:VIEW`.
    fence: Vec<u8>,
    /// The hash field of each feature.
    features: Vec<[u8; 4]>,
    /// How long the entity's hash stays after a write, in milliseconds; none for ever.
    expiry: Option<u64>,
}

impl Shared {
    fn new(client: redis::Client, options: RedisOptions, views: &[Arc<OnlineView>]) -> Result<Self, StoreError> {
        let name = format!("Redis at {}", client.get_connection_info().addr());
        for view in views {
            check_keys(&name, view)?;
            check_fields(&name, view)?;
        }
        let prepared = views.iter().map(|view| {
            let prepared = Prepared {
                view: view.clone(),
                key: key::KeyWriter::new(options.key_version, &options.project, &view.keys),
                stamp: format!("_ts:{}", view.name).into_bytes(),
                fence: format!("_mr:{}", view.name).into_bytes(),
                features: view.features.iter().map(|(feature, _)| key::field(&view.name, feature)).collect(),
                expiry: expiry(views, &view.keys, options.margin),
            };
            (view.name.clone(), prepared)
        });
        let views: HashMap<_, _> = prepared.collect();
        Ok(Self { client, name, views, options })
    }

    /// The key of the mark.
    fn mark(&self) -> String {
        format!("millrace:{}:mark", self.options.project)
    }

    fn view(&self, view: &OnlineView) -> Result<&Prepared, StoreError> {
        let prepared = self
            .views
            .get(&view.name)
            .filter(|prepared| prepared.view.keys == view.keys && prepared.view.features == view.features);
        prepared.ok_or_else(|| self.refused(format!("view {} is not one of those it was opened with", view.name)))
    }

    fn refused(&self, cause: String) -> StoreError {
        StoreError::Refused { store: self.name.clone(), cause }
    }

    fn unavailable(&self, cause: String) -> StoreError {
        StoreError::Unavailable { store: self.name.clone(), cause }
    }

    /// What an error of Redis or of the way to it means.
    fn error(&self, error: &RedisError) -> StoreError {
        let cause = error.to_string();
        if helps_to_retry(error) { self.unavailable(cause) } else { self.refused(cause) }
    }
}

/// Whether the same call may succeed later: the network, a server that starts, fails over, is full or read-only.
fn helps_to_retry(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Io | ErrorKind::Parse => true,
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::BusyLoading
                | ServerErrorKind::NoScript
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
        ),
        ErrorKind::Extension => {
            matches!(error.code(), Some("OOM" | "MISCONF" | "BUSY" | "NOREPLICAS" | "UNKILLABLE"))
        }
        _ => error.is_timeout() || error.is_connection_dropped(),
    }
}

/// Two features of a view whose names hash alike would overwrite each other.
fn check_fields(store: &str, view: &OnlineView) -> Result<(), StoreError> {
    let mut seen = HashMap::new();
    for (feature, _) in &view.features {
        if let Some(other) = seen.insert(key::field(&view.name, feature), feature) {
            return Err(StoreError::Refused {
                store: store.into(),
                cause: format!("view {}: the names {other} and {feature} hash alike; rename one", view.name),
            });
        }
    }
    Ok(())
}

/// How long the hash of the entity with those keys stays, in milliseconds: none if one of its views has no ttl.
fn expiry(views: &[Arc<OnlineView>], keys: &[NamedType], margin: Duration) -> Option<u64> {
    let sorted = |keys: &[NamedType]| {
        let mut keys: Vec<(String, ColumnType)> = keys.to_vec();
        keys.sort_by(|(one, _), (other, _)| one.cmp(other));
        keys
    };
    let entity = sorted(keys);
    let ttls: Option<Vec<Duration>> =
        views.iter().filter(|view| sorted(&view.keys) == entity).map(|view| view.ttl).collect();
    let longest = ttls?.into_iter().max()?.saturating_add(margin);
    // Redis refuses what overflows its clock; a century is for ever.
    u64::try_from(longest.as_millis()).ok().filter(|millis| *millis < 100 * 365 * 24 * 3600 * 1000)
}
