//! Example streams, for trying Millrace and for measuring it: card transactions, purchases and prices, drivers' miles, an
//! order book and its trades; to a file, Kafka or a WebSocket.
//!
//! Always true: the same options give the same bytes, on every machine and to every target; a target that is slow slows
//! the stream down, and nothing is left out.

mod args;
pub mod cards;
mod drivers;
mod market;
mod merchants;
mod pace;
mod purchases;
pub mod stream;
mod target;

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::error::{Blame, Fault};
use crate::time::{Micros, rfc3339};
pub use args::SimulateArgs;
use pace::Pace;
use stream::Stream;
pub use target::Target;
use target::{Chunk, Output};

/// How often a long run says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// How a stream is simulated.
#[derive(Clone, Debug)]
pub struct Options {
    /// What happens.
    pub stream: stream::Options,
    /// How many seconds of event time pass in one of the clock; none for as fast as the target takes it.
    pub speed: Option<f64>,
    /// Whether a WebSocket that listens ends after the last event, as all other targets do.
    pub once: bool,
}

/// What was simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many events.
    pub events: u64,
    /// Their payloads and newlines, in bytes.
    pub bytes: u64,
    /// The event time that the stream had come to.
    pub until: Micros,
}

/// Why a simulation ended early, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The options do not go together.
    #[error("{0}")]
    Options(String),
    /// The target does not take the stream.
    #[error("{target}: {cause}")]
    Target {
        /// The file, topic or address.
        target: String,
        /// What it says.
        cause: String,
    },
}

impl Blame for SimulateError {
    fn fault(&self) -> Fault {
        match self {
            Self::Options(_) => Fault::User,
            Self::Target { .. } => Fault::External,
        }
    }

    fn retry_helps(&self) -> bool {
        false
    }
}

/// Simulates until the stream ends or `stop` turns true; then everything sent so far reaches the target.
///
/// # Errors
/// [`SimulateError`].
pub async fn run(target: Target, options: Options, mut stop: watch::Receiver<bool>) -> Result<Summary, SimulateError> {
    let endless = options.stream.shape.events.is_none();
    if let (true, Target::File(path)) = (endless, &target) {
        let path = path.display();
        return Err(SimulateError::Options(format!("{path}: a file needs an end: give --events or --duration")));
    }
    let mut stream = Stream::new(&options.stream).map_err(SimulateError::Options)?;
    let mut summary = Summary { until: options.stream.shape.start, ..Summary::default() };
    let mut output = None;
    let work = async {
        let output = output.insert(Output::open(&target, &options).await?);
        pump(&mut stream, output, Pace::new(&options), &mut summary).await?;
        output.drained().await
    };
    let result = tokio::select! {
        biased;
        // An error says that nobody can stop us any more: then the stream's end is the end.
        Ok(_) = stop.wait_for(|stop| *stop) => Ok(()),
        result = work => result,
    };
    if let Some(output) = output {
        output.close().await?;
    }
    result.map(|()| summary)
}

async fn pump(
    stream: &mut Stream,
    output: &mut Output,
    mut pace: Pace,
    summary: &mut Summary,
) -> Result<(), SimulateError> {
    output.ready().await;
    let mut chunk = Chunk::default();
    let mut told = Instant::now();
    pace.begin(told);
    while let Some(scheduled) = stream.upcoming() {
        let wait = pace.wait(scheduled);
        if wait.is_none() {
            summary.until = summary.until.max(chunk.add(stream));
            if !chunk.is_full() {
                continue;
            }
        }
        if !chunk.is_empty() {
            send(&mut chunk, output, summary).await?;
            if told.elapsed() >= PROGRESS_EVERY {
                told = Instant::now();
                tracing::info!(events = summary.events, until = rfc3339(summary.until), "simulating");
            }
        } else if let Some(wait) = wait {
            sleep(wait).await;
        }
    }
    send(&mut chunk, output, summary).await
}

async fn send(chunk: &mut Chunk, output: &mut Output, summary: &mut Summary) -> Result<(), SimulateError> {
    if !chunk.is_empty() {
        output.send(chunk).await?;
        summary.events += u64::try_from(chunk.len()).unwrap_or_default();
        summary.bytes += u64::try_from(chunk.bytes()).unwrap_or_default();
        chunk.clear();
        // A target that takes everything at once must not keep the stop from being heard.
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
