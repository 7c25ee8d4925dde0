//! The reading side: all keys of a request in one round trip, over one connection that all requests share.

use std::sync::Arc;

use prost::Message;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::sync::OnceCell;

use super::value::{FeastValue, Timestamp};
use super::{Prepared, Shared};
use crate::record::Value;
use crate::store::StoreError;
use crate::store::online::columns::check_key;
use crate::store::online::{NamedType, OnlineReader, OnlineRow, OnlineView, ReadFuture};

/// The reading side of a [`super::RedisStore`]; clones share its connection.
#[derive(Clone)]
pub struct RedisReader {
    shared: Arc<Shared>,
    /// Made within the runtime of the first read.
    connection: Arc<OnceCell<ConnectionManager>>,
}

/// The fields of one key, as Redis gives them.
type Fields = Vec<Option<Vec<u8>>>;

impl RedisReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, connection: Arc::new(OnceCell::new()) }
    }

    async fn connection(&self) -> Result<ConnectionManager, StoreError> {
        let make = || async {
            let config = ConnectionManagerConfig::new()
                .set_number_of_retries(0)
                .set_connection_timeout(Some(self.shared.options.timeout))
                .set_response_timeout(Some(self.shared.options.timeout));
            ConnectionManager::new_lazy_with_config(self.shared.client.clone(), config)
        };
        let connection = self.connection.get_or_try_init(make).await;
        connection.cloned().map_err(|error| self.shared.error(&error))
    }

    async fn read_all(
        &self,
        view: &OnlineView,
        keys: &[Vec<Value>],
        features: &[usize],
    ) -> Result<Vec<Option<OnlineRow>>, StoreError> {
        let prepared = self.shared.view(view)?;
        let asked: Option<Vec<_>> = features
            .iter()
            .map(|feature| Some((prepared.features.get(*feature)?, prepared.view.features.get(*feature)?)))
            .collect();
        let asked = asked.ok_or_else(|| self.shared.refused(format!("view {} has fewer features", view.name)))?;

        let mut pipeline = redis::pipe();
        let mut entity = Vec::new();
        let mut sent = Vec::with_capacity(keys.len());
        for key in keys {
            let whole = check_key(&prepared.view.keys, key)
                .map_err(|cause| self.shared.refused(format!("view {}: {cause}", view.name)))?;
            sent.push(whole);
            if whole {
                prepared.key.values(&mut entity, key);
                let call = pipeline.cmd("HMGET").arg(entity.as_slice()).arg(prepared.stamp.as_slice());
                for (field, _) in &asked {
                    call.arg(*field);
                }
            }
        }
        let found: Vec<Fields> = if sent.contains(&true) { self.ask(&pipeline).await? } else { Vec::new() };
        let mut found = found.into_iter();
        sent.into_iter()
            .map(|sent| match sent.then(|| found.next()).flatten() {
                Some(fields) => self.row(prepared, &asked, fields),
                None => Ok(None),
            })
            .collect()
    }

    async fn ask(&self, pipeline: &redis::Pipeline) -> Result<Vec<Fields>, StoreError> {
        let mut connection = self.connection().await?;
        let answer = tokio::time::timeout(self.shared.options.timeout, pipeline.query_async(&mut connection)).await;
        match answer {
            Ok(answer) => answer.map_err(|error| self.shared.error(&error)),
            Err(_) => Err(self.shared.unavailable(format!("no answer within {:?}", self.shared.options.timeout))),
        }
    }

    fn row(
        &self,
        prepared: &Prepared,
        asked: &[(&[u8; 4], &NamedType)],
        fields: Fields,
    ) -> Result<Option<OnlineRow>, StoreError> {
        let damaged = |cause: String| StoreError::Damaged {
            store: self.shared.name.clone(),
            cause: format!("view {}: {cause}", prepared.view.name),
        };
        let mut fields = fields.into_iter();
        let Some(stamp) = fields.next().flatten() else { return Ok(None) };
        let stamp = Timestamp::decode(stamp.as_slice()).map_err(|error| damaged(format!("its timestamp: {error}")))?;
        let values = asked.iter().zip(fields).map(|((_, (name, kind)), bytes)| {
            let Some(bytes) = bytes else { return Ok(Value::Null) };
            let value = FeastValue::decode(bytes.as_slice()).map_err(|error| damaged(format!("{name}: {error}")))?;
            value.into_value(kind).ok_or_else(|| damaged(format!("{name} holds something else than a {kind}")))
        });
        let values = values.collect::<Result<Vec<_>, _>>()?;
        Ok(Some(OnlineRow { event_time: stamp.micros(), values }))
    }
}

impl OnlineReader for RedisReader {
    fn read<'a>(&'a self, view: &'a OnlineView, keys: &'a [Vec<Value>], features: &'a [usize]) -> ReadFuture<'a> {
        Box::pin(self.read_all(view, keys, features))
    }
}
