//! The WebAssembly engine: one for a process, with the pool that instances live in and the tick that bounds their time.
//!
//! Epoch interruption is Wasmtime's: compiled code compares a counter with its deadline at loops and function entries,
//! and one thread raises the counter every [`TICK`].

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use sha2::{Digest, Sha256};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::bindings::millrace::feature::log;
use super::cache::Cache;
use super::component::Component;
use super::error::ComponentError;
use super::limits::Host;
use crate::error::{Blame, Fault};

/// How often the time of running calls is looked at.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// Native stack that a guest may use; a thread that calls guests needs that and its own.
const STACK: usize = 512 << 10;

/// How the engine of a process is made.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Folder of compiled components; none compiles at every start.
    pub cache: Option<PathBuf>,
    /// The most instances that live at the same time. Each reserves 8 GiB of address space, not of memory.
    pub max_instances: u32,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { cache: None, max_instances: 512 }
    }
}

/// The engine could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// wasmtime refused: most often the pool's address space, where a limit on it is set.
    #[error(
        "the WebAssembly engine cannot start with room for {instances} instances: {reason}; is there a `ulimit -v`?"
    )]
    Start {
        /// How many instances there was to be room for.
        instances: u32,
        /// wasmtime's words.
        reason: String,
    },
    /// The tick's thread could not be started.
    #[error("the WebAssembly engine's timer thread cannot start: {0}")]
    Timer(std::io::Error),
    /// The folder of compiled components cannot be used.
    #[error("the folder of compiled components, {folder}, cannot be used: {error}")]
    Cache {
        /// The folder.
        folder: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

impl Blame for EngineError {
    fn fault(&self) -> Fault {
        Fault::External
    }
}

/// The engine. Cheap to clone; its timer ends with the last clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    engine: wasmtime::Engine,
    linker: Linker<Host>,
    cache: Option<Cache>,
    ticks: Arc<AtomicU64>,
    /// The timer ends when this is dropped.
    _timer: Sender<()>,
}

impl Engine {
    /// Makes the engine and starts its timer.
    ///
    /// # Errors
    /// The pool's address space is not to be had, or the cache's folder is not ours.
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        let refused = |error: wasmtime::Error| EngineError::Start {
            instances: options.max_instances,
            reason: format!("{error:#}"),
        };
        let engine = wasmtime::Engine::new(&config(options.max_instances)).map_err(refused)?;
        let mut linker = Linker::new(&engine);
        log::add_to_linker::<Host, HasSelf<Host>>(&mut linker, |host| host).map_err(refused)?;
        let cache = match options.cache {
            Some(folder) => {
                Some(Cache::open(folder.clone(), &engine).map_err(|error| EngineError::Cache { folder, error })?)
            }
            None => None,
        };
        let ticks = Arc::new(AtomicU64::new(0));
        let timer = start_timer(&engine, Arc::clone(&ticks)).map_err(EngineError::Timer)?;
        Ok(Self(Arc::new(Inner { engine, linker, cache, ticks, _timer: timer })))
    }

    /// Checks and compiles a component, or finds it in the cache.
    ///
    /// # Errors
    /// The bytes are no component, or not one of the contract's; the error names what is wrong.
    pub fn load(&self, bytes: &[u8]) -> Result<Component, ComponentError> {
        Component::load(self, bytes)
    }

    /// The digest of `bytes` and their compiled form, from the cache where it is there.
    pub(super) fn compile(&self, bytes: &[u8]) -> wasmtime::Result<(String, wasmtime::component::Component)> {
        let digest = hex(&Sha256::digest(bytes));
        let Inner { engine, cache, .. } = &*self.0;
        if let Some(component) = cache.as_ref().and_then(|cache| cache.load(engine, &digest)) {
            return Ok((digest, component));
        }
        let component = wasmtime::component::Component::from_binary(engine, bytes)?;
        if let Some(Err(error)) = cache.as_ref().map(|cache| cache.store(&digest, &component)) {
            tracing::warn!(digest, %error, "a compiled component cannot be kept; it is compiled again at the next start");
        }
        Ok((digest, component))
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.engine
    }

    pub(super) fn linker(&self) -> &Linker<Host> {
        &self.0.linker
    }

    /// The count of ticks so far: a coarse clock for what needs no better one.
    pub(super) fn ticks(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.ticks)
    }
}

fn config(max_instances: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    // A component is several core instances, memories and tables: three or so for Rust, dozens for Python.
    pool.total_component_instances(max_instances)
        .total_core_instances(max_instances.saturating_mul(32))
        .total_memories(max_instances.saturating_mul(2))
        .total_tables(max_instances.saturating_mul(8))
        .max_component_instance_size(16 << 20)
        .max_core_instance_size(16 << 20)
        .max_tables_per_module(8)
        .max_memories_per_module(4)
        .table_elements(100_000);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(STACK)
        // The same component gives the same bits on every machine.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true);
    config
}

/// Raises the epoch every [`TICK`] until the sender is dropped.
fn start_timer(engine: &wasmtime::Engine, ticks: Arc<AtomicU64>) -> std::io::Result<Sender<()>> {
    let (sender, stop) = channel();
    let engine = engine.weak();
    std::thread::Builder::new().name("wasm-timer".into()).spawn(move || {
        while stop.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            let Some(engine) = engine.upgrade() else { return };
            engine.increment_epoch();
            ticks.fetch_add(1, Ordering::Relaxed);
        }
    })?;
    Ok(sender)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String does not fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}
