//! The services whose views' rows are combined: how far all of them have come, and where the combined rows go.
//!
//! Runs on the keeper's thread. Progress comes from the shards in line with their rows, so what a watermark has passed is
//! here.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::TopologyError;
use crate::config::plan::{Plan, ServicePlan};
use crate::engine::combine::{Combiner, Released};
use crate::engine::emission::Emission;
use crate::engine::guard::GuardError;
use crate::engine::state::{Part, Stateful};
use crate::engine::watermark::{CombinedWatermark, Progress};

/// One service.
struct Service {
    plan: ServicePlan,
    combiner: Combiner,
    /// Of each shard of each view.
    watermark: CombinedWatermark,
}

/// All services whose combined rows go somewhere.
pub(super) struct Combining {
    services: Vec<Service>,
    shards: usize,
}

impl Combining {
    pub(super) fn new(plan: &Arc<Plan>, shards: usize) -> Result<Self, TopologyError> {
        let open = |plan: &ServicePlan| {
            let views = plan.views.len();
            let watermark = CombinedWatermark::new(views * shards)
                .with_echoes((0..views).map(|view| view * shards..(view + 1) * shards));
            Ok(Service { plan: plan.clone(), combiner: Combiner::new(plan.combine.clone())?, watermark })
        };
        Ok(Self { services: plan.services.iter().map(open).collect::<Result<_, TopologyError>>()?, shards })
    }

    /// Gives out what has changed of each service's state since the last call, or all where `whole` says so, by index;
    /// with it whether that is all.
    pub(super) fn export(&mut self, whole: impl Fn(usize) -> bool) -> Result<Vec<(Vec<Part>, bool)>, TopologyError> {
        let export = |(index, service): (usize, &mut Service)| {
            let mut parts = Vec::new();
            service.combiner.export(whole(index), &mut parts)?;
            Ok((parts, whole(index)))
        };
        self.services.iter_mut().enumerate().map(export).collect()
    }

    /// Takes what the services exported.
    pub(super) fn resume(&mut self, parts: &[Vec<Part>]) -> Result<(), GuardError> {
        self.services.iter_mut().zip(parts).try_for_each(|(service, parts)| service.combiner.import(parts))
    }

    /// Takes final rows of a view; gives combined rows of services, by their index.
    pub(super) fn add(&mut self, view: u16, emission: &Emission) -> Result<Vec<(usize, RecordBatch)>, TopologyError> {
        self.each(view, |service, place, _| {
            service.combiner.add(place, &emission.batch, emission.deleted.as_ref(), emission.created.as_ref())?;
            service.release()
        })
    }

    /// A shard of a view has come this far: no more rows with an event timestamp below come, as those behind it hear too.
    pub(super) fn progress(
        &mut self,
        view: u16,
        shard: usize,
        progress: Progress,
    ) -> Result<Vec<(usize, RecordBatch)>, TopologyError> {
        self.each(view, |service, place, shards| match service.watermark.update(place * shards + shard, progress) {
            Some(_) => service.release(),
            None => Ok(None),
        })
    }

    /// A view has stopped: nobody waits for it.
    pub(super) fn leave_out(&mut self, view: u16) -> Result<Vec<(usize, RecordBatch)>, TopologyError> {
        let mut released = Vec::new();
        for shard in 0..self.shards {
            released.extend(self.progress(view, shard, Progress::Ended)?);
        }
        Ok(released)
    }

    /// Does something with every service that combines a view; the view's place in it and the number of shards are told.
    fn each(
        &mut self,
        view: u16,
        mut what: impl FnMut(&mut Service, usize, usize) -> Result<Option<RecordBatch>, TopologyError>,
    ) -> Result<Vec<(usize, RecordBatch)>, TopologyError> {
        let mut released = Vec::new();
        for (index, service) in self.services.iter_mut().enumerate() {
            let Some(place) = service.plan.views.iter().position(|known| *known == view) else { continue };
            released.extend(what(service, place, self.shards)?.map(|rows| (index, rows)));
        }
        Ok(released)
    }
}

impl Service {
    fn release(&mut self) -> Result<Option<RecordBatch>, TopologyError> {
        let Some(Released { rows, early }) = self.combiner.release(self.watermark.current())? else { return Ok(None) };
        let name = || self.plan.name.clone();
        metrics::counter!("millrace_combined_rows_total", "service" => name()).increment(rows.num_rows() as u64);
        if early > 0 {
            metrics::counter!("millrace_combined_early_total", "service" => name()).increment(early);
        }
        Ok((rows.num_rows() > 0).then_some(rows))
    }
}
