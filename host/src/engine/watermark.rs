//! Watermarks: how far event time has come.
//!
//! A watermark W says that no more rows with a time below W come. A partition's is its greatest event time less the
//! source's delay; a combined one is the least of its inputs that are neither idle nor ended.
//!
//! Always true: a watermark never goes back; an idle input is left out only while an active one remains; the end of
//! time is reached only when every input has ended. The rules are those of Flink's and Arroyo's, but that idleness is
//! a state of the input and not a special time.

use std::ops::Range;

use crate::time::Micros;

/// The watermark before the first row.
pub const BEFORE_ALL: Micros = Micros::MIN;

/// The watermark after the last row of the last input.
pub const AFTER_ALL: Micros = Micros::MAX;

/// The event-time progress of one partition, row by row.
#[derive(Clone, Debug)]
pub struct PartitionWatermark {
    delay: Micros,
    watermark: Micros,
    newest: Micros,
    /// How far the clock has moved it since the last row.
    silence: Micros,
}

impl PartitionWatermark {
    /// Starts before all rows; `delay` is how much disorder the source expects.
    pub fn new(delay: Micros) -> Self {
        Self { delay, watermark: BEFORE_ALL, newest: BEFORE_ALL, silence: 0 }
    }

    /// Goes on from where another one has come to.
    pub fn resumed(delay: Micros, watermark: Micros, newest: Micros) -> Self {
        Self { watermark, newest, ..Self::new(delay) }
    }

    /// Takes the next row's event time, and returns the watermark as it was before that row: what the row's lateness is
    /// judged by, so that it depends neither on batches nor on other partitions.
    pub fn observe(&mut self, time: Micros) -> Micros {
        let before = self.current();
        self.silence = 0;
        self.newest = self.newest.max(time);
        self.watermark = before.max(time.saturating_sub(self.delay));
        before
    }

    /// The watermark after all rows so far, and after the silence since.
    pub fn current(&self) -> Micros {
        if self.has_begun() { self.watermark.saturating_add(self.silence) } else { BEFORE_ALL }
    }

    /// Whether there is a watermark.
    pub fn has_begun(&self) -> bool {
        self.watermark > BEFORE_ALL
    }

    /// The greatest event time so far.
    pub fn newest(&self) -> Micros {
        self.newest
    }

    /// The partition was idle and others went on to `combined`: its next rows are judged by that.
    pub fn wake(&mut self, combined: Micros) {
        self.watermark = self.current().max(combined);
        self.silence = 0;
    }

    /// No row has come for so long, and event time is taken to have gone on all the same: the watermark is that much
    /// further than the rows have brought it, and rows behind it are late from then on.
    pub fn move_with_clock(&mut self, silence: Micros) {
        self.silence = self.silence.max(silence);
    }
}

/// What an input says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on, and has come this far.
    Active(Micros),
    /// It has given nothing for its idle time; others need not wait for it.
    Idle,
    /// It has ended.
    Ended,
}

/// The combined progress of several inputs: the first three rules of the module, applied.
pub fn combine(inputs: impl IntoIterator<Item = Progress>) -> Progress {
    let mut least: Option<Micros> = None;
    let mut idle = false;
    for input in inputs {
        match input {
            Progress::Active(time) => least = Some(least.map_or(time, |known| known.min(time))),
            Progress::Idle => idle = true,
            Progress::Ended => {}
        }
    }
    match least {
        Some(time) => Progress::Active(time),
        None if idle => Progress::Idle,
        None => Progress::Ended,
    }
}

/// The watermark of whatever has several inputs.
///
/// Inputs may be **echoes** of each other: shards of one stage, which all hear the same and say it one after the other.
/// One of them that is idle while others are not has not heard yet, and may hold rows back that it has yet to give: it
/// counts as active where it last was.
#[derive(Clone, Debug)]
pub struct CombinedWatermark {
    inputs: Vec<Progress>,
    /// Where each input was when it was last active.
    last: Vec<Micros>,
    /// Which inputs are echoes of each other.
    echoes: Vec<Range<usize>>,
    watermark: Micros,
}

impl CombinedWatermark {
    /// `inputs` inputs, none of which has said anything.
    pub fn new(inputs: usize) -> Self {
        Self {
            inputs: vec![Progress::Active(BEFORE_ALL); inputs],
            last: vec![BEFORE_ALL; inputs],
            echoes: Vec::new(),
            watermark: BEFORE_ALL,
        }
    }

    /// The same, with inputs that are echoes of each other.
    #[must_use]
    pub fn with_echoes(self, echoes: impl IntoIterator<Item = Range<usize>>) -> Self {
        Self { echoes: echoes.into_iter().collect(), ..self }
    }

    /// Takes what one input says; returns the watermark if that moved it.
    pub fn update(&mut self, input: usize, progress: Progress) -> Option<Micros> {
        self.update_knowing(input, progress, |_| false)
    }

