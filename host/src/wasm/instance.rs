//! A running guest: its store, its deadline, and what becomes of it after a fault.
//!
//! [`Sandbox`] is one instance of a component in a store of its own. [`Bound`] is what an adapter calls: an instance
//! that has been bound; a fault throws it away, and the next call instantiates and binds afresh (5–10 µs from the pool,
//! plus the guest's own start).

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{Instance, InstancePre};
use wasmtime::{PoolConcurrencyLimitError, Store, Trap};

use super::bindings::millrace::feature::columns::FieldParam;
use super::convert::Breach;
use super::engine::{Engine, TICK};
use super::limits::{GuestLog, Host, Limits, MAX_LINES, cut};
use super::signature::Format;
use crate::engine::udf::{CallError, Grant, Meter};

/// A deadline that is never met, and yet may be added to the present.
const FOREVER: u64 = u64::MAX / 2;

/// One instance in a store of its own.
pub(super) struct Sandbox {
    store: Store<Host>,
    instance: Instance,
    limits: Limits,
}

impl Sandbox {
    /// Instantiates `pre`, whose start functions run under `limits` too.
    pub(super) fn new(pre: &InstancePre<Host>, limits: &Limits, log: Arc<GuestLog>) -> Result<Self, CallError> {
        let mut store = Store::new(pre.engine(), Host::new(limits, log));
        store.limiter(|host| host);
        store.set_hostcall_fuel(limits.bytes);
        store.set_epoch_deadline(ticks(limits.time));
        match pre.instantiate(&mut store) {
            Ok(instance) => Ok(Self { store, instance, limits: *limits }),
            Err(error) => Err(fault(&error, store.data_mut(), limits, Grant::WHOLE).unwrap_or_else(|| {
                CallError::Host(if error.is::<PoolConcurrencyLimitError>() {
                    "there are more instances than the engine has room for".into()
                } else {
                    format!("the component does not instantiate: {error:#}")
                })
            })),
        }
    }

    pub(super) fn instance(&self) -> Instance {
        self.instance
    }

    pub(super) fn store(&mut self) -> &mut Store<Host> {
        &mut self.store
    }

    /// Runs `call` with so much of the time limit. After an error the instance must not be called again.
    pub(super) fn call<R>(
        &mut self,
        grant: Grant,
        call: impl FnOnce(&mut Store<Host>) -> wasmtime::Result<R>,
    ) -> Result<R, CallError> {
        let host = self.store.data_mut();
        host.memory_denied = false;
        host.last_words = None;
        host.lines = 0;
        self.store.set_epoch_deadline(ticks(grant.of(self.limits.time)));
        call(&mut self.store).map_err(|error| {
            let limits = &self.limits;
            // What is not a trap comes from reading what the guest hands over, as a result or a line of log.
            fault(&error, self.store.data_mut(), limits, grant).unwrap_or_else(|| {
                let bytes = limits.bytes;
                CallError::Contract(format!(
                    "what it hands over cannot be read within {bytes} bytes: {}",
                    error.root_cause()
                ))
            })
        })
    }
}

/// The ticks after which `time` has certainly passed: the first may come at once.
fn ticks(time: Duration) -> u64 {
    let ticks = u64::try_from(time.as_nanos().div_ceil(TICK.as_nanos()));
    ticks.map_or(FOREVER, |ticks| ticks.saturating_add(1).min(FOREVER))
}

/// What a trap was, or a denial of memory; none if `error` is neither.
fn fault(error: &wasmtime::Error, host: &mut Host, limits: &Limits, grant: Grant) -> Option<CallError> {
    let trap = error.downcast_ref::<Trap>();
    if trap == Some(&Trap::Interrupt) {
        return Some(CallError::TimedOut(format!("{:?}", grant.of(limits.time))));
    }
    if host.memory_denied {
        return Some(CallError::OutOfMemory(limits.memory));
    }
    if host.lines > MAX_LINES {
        return Some(CallError::Contract(format!("it logs more than {MAX_LINES} lines in a call")));
    }
    let trap = trap?.to_string();
    let what = trap.strip_prefix("wasm trap: ").unwrap_or(&trap);
    Some(CallError::Trap(match host.last_words.take() {
        Some(words) => format!("{what}; its last words: {words}"),
        None => what.to_owned(),
    }))
}

