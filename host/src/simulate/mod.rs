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

use futures_util::future::try_join_all;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::error::{Blame, Fault};
use crate::time::{Micros, rfc3339};
pub use args::SimulateArgs;
use pace::Pace;
use stream::Stream;
pub use target::Target;
use target::{Chunk, Listeners, Output};

/// How often a long run says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// How streams are simulated.
#[derive(Clone, Debug)]
pub struct Options {
    /// What happens, and where it goes; at least one. Several go together, in the order of event time.
    pub streams: Vec<(Target, stream::Options)>,
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

/// Simulates until the streams end or `stop` turns true; then everything sent so far reaches the targets.
///
/// # Errors
/// [`SimulateError`].
pub async fn run(options: Options, mut stop: watch::Receiver<bool>) -> Result<Summary, SimulateError> {
    let mut streams = Vec::new();
    for (target, stream) in &options.streams {
        if let (None, Target::File(path)) = (stream.shape.events, target) {
            let path = path.display();
            return Err(SimulateError::Options(format!("{path}: a file needs an end: give --events or --duration")));
        }
        streams.push(Stream::new(stream).map_err(SimulateError::Options)?);
    }
    let mut summary = Summary { until: options.start(), ..Summary::default() };
    let mut outputs = Vec::new();
    let work = async {
        let mut listeners = Listeners::default();
        for (target, _) in &options.streams {
            outputs.push(Output::open(target, &options, &mut listeners).await?);
        }
        pump(&mut streams, &mut outputs, Pace::new(&options), &mut summary).await?;
        try_join_all(outputs.iter_mut().map(Output::drained)).await.map(drop)
    };
    let result = tokio::select! {
        biased;
        // An error says that nobody can stop us any more: then the streams' end is the end.
        Ok(_) = stop.wait_for(|stop| *stop) => Ok(()),
        result = work => result,
    };
    for output in outputs {
        output.close().await?;
    }
    result.map(|()| summary)
}

impl Options {
    /// The event time of the first event.
    fn start(&self) -> Micros {
        self.streams.iter().map(|(_, stream)| stream.shape.start).min().unwrap_or_default()
    }
}

async fn pump(
    streams: &mut [Stream],
    outputs: &mut [Output],
    mut pace: Pace,
    summary: &mut Summary,
) -> Result<(), SimulateError> {
    for output in &mut *outputs {
        output.ready().await;
    }
    let mut chunks = vec![Chunk::default(); streams.len()];
    let mut told = Instant::now();
    pace.begin(told);
    loop {
        let upcoming = streams.iter_mut().zip(&mut chunks).filter_map(|both| Some((both.0.upcoming()?, both)));
        let Some((scheduled, (stream, chunk))) = upcoming.min_by_key(|(time, _)| *time) else { break };
        let wait = pace.wait(scheduled);
        if wait.is_none() {
            summary.until = summary.until.max(chunk.add(stream));
            if !chunk.is_full() {
                continue;
            }
        }
        if chunks.iter().any(|chunk| !chunk.is_empty()) {
            send(&mut chunks, outputs, summary).await?;
            if told.elapsed() >= PROGRESS_EVERY {
                told = Instant::now();
                tracing::info!(events = summary.events, until = rfc3339(summary.until), "simulating");
            }
        } else if let Some(wait) = wait {
            sleep(wait).await;
        }
    }
    send(&mut chunks, outputs, summary).await
}

/// Hands all chunks on, so that no stream runs ahead of the others.
async fn send(chunks: &mut [Chunk], outputs: &mut [Output], summary: &mut Summary) -> Result<(), SimulateError> {
    for (chunk, output) in chunks.iter_mut().zip(outputs).filter(|(chunk, _)| !chunk.is_empty()) {
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
