//! Patience with stores and outputs that are away.

use std::fmt::Display;
use std::time::Duration;

use super::waits::For;
use super::{Stop, TopologyError};
use crate::error::Blame;

/// The first and the longest pause before a store that is away is tried again.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

/// Calls until a store or an output takes it; says once that it is away, and once that it is back, and meanwhile that it
/// is waited for.
pub(super) fn retrying<T, E>(stop: &Stop, what: For, mut call: impl FnMut() -> Result<T, E>) -> Result<T, TopologyError>
where
    E: Blame + Display + Into<TopologyError>,
{
    let (mut pause, longest) = BACK_OFF;
    let mut wait = None;
    loop {
        match call() {
            Ok(value) => {
                if wait.is_some() {
                    tracing::info!("{} is back", what.said());
                }
                return Ok(value);
            }
            Err(error) if error.retry_helps() => {
                match &wait {
                    None => {
                        tracing::warn!(%error, "trying again until it answers; meanwhile the sources wait");
                        wait = Some(stop.waits().begin(what, error.to_string()));
                    }
                    Some(wait) => wait.goes_on(error.to_string()),
                }
                metrics::counter!("millrace_store_retries_total").increment(1);
                if stop.wait(pause) {
                    return Err(error.into());
                }
                pause = (pause * 2).min(longest);
            }
            Err(error) => return Err(error.into()),
        }
    }
}