/// One of the contract's interfaces, as an adapter calls it.
pub(super) trait Interface: Sized + 'static {
    /// What error messages call it.
    const NAME: &'static str;
    /// The name under which it is exported.
    const EXPORT: &'static str;
    /// Where its functions are in a component.
    type Indices: Clone + Send + Sync;
    /// Its functions in an instance.
    type Guest: Send;
    /// What `bind` returns.
    type Signature: PartialEq + Send + Sync;

    /// Finds the functions in a component that exports the interface.
    fn indices(pre: &InstancePre<Host>) -> wasmtime::Result<Self::Indices>;

    /// Finds the functions in an instance and checks their types.
    fn load(indices: &Self::Indices, store: &mut Store<Host>, instance: &Instance) -> wasmtime::Result<Self::Guest>;

    /// The names that the component holds.
    fn names(guest: &Self::Guest, store: &mut Store<Host>) -> wasmtime::Result<Vec<String>>;

    /// Binds the instance.
    fn bind(
        guest: &Self::Guest,
        store: &mut Store<Host>,
        name: &str,
        input: &[FieldParam<'_>],
        options: &str,
    ) -> wasmtime::Result<Result<Self::Signature, String>>;
}

/// What a fresh instance is bound to.
pub(super) struct Binding<I: Interface> {
    pub(super) pre: InstancePre<Host>,
    pub(super) digest: String,
    pub(super) indices: I::Indices,
    pub(super) name: String,
    pub(super) input: Vec<Format>,
    pub(super) options: String,
    pub(super) limits: Limits,
    pub(super) log: Arc<GuestLog>,
    /// Whoever made the engine may let go of it: its timer has to run as long as instances can be called.
    pub(super) engine: Engine,
}

struct Live<I: Interface> {
    sandbox: Sandbox,
    guest: I::Guest,
}

/// An instance that was bound, and its signature.
type BoundLive<I> = (Live<I>, <I as Interface>::Signature);

impl<I: Interface> Binding<I> {
    /// A fresh instance with its functions, not yet bound.
    fn open(&self) -> Result<Live<I>, CallError> {
        let mut sandbox = Sandbox::new(&self.pre, &self.limits, Arc::clone(&self.log))?;
        let instance = sandbox.instance();
        let guest = I::load(&self.indices, sandbox.store(), &instance)
            .map_err(|error| CallError::Host(format!("{error:#}")))?;
        Ok(Live { sandbox, guest })
    }

    /// Binds a fresh instance and returns it with the signature; the inner error is the guest's own.
    fn bind(&self) -> Result<Result<BoundLive<I>, String>, CallError> {
        let mut live = self.open()?;
        let input: Vec<_> = self
            .input
            .iter()
            .map(|Format { name, format, nullable }| FieldParam { name, format, nullable: *nullable })
            .collect();
        let Live { sandbox, guest } = &mut live;
        let bound = sandbox.call(Grant::WHOLE, |store| I::bind(guest, store, &self.name, &input, &self.options))?;
        Ok(bound.map_err(cut).map(|signature| (live, signature)))
    }

    /// What the guest answers to these columns and options, and an instance bound to them.
    pub(super) fn signature(&self) -> Result<Result<I::Signature, String>, CallError> {
        Ok(self.bind()?.map(|(_, signature)| signature))
    }
}

/// A bound instance, made afresh after a fault.
pub(super) struct Bound<I: Interface> {
    binding: Arc<Binding<I>>,
    signature: Arc<I::Signature>,
    live: Option<Live<I>>,
    /// How much of the time limit calls are given, until [`Bound::end_grant`].
    grant: Grant,
}

impl<I: Interface> Bound<I> {
    /// Starts and binds an instance, whose signature must be the one that is known.
    pub(super) fn start(binding: Arc<Binding<I>>, signature: Arc<I::Signature>) -> Result<Self, CallError> {
        let mut bound = Self { binding, signature, live: None, grant: Grant::WHOLE };
        bound.live = Some(bound.fresh()?);
        Ok(bound)
    }

