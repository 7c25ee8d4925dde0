//! What comes when: partitions interleaved at random, with pauses and idle stretches, given to the real workers.
//!
//! The sources of the project file are not opened; a reader of ours gives their events instead. It gives them **in
//! turns**, in an order that a script says, or **freely**, a task a partition with random pauses, so that `max-skew` holds
//! some of them back. The clock is set by hand and stands still but where a script says that partitions fall silent.
//!
//! A partition that has been idle has, where the script's [`Story`] is told, only rows from after all that others have:
//! what else becomes of them depends on how far those were when it woke.

use std::sync::Arc;
use std::time::Duration;

use millrace::record::RawBatch;
use millrace::source::{SourceContext, SourceError};
use millrace::time::{Clock, ManualClock, SECOND};
use millrace::topology::Opener;
use tokio::sync::{Barrier, watch};
use tokio::task::JoinSet;

use super::streams::{Event, LONG_AGO, Stream, line};

/// When the clock stands.
pub(super) const NOW: i64 = 1_700_000_000 * SECOND;

/// The sources' idle time.
pub(super) const IDLE: &str = "10s";

/// A partition: of which source, and its number.
type Place = (usize, usize);

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// So many of a partition's next events come.
    Give(Place, usize),
    /// These partitions fall silent for longer than their idle time, those that have not ended and are not among them do
    /// not.
    Silent(Vec<Place>),
    /// A partition ends.
    End(Place),
}

/// Numbers by chance, the same for the same seed.
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// From 0 to below `most`.
    fn roll(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % most.max(1)
    }
}

/// An order in which all events come.
#[derive(Clone, Debug)]
pub(super) struct Story {
    steps: Vec<Step>,
}

impl Story {
    /// Any order, all partitions awake.
    pub(super) fn of(sources: &[Stream; 2], seed: u64) -> Self {
        Self { steps: draw(sources, &mut Dice::new(seed), false) }
    }

    /// An order with idle stretches, and the sources with the times that go with it.
    pub(super) fn with_silence(mut sources: [Stream; 2], seed: u64) -> (Self, [Stream; 2]) {
        let steps = draw(&sources, &mut Dice::new(seed), true);
        let mut given = [0, 1].map(|source: usize| vec![0_usize; sources[source].partitions.len()]);
        let mut silent: Vec<Place> = Vec::new();
        for step in &steps {
            match step {
                Step::Silent(places) => silent.extend(places),
                Step::End(_) => {}
                Step::Give((source, partition), count) => {
                    let first = given[*source][*partition];
                    if silent.contains(&(*source, *partition)) {
                        silent.retain(|other| *other != (*source, *partition));
                        let rest = sources[*source].partitions[*partition].split_off(first);
                        let rest = wake(rest, sources.iter().flat_map(|stream| &stream.partitions).flatten());
                        sources[*source].partitions[*partition].extend(rest);
                    }
                    given[*source][*partition] += count;
                }
            }
        }
        (Self { steps }, sources)
    }
}

fn time(event: &Event) -> Option<i64> {
    if let Event::Row(fields) = event { Some(fields.at) } else { None }
}

/// Moves a partition's rest to after all others, all by as much.
fn wake<'a>(mut rest: Vec<Event>, others: impl Iterator<Item = &'a Event>) -> Vec<Event> {
    let newest = others.filter_map(time).max().unwrap_or(i64::MIN);
    let earliest = rest.iter().filter_map(time).filter(|at| *at > LONG_AGO).min();
    let by = earliest.map_or(0, |earliest| newest.saturating_sub(earliest).max(0));
    for event in &mut rest {
        match event {
            Event::Row(fields) if fields.at > LONG_AGO => fields.at += by,
            Event::Row(_) => *event = Event::Timeless,
            _ => {}
        }
    }
    rest
}

fn draw(sources: &[Stream; 2], dice: &mut Dice, silences: bool) -> Vec<Step> {
    let mut left: Vec<(Place, usize)> = Vec::new();
    for (source, stream) in sources.iter().enumerate() {
        left.extend(
            stream.partitions.iter().enumerate().map(|(partition, events)| ((source, partition), events.len())),
        );
    }
    let (mut steps, mut ends) = (Vec::new(), Vec::new());
    while !left.is_empty() {
        if silences && dice.roll(8) == 0 {
            let silent = left.iter().map(|(place, _)| *place).filter(|_| dice.roll(2) == 0).collect();
            steps.push(Step::Silent(silent));
        }
        let at = dice.roll(left.len());
        let (place, count) = left[at];
        let some = count.min(1 + dice.roll(6));
        if some > 0 {
            steps.push(Step::Give(place, some));
        }
        left[at].1 -= some;
        if left[at].1 == 0 {
            left.swap_remove(at);
            // At once, or with the others that have nothing more.
            if dice.roll(2) == 0 { steps.push(Step::End(place)) } else { ends.push(Step::End(place)) }
        }
    }
    steps.extend(ends);
    steps
}

/// How the events are given.
#[derive(Clone, Debug)]
pub(super) enum Pace {
    /// One step after the other.
    InTurns(Story),
    /// Each partition by itself, with pauses.
    Freely(u64),
}

