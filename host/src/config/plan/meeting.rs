//! Which sources meet: rows of both wait in one place for one watermark.

use std::collections::BTreeSet;

use super::{Operator, Plan};

impl Plan {
    /// The sources that meet, set by set: those whose rows reach a stage that waits for a watermark, by whatever way. A
    /// view without a window waits for none. A source alone is a set too, for its partitions meet each other.
    pub fn meetings(&self) -> BTreeSet<BTreeSet<u16>> {
        let reached = self.reached();
        let waits = |operator: &Operator| !matches!(operator, Operator::Latest(_));
        let waiting = self.stages.iter().zip(reached).filter(|(stage, _)| waits(&stage.operator));
        waiting.map(|(_, sources)| sources).filter(|sources| !sources.is_empty()).collect()
    }

    /// The sources whose rows a service brings together, service by service.
    pub fn combined_sources(&self) -> BTreeSet<BTreeSet<u16>> {
        let reached = self.reached();
        let of_view = |view: &u16| {
            let stage = self.views.get(usize::from(*view)).map(|view| usize::from(view.stage));
            stage.and_then(|stage| reached.get(stage)).into_iter().flatten().copied()
        };
        self.services.iter().map(|service| service.views.iter().flat_map(of_view).collect()).collect()
    }

    /// For each stage the sources whose rows reach it.
    fn reached(&self) -> Vec<BTreeSet<u16>> {
        let mut reached = vec![BTreeSet::new(); self.stages.len()];
        for (index, source) in (0..).zip(&self.sources) {
            for front in &source.fronts {
                if let Some(sources) = reached.get_mut(usize::from(front.stage)) {
                    sources.insert(index);
                }
            }
        }
        // A stage comes after those that it reads.
        for (index, stage) in self.stages.iter().enumerate() {
            let own = reached.get(index).cloned().unwrap_or_default();
            for front in &stage.fronts {
                if let Some(sources) = reached.get_mut(usize::from(front.stage)) {
                    sources.extend(&own);
                }
            }
        }
        reached
    }
}
