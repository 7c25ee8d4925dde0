//! What kept state is filed under: by everything that decides what it means.
//!
//! Always true: of two plans with the same id the state of one can be taken over by the other; a view whose definition is
//! another one, or that reads something else, has another id. Another version of a UDF that takes, keeps and gives the
//! same columns goes on with the state of the one before.

use super::Plan;
use crate::engine::key;

impl Plan {
    /// The ids of the stages, by their index; behind them those of the services that combine rows, and of the sources that
    /// know repeats.
    pub fn stage_ids(&self) -> Vec<String> {
        let reading = self.reaching();
        let mut ids: Vec<String> = Vec::new();
        for (at, stage) in self.stages.iter().enumerate() {
            let before = self.stages.iter().take(at).filter(|other| other.view == stage.view).count();
            let sources = reading.get(at).into_iter().flatten();
            let read: Vec<_> = sources.filter_map(|source| self.sources.get(usize::from(*source))).collect();
            let read: Vec<&str> = read.into_iter().map(|source| source.identity.as_str()).collect();
            ids.push(format!("view/{}/{:016x}/{before}", self.versioned(stage.view), hash(&format!("{read:?}"))));
        }
        for service in &self.services {
            let views: Vec<String> = service.views.iter().map(|view| self.versioned(*view)).collect();
            let columns: Vec<_> = service.combine.views.iter().map(|view| (&view.columns, &view.places)).collect();
            ids.push(format!("service/{}/{:016x}", service.name, hash(&format!("{views:?} {columns:?}"))));
        }
        for source in self.sources.iter().filter(|source| source.dedup.is_some()) {
            let what = hash(&format!("{} {:?}", source.identity, source.dedup));
            ids.push(format!("source/{}/{what:016x}", source.name));
        }
        ids
    }

    /// Where among the [`Plan::stage_ids`] that of a source's memory of repeats is, if it has one.
    pub fn memory_of(&self, source: usize) -> Option<usize> {
        self.sources.get(source)?.dedup.as_ref()?;
        let before = self.sources.iter().take(source).filter(|source| source.dedup.is_some()).count();
        Some(self.stages.len() + self.services.len() + before)
    }

    fn versioned(&self, view: u16) -> String {
        let view = self.views.get(usize::from(view));
        view.map(|view| format!("{}/{}", view.name, view.definition)).unwrap_or_default()
    }
}

fn hash(text: &str) -> u64 {
    key::hash(text.as_bytes())
}