/// What gives the events of both sources.
pub(super) fn opener(sources: &[Stream; 2], pace: Pace, clock: Arc<ManualClock>) -> Box<Opener> {
    let sources = Arc::new(sources.clone());
    let (turn, _) = watch::channel(0_usize);
    let shared = Arc::new((pace, turn, Barrier::new(sources.len()), clock));
    Box::new(move |plan, context| {
        let (sources, shared) = (sources.clone(), shared.clone());
        let number = usize::from(plan.name != "a");
        Box::pin(async move {
            let (pace, turn, begun, clock) = &*shared;
            let stream = &sources[number];
            context.announce(u32::try_from(stream.partitions.len()).unwrap()).await?;
            begun.wait().await;
            match pace {
                Pace::InTurns(story) => in_turns(number, &sources, story, turn, &context, clock).await,
                Pace::Freely(seed) => freely(number, stream, *seed, context).await,
            }
        })
    })
}

async fn in_turns(
    number: usize,
    sources: &[Stream; 2],
    story: &Story,
    turn: &watch::Sender<usize>,
    context: &SourceContext,
    clock: &ManualClock,
) -> Result<(), SourceError> {
    let mut given = vec![0_usize; sources[number].partitions.len()];
    let mut ended: Vec<Place> = Vec::new();
    let mut turns = turn.subscribe();
    for (at, step) in story.steps.iter().enumerate() {
        let own = match step {
            Step::Give(place, _) | Step::End(place) => place.0 == number,
            // Whoever it is: it knows all partitions.
            Step::Silent(_) => number == 0,
        };
        if let Step::End(place) = step {
            ended.push(*place);
        }
        if !own {
            continue;
        }
        turns.wait_for(|turn| *turn == at).await.unwrap();
        match step {
            Step::Give((_, partition), count) => {
                let events = &sources[number].partitions[*partition][given[*partition]..][..*count];
                let origin = context.origin(u32::try_from(*partition).unwrap());
                let wakes = context.flow.is_out(origin);
                give(context, *partition, given[*partition], events).await?;
                given[*partition] += count;
                if wakes {
                    // Until its worker knows it is idle, and others that wake go on without it.
                    while context.flow.waiting_since(origin).is_none() {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            }
            Step::End((_, partition)) => context.end(u32::try_from(*partition).unwrap()).await?,
            Step::Silent(silent) => fall_silent(sources, silent, &ended, context, clock).await,
        }
        turn.send_replace(at + 1);
    }
    Ok(())
}

/// Lets time go by in which some partitions have nothing to give, while the others have something at hand all the time.
async fn fall_silent(
    sources: &[Stream; 2],
    silent: &[Place],
    ended: &[Place],
    context: &SourceContext,
    clock: &ManualClock,
) {
    let origin = |place: Place| {
        let source = u16::try_from(place.0).unwrap();
        millrace::record::Origin { source, partition: u32::try_from(place.1).unwrap() }
    };
    for (source, stream) in sources.iter().enumerate() {
        for place in (0..stream.partitions.len()).map(|partition| (source, partition)) {
            if silent.contains(&place) {
                context.flow.given(origin(place), clock.now());
            } else if !ended.contains(&place) {
                context.flow.has_some(origin(place));
            }
        }
    }
    // Again and again: for a worker that has yet to take something the silence begins afterwards.
    while !silent.iter().all(|place| context.flow.is_out(origin(*place))) {
        clock.set(clock.now() + 20 * SECOND);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn freely(number: usize, stream: &Stream, seed: u64, context: SourceContext) -> Result<(), SourceError> {
    let context = Arc::new(context);
    let one = |(partition, events): (usize, Vec<Event>)| {
        let context = context.clone();
        async move { freely_one(number, partition, &events, seed, &context).await }
    };
    let mut all: JoinSet<_> = stream.partitions.iter().cloned().enumerate().map(one).collect();
    while let Some(ended) = all.join_next().await {
        ended.unwrap()?;
    }
    Ok(())
}

async fn freely_one(
    number: usize,
    partition: usize,
    events: &[Event],
    seed: u64,
    context: &SourceContext,
) -> Result<(), SourceError> {
    let mut dice = Dice::new(seed ^ (((number * 16 + partition) as u64) << 40));
    let mut given = 0;
    while given < events.len() {
        match dice.roll(8) {
            0 => tokio::time::sleep(Duration::from_millis(1 + dice.roll(3) as u64)).await,
            1..4 => tokio::task::yield_now().await,
            _ => {}
        }
        let some = (1 + dice.roll(12)).min(events.len() - given);
        give(context, partition, given, &events[given..given + some]).await?;
        given += some;
    }
    context.end(u32::try_from(partition).unwrap()).await
}

/// Gives events of a partition, the first of which has the offset `first`.
async fn give(context: &SourceContext, partition: usize, first: usize, events: &[Event]) -> Result<(), SourceError> {
    for (at, chunk) in events.chunks(context.batch_rows).enumerate() {
        let mut batch = RawBatch { origin: context.origin(u32::try_from(partition).unwrap()), ..RawBatch::default() };
        let mut data = Vec::new();
        for (row, event) in chunk.iter().enumerate() {
            let start = u32::try_from(data.len()).unwrap();
            data.extend_from_slice(line(event).as_bytes());
            batch.spans.push((start, u32::try_from(data.len()).unwrap()));
            batch.offsets.push(i64::try_from(first + at * context.batch_rows + row).unwrap());
            batch.arrivals.push(NOW);
        }
        batch.data = data.into();
        context.give(batch).await?;
    }
    Ok(())
}
