//! What a view reads: a source, or another view.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use super::Graph;
use crate::config::diagnostics::{Diagnostics, Spanned};
use crate::config::project::Project;
use crate::engine::front::FrontPlan;
use crate::record::{DELETED, EVENT_TIMESTAMP};

/// Where rows come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpstreamRef {
    /// A source, by its index in the plan.
    Source(usize),
    /// A stage.
    Stage(u16),
}

/// What a view reads.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    pub(super) from: UpstreamRef,
    pub(super) schema: SchemaRef,
    /// The column that holds the event time, beside the event timestamp.
    pub(super) event_time: String,
    /// Whether its rows may say when they were created.
    pub(super) created: bool,
    /// Whether its rows may say that their key is deleted.
    pub(super) deletes: bool,
    pub(super) depth: usize,
}

impl Upstream {
    /// Looks a name up; none where it could not be planned, which has been said, or where it cannot be read.
    pub(super) fn find(
        name: &Spanned<String>,
        project: &Project,
        graph: &Graph,
        errors: &mut Diagnostics,
    ) -> Option<Self> {
        if let Some(source) = project.source(name) {
            let index = graph.sources.iter().position(|plan| plan.name == name.value)?;
            let plan = graph.sources.get(index)?;
            return Some(Self {
                from: UpstreamRef::Source(index),
                schema: plan.schema.clone(),
                event_time: source.event_time.column.value.clone(),
                created: plan.created.is_some(),
                deletes: false,
                depth: 0,
            });
        }
        let view = project.view(name)?;
        let plan = graph.views.iter().flatten().find(|plan| plan.name == name.value)?;
        if !view.emit.close {
            let message = format!(
                "`{}` emits provisional rows alone, and what reads it wants final ones: say emit = [\"close\", \"update\"] there",
                name.value
            );
            errors.error(name.span, message);
            return None;
        }
        let stage = graph.stages.get(usize::from(plan.stage))?;
        Some(Self {
            from: UpstreamRef::Stage(plan.stage),
            schema: plan.schema.clone(),
            event_time: EVENT_TIMESTAMP.to_owned(),
            created: plan.created,
            deletes: !view.emit_empty && plan.spec.is_some(),
            depth: stage.depth,
        })
    }

    /// Whether it is a source.
    pub(super) fn is_source(&self) -> bool {
        matches!(self.from, UpstreamRef::Source(_))
    }

    /// The columns, with the one that says which rows delete their key.
    pub(super) fn marked_schema(&self) -> SchemaRef {
        if !self.deletes {
            return self.schema.clone();
        }
        let mark: FieldRef = Arc::new(Field::new(DELETED, DataType::Boolean, false));
        Arc::new(Schema::new(self.schema.fields().iter().cloned().chain([mark]).collect::<Vec<_>>()))
    }
}

impl Graph {
    /// Adds a way on from where rows come from.
    pub(super) fn connect(&mut self, from: UpstreamRef, front: FrontPlan) {
        let fronts = match from {
            UpstreamRef::Source(index) => self.sources.get_mut(index).map(|source| &mut source.fronts),
            UpstreamRef::Stage(index) => self.stages.get_mut(usize::from(index)).map(|stage| &mut stage.fronts),
        };
        if let Some(fronts) = fronts {
            fronts.push(Arc::new(front));
        }
    }
}
