//! State of many keys as a sliding window view has it, without a stream that made it: count, average and deviation over
//! ten minutes every minute, each key with one event in one of the last ten panes and with the last row that it was given.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use millrace::config::plan::{Operator, Plan, plan};
use millrace::config::read_text;
use millrace::engine::checkpoint::{Commit, Protocol, Step};
use millrace::engine::key;
use millrace::engine::lineage::Lineage;
use millrace::engine::rows::KeyedBatch;
use millrace::engine::state::{Part, Stateful};
use millrace::engine::watermark::BEFORE_ALL;
use millrace::engine::window::Outcome;
use millrace::engine::window::operator::WindowOperator;
use millrace::record::RawBatch;
use millrace::store::state::StateStore;
use millrace::time::{Micros, SECOND};
use millrace::wasm::Engine;

pub(crate) type Failure = Box<dyn std::error::Error>;

const PROJECT: &str = r#"
[project]
name = "bench"
[entities.user]
keys = { user = "int64" }
[sources.events]
type = "push"
schema = { at = "timestamp", user = "int64", amount = "float64" }
event-time = { column = "at", format = "epoch-millis" }
[views.v]
entity = "user"
from = "events"
window = { sliding = "10m", step = "1m" }
[views.v.features]
num = { aggregate = "count" }
avg = { aggregate = "avg", of = "amount" }
stdev = { aggregate = "stddev_samp", of = "amount" }
"#;

const BATCH: usize = 1_024;
const MINUTE: Micros = 60 * SECOND;

/// The time of what changes later: the pane behind those that [`seed`] fills.
const LATER: Micros = 10 * MINUTE + SECOND;

/// The project's plan.
pub(crate) fn planned(engine: &Engine) -> Result<Arc<Plan>, Failure> {
    let (project, text) = read_text("bench.toml", PROJECT.to_owned(), Path::new("."), &|_| None, &[])?;
    Ok(Arc::new(plan(&project, &text, engine)?))
}

/// The id of its only stage.
pub(crate) fn stage(plan: &Plan) -> Result<String, Failure> {
    plan.stage_ids().into_iter().next().ok_or_else(|| "no stage".into())
}

/// One event of each of these users, all at once.
fn batch(users: &[i64], time: Micros) -> Result<KeyedBatch, Failure> {
    let keys: ArrayRef = Arc::new(Int64Array::from(users.to_vec()));
    let keys = key::encode(&[keys], users.len())?;
    let amounts: ArrayRef =
        Arc::new(Float64Array::from_iter_values((0_u32..1_000).cycle().take(users.len()).map(f64::from)));
    Ok(KeyedBatch {
        hashes: keys.hashes(),
        keys,
        times: vec![time; users.len()].into(),
        before: vec![BEFORE_ALL; users.len()].into(),
        inputs: vec![amounts],
        lineage: Lineage::Events {
            raw: Arc::new(RawBatch::default()),
            offsets: (0..).take(users.len()).collect(),
            events: vec![0; users.len()],
            created: None,
        },
    })
}

/// The operator of one shard, and the users that are its share.
pub(crate) struct Keyed {
    operator: WindowOperator,
    users: Vec<i64>,
    shard: usize,
}

impl Keyed {
    /// One of so many shards, with its share of the users from 0 to `users`.
    pub(crate) fn seed(plan: &Plan, users: i64, shard: usize, shards: usize) -> Result<Self, Failure> {
        let Some(Operator::Windowed(plan)) = plan.stages.first().map(|stage| &stage.operator) else {
            return Err("no window".into());
        };
        let mut operator = WindowOperator::new(plan.clone())?;
        let users: Vec<i64> = (0..users).filter(|user| owner(*user, shards) == shard).collect();
        let mut out = Outcome::default();
        for minute in 0..10 {
            let own: Vec<i64> = users.iter().skip(minute).step_by(10).copied().collect();
            for users in own.chunks(BATCH) {
                operator.update(&batch(users, MINUTE * i64::try_from(minute)?)?, &mut out)?;
            }
        }
        operator.advance(10 * MINUTE, None, &mut out)?;
        Ok(Self { operator, users, shard })
    }

    /// One event of one user in `every`, other ones each round.
    pub(crate) fn change(&mut self, every: usize, round: u64) -> Result<(), Failure> {
        let first = usize::try_from(round)? % every;
        let changed: Vec<i64> = self.users.iter().skip(first).step_by(every).copied().collect();
        for users in changed.chunks(BATCH) {
            self.operator.update(&batch(users, LATER)?, &mut Outcome::default())?;
        }
        Ok(())
    }

    /// What the operator exports, as its shard does it.
    pub(crate) fn export(&mut self, whole: bool) -> Result<Vec<Part>, Failure> {
        let mut parts = Vec::new();
        self.operator.export(whole, &mut parts)?;
        for part in parts.iter_mut().filter(|part| part.is_of_one_shard()) {
            part.number = i64::try_from(self.shard)?;
        }
        Ok(parts)
    }
}

/// The shard of a user.
fn owner(user: i64, shards: usize) -> usize {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![user]));
    let hash = key::encode(&[column], 1).ok().and_then(|keys| keys.hashes().first().copied());
    key::shard(key::group_of_hash(hash.unwrap_or_default()), shards)
}

/// Commits what has been written of an epoch.
pub(crate) fn commit(store: &mut StateStore, epoch: u64, term: u64, shards: u32) -> Result<(), Failure> {
    let mut protocol = Protocol::begin(epoch, 0);
    protocol.done(Step::Settle)?;
    let project = store.project().to_owned();
    store.commit(&mut protocol, Commit { epoch, term, project, shards, ..Commit::default() })?;
    Ok(())
}