    fn fresh(&self) -> Result<Live<I>, CallError> {
        let (live, signature) = self
            .binding
            .bind()?
            .map_err(|words| CallError::Contract(format!("bound again to the same columns, it refused: {words}")))?;
        if signature == *self.signature {
            Ok(live)
        } else {
            Err(CallError::Contract("bound again to the same columns, it gave another signature".into()))
        }
    }

    pub(super) fn limits(&self) -> Limits {
        self.binding.limits
    }

    /// The bytes of the instance that lives.
    pub(super) fn memory(&self) -> Option<usize> {
        self.live.as_ref().map(|live| live.sandbox.store.data().memory_used())
    }

    pub(super) fn grant_time(&mut self, grant: Grant) {
        self.grant = grant;
    }

    pub(super) fn end_grant(&mut self) {
        self.grant = Grant::WHOLE;
    }

    /// What the time of calls is measured by.
    pub(super) fn meter(&self) -> Meter {
        Meter::new(self.binding.engine.ticks(), TICK, self.binding.limits.time)
    }

    /// Calls the guest with `call` and reads its result with `read`. The instance outlives the call only if the guest
    /// returned, and what it returned is in order or an error of its own.
    pub(super) fn call<T, R>(
        &mut self,
        call: impl FnOnce(&I::Guest, &mut Store<Host>) -> wasmtime::Result<Result<T, String>>,
        read: impl FnOnce(T) -> Result<R, Breach>,
    ) -> Result<R, CallError> {
        let mut live = match self.live.take() {
            Some(live) => live,
            None => self.fresh()?,
        };
        let Live { sandbox, guest } = &mut live;
        let result = match sandbox.call(self.grant, |store| call(guest, store))? {
            Ok(returned) => read(returned).map_err(|breach| CallError::Contract(breach.0))?,
            Err(words) => {
                self.live = Some(live);
                return Err(CallError::Refused(cut(words)));
            }
        };
        self.live = Some(live);
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(error: wasmtime::Error, denied: bool, words: Option<&str>) -> Option<String> {
        let limits = Limits { time: Duration::from_millis(5), memory: 100, ..Limits::default() };
        let mut host = Host::new(&limits, GuestLog::new("clean".into(), Arc::default()));
        host.memory_denied = denied;
        host.last_words = words.map(str::to_owned);
        fault(&error, &mut host, &limits, Grant { times: 3, of: 1 }).map(|fault| fault.to_string())
    }

    #[test]
    fn a_trap_is_called_by_its_cause() {
        let trap = |trap: Trap| wasmtime::Error::from(trap).context("in the middle of something");
        let said = |error, denied, words| said(error, denied, words).unwrap();
        assert_eq!(
            said(trap(Trap::UnreachableCodeReached), false, Some("panicked at row 7")),
            "the UDF trapped: wasm `unreachable` instruction executed; its last words: panicked at row 7"
        );
        assert_eq!(said(trap(Trap::StackOverflow), false, None), "the UDF trapped: call stack exhausted");
        assert_eq!(said(trap(Trap::Interrupt), true, None), "the UDF ran longer than its limit of 15ms");
        assert_eq!(
            said(trap(Trap::UnreachableCodeReached), true, Some("out of memory")),
            "the UDF wanted more memory than its limit of 100 bytes"
        );
    }

    #[test]
    fn what_is_no_trap_is_left_to_the_caller() {
        assert_eq!(said(wasmtime::format_err!("list out of bounds"), false, Some("words")), None);
    }

    #[test]
    fn a_deadline_is_never_short_of_its_time() {
        assert_eq!(ticks(Duration::ZERO), 1);
        assert_eq!(ticks(Duration::from_millis(1)), 2);
        assert_eq!(ticks(TICK), 2);
        assert_eq!(ticks(Duration::from_secs(1)), 101);
        assert_eq!(ticks(Duration::MAX), FOREVER);
    }
}
