//! What a component costs before its first row: compiled and started, started from what a former run compiled, and a
//! fresh instance after a fault.

use std::time::{Duration, Instant};

use millrace::wasm::{Engine, EngineOptions};
use serde_json::{Value, json};

use crate::{Failure, Guest};

/// The most that compiling one component again and again may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Milliseconds, by what was started, and the component's bytes.
pub(crate) fn measure(guest: &Guest, bytes: &[u8]) -> Result<Value, Failure> {
    let folder = tempfile::tempdir()?;
    let started = |cache| -> Result<_, Failure> {
        let engine = Engine::new(EngineOptions { cache, ..EngineOptions::default() })?;
        let (taken, _) = timed(|| {
            let component = engine.load(bytes)?;
            Ok(component.transform(Some("row_closure"), &crate::fields(), "{}", guest.limits())?.create()?)
        })?;
        Ok(taken)
    };
    // The first fills the folder.
    let mut cold = vec![started(Some(folder.path().to_owned()))?];
    while cold.iter().sum::<Duration>() < PATIENCE && cold.len() < 10 {
        cold.push(started(None)?);
    }
    let cached = (0..10).map(|_| started(Some(folder.path().to_owned()))).collect::<Result<Vec<_>, _>>()?;
    let engine = Engine::new(EngineOptions { cache: Some(folder.path().to_owned()), ..EngineOptions::default() })?;
    let factory = engine.load(bytes)?.transform(Some("row_closure"), &crate::fields(), "{}", guest.limits())?;
    let fresh = (0..50).map(|_| Ok(timed(|| Ok(factory.create()?))?.0)).collect::<Result<Vec<_>, Failure>>()?;
    let (cold, cached, fresh) = (median(cold), median(cached), median(fresh));
    println!("{:24} compiled {cold:8.1} ms, from the cache {cached:6.2} ms, again {fresh:6.3} ms", guest.language);
    Ok(json!({ "bytes": bytes.len(), "cold_ms": cold, "cached_ms": cached, "again_ms": fresh }))
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn timed<T>(run: impl FnOnce() -> Result<T, Failure>) -> Result<(Duration, T), Failure> {
    let start = Instant::now();
    let result = run()?;
    Ok((start.elapsed(), result))
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}
