//! Which sources meet: rows of both wait in one place for one watermark.

use std::collections::BTreeSet;

use super::{Operator, Plan};
use crate::engine::front::FrontPlan;

/// Sources, by index.
type Sources = BTreeSet<u16>;

impl Plan {
    /// The sources that meet, set by set: those whose rows reach a stage that waits for a watermark, by whatever way; of a
    /// join also those of either side, since it hears how far each has come. A view without a window waits for none. A
    /// source alone is a set too, for its partitions meet each other.
    pub fn meetings(&self) -> BTreeSet<Sources> {
        let mut meetings = BTreeSet::new();
        for (stage, inputs) in self.stages.iter().zip(self.reached()) {
            if matches!(stage.operator, Operator::Latest(_)) {
                continue;
            }
            if matches!(stage.operator, Operator::Join(_)) {
                let (left, right) = inputs.split_at(inputs.len().saturating_sub(1));
                meetings.extend([union(left), union(right)]);
            }
            meetings.insert(union(&inputs));
        }
        meetings
    }

    /// The sources whose rows a service brings together, service by service.
    pub fn combined_sources(&self) -> BTreeSet<Sources> {
        let reached = self.reached();
        let of_view = |view: &u16| {
            let stage = self.views.get(usize::from(*view)).map(|view| usize::from(view.stage));
            stage.and_then(|stage| reached.get(stage)).map(|inputs| union(inputs)).unwrap_or_default()
        };
        self.services.iter().map(|service| service.views.iter().flat_map(of_view).collect()).collect()
    }

    /// For each input of each stage the sources whose rows reach it.
    fn reached(&self) -> Vec<Vec<Sources>> {
        let mut reached: Vec<_> = self.stages.iter().map(|stage| vec![Sources::new(); stage.inputs]).collect();
        for (index, source) in (0..).zip(&self.sources) {
            for front in &source.fronts {
                add(&mut reached, front, &Sources::from([index]));
            }
        }
        // A stage comes after those that it reads, so that what reaches it is whole when its turn comes.
        for (index, stage) in self.stages.iter().enumerate() {
            let own = reached.get(index).map(|inputs| union(inputs)).unwrap_or_default();
            for front in &stage.fronts {
                add(&mut reached, front, &own);
            }
        }
        reached
    }
}

fn add(reached: &mut [Vec<Sources>], front: &FrontPlan, sources: &Sources) {
    let inputs = reached.get_mut(usize::from(front.stage));
    if let Some(known) = inputs.and_then(|inputs| inputs.get_mut(usize::from(front.input))) {
        known.extend(sources);
    }
}

fn union(inputs: &[Sources]) -> Sources {
    inputs.iter().flatten().copied().collect()
}