    /// As [`Self::update`], where `awake` knows of inputs that were idle and no longer are, but have not said so yet.
    pub fn update_knowing(
        &mut self,
        input: usize,
        progress: Progress,
        awake: impl Fn(usize) -> bool,
    ) -> Option<Micros> {
        *self.inputs.get_mut(input)? = progress;
        if let (Some(last), Progress::Active(time)) = (self.last.get_mut(input), progress) {
            *last = time;
        }
        for (at, (progress, last)) in self.inputs.iter_mut().zip(&self.last).enumerate() {
            if *progress == Progress::Idle && awake(at) {
                *progress = Progress::Active(*last);
            }
        }
        let watermark = match self.progress() {
            Progress::Active(time) => time,
            Progress::Idle => return None,
            Progress::Ended => AFTER_ALL,
        };
        let moved = watermark > self.watermark;
        self.watermark = self.watermark.max(watermark);
        moved.then_some(self.watermark)
    }

    /// The inputs' progress as one.
    pub fn progress(&self) -> Progress {
        let lags = |at: usize| {
            let echoes = self.echoes.iter().find(|echoes| echoes.contains(&at));
            let echoes = echoes.and_then(|echoes| self.inputs.get(echoes.clone()));
            echoes.is_some_and(|echoes| echoes.iter().any(|echo| *echo != Progress::Idle))
        };
        let inputs = self.inputs.iter().zip(&self.last).enumerate();
        combine(inputs.map(|(at, (progress, last))| match progress {
            Progress::Idle if lags(at) => Progress::Active(*last),
            progress => *progress,
        }))
    }

    /// How far it has come.
    pub fn current(&self) -> Micros {
        self.watermark
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_row_is_judged_by_the_rows_before_it() {
        let mut partition = PartitionWatermark::new(5);
        assert_eq!(partition.observe(100), BEFORE_ALL);
        assert_eq!(partition.observe(90), 95);
        assert_eq!(partition.observe(110), 95);
        assert_eq!(partition.current(), 105);
        partition.wake(200);
        assert_eq!(partition.observe(120), 200);
        assert_eq!(partition.newest(), 120);
    }

    #[test]
    fn silence_moves_it_from_where_the_rows_have_brought_it() {
        let mut partition = PartitionWatermark::new(5);
        partition.move_with_clock(1_000);
        assert_eq!(partition.current(), BEFORE_ALL, "there is nothing to move");
        assert_eq!(partition.observe(100), BEFORE_ALL);
        for silence in [30, 40, 10] {
            partition.move_with_clock(silence);
        }
        assert_eq!(partition.current(), 95 + 40);
        assert_eq!(partition.observe(110), 135, "the row is late");
        assert_eq!(partition.current(), 135, "and it does not go back");
        partition.move_with_clock(10);
        assert_eq!(partition.observe(200), 145);
        assert_eq!(partition.current(), 195);
    }

    #[test]
    fn idle_inputs_are_left_out_while_an_active_one_remains() {
        let mut combined = CombinedWatermark::new(2);
        assert_eq!(combined.update(0, Progress::Active(50)), None, "the other has not begun");
        assert_eq!(combined.update(1, Progress::Idle), Some(50));
        assert_eq!(combined.update(0, Progress::Idle), None, "all idle: it stays");
        assert_eq!(combined.current(), 50);
        assert_eq!(combined.update(0, Progress::Ended), None, "an idle input may come back");
        assert_eq!(combined.update(1, Progress::Ended), Some(AFTER_ALL));
    }

    #[test]
    fn an_input_that_is_known_to_be_awake_is_waited_for_before_it_says_so() {
        let mut combined = CombinedWatermark::new(2);
        combined.update(0, Progress::Active(10));
        assert_eq!(combined.update(1, Progress::Active(20)), Some(10));
        assert_eq!(combined.update(0, Progress::Idle), Some(20));
        assert_eq!(combined.update_knowing(1, Progress::Active(30), |input| input == 0), None);
        assert_eq!(combined.update(1, Progress::Active(40)), None, "it stays awake");
        assert_eq!(combined.update(0, Progress::Active(25)), Some(25));
    }

    #[test]
    fn an_echo_that_is_idle_for_itself_has_not_heard_yet() {
        // Input 0 stands alone, 1 and 2 say the same.
        let mut combined = CombinedWatermark::new(3).with_echoes(std::iter::once(1..3));
        combined.update(0, Progress::Ended);
        combined.update(1, Progress::Active(10));
        assert_eq!(combined.update(2, Progress::Active(10)), Some(10));
        assert_eq!(combined.update(1, Progress::Idle), None);
        assert_eq!(combined.progress(), Progress::Active(10), "the other will be idle too");
        combined.update(2, Progress::Idle);
        assert_eq!(combined.progress(), Progress::Idle);
        assert_eq!(combined.update(1, Progress::Active(50)), None, "the other has rows from before 50");
        assert_eq!(combined.update(2, Progress::Active(50)), Some(50));
        combined.update(2, Progress::Idle);
        assert_eq!(combined.update(1, Progress::Ended), None);
        assert_eq!(combined.update(2, Progress::Ended), Some(AFTER_ALL));
    }

    proptest! {
        #[test]
        fn it_never_goes_back(steps in prop::collection::vec((0_usize..3, 0_i64..100, 0_u8..3), 1..60)) {
            let mut combined = CombinedWatermark::new(3);
            let mut last = combined.current();
            for (input, time, kind) in steps {
                let progress = match kind { 0 => Progress::Idle, 1 => Progress::Active(time), _ => Progress::Ended };
                combined.update(input, progress);
                prop_assert!(combined.current() >= last);
                last = combined.current();
            }
        }
    }
}
