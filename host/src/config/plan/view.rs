//! One view, planned: its stateless half over each source that it reads, and what its shards do.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};

use super::components::Components;
use super::features::Features;
use super::outputs::outputs;
use super::steps::{Steps, display};
use super::version::version;
use super::{ShardPlan, SourcePlan, ViewPlan};
use crate::config::diagnostics::{Diagnostics, Spanned};
use crate::config::project::{Project, Source, View, Window};
use crate::engine::expression::Expression;
use crate::engine::front::{DerivedColumns, FrontPlan, InputColumn, Lateness, TransformStep};
use crate::engine::latest::LatestPlan;
use crate::engine::window::plan::WindowPlan;
use crate::engine::window::spec::WindowSpec;
use crate::record::{ColumnType, EVENT_TIMESTAMP, event_timestamp_field};
use crate::store::online::OnlineView;
use crate::time::micros;

/// Plans views one by one.
pub(super) struct ViewPlanner<'a> {
    pub(super) project: &'a Project,
    pub(super) components: &'a Components<'a>,
    pub(super) errors: &'a mut Diagnostics,
}

/// What one source's rows go through, and what comes of them.
struct Way {
    condition: Option<Expression>,
    transforms: Vec<TransformStep>,
    derived: Option<DerivedColumns>,
    keys: Vec<InputColumn>,
    features: Features,
    used: std::collections::BTreeSet<String>,
}

impl ViewPlanner<'_> {
    /// Plans a view, and gives the sources that it reads its stateless half; none where something is wrong, which has
    /// been said.
    pub(super) fn plan(&mut self, index: u16, view: &View, sources: &mut [SourcePlan]) -> Option<ViewPlan> {
        let spec = view.window.as_ref().map(|window| spec(**window));
        let lateness = spec.map(|spec| Lateness { spec, allowed: micros(view.allowed_lateness) });
        let mut first: Option<Features> = None;
        let mut digests = Vec::new();
        for from in &view.from {
            let source = self.project.source(from)?;
            let full = source_schema(source);
            let used = self.way(view, source, full.clone(), full.clone())?.used;
            let projection: Vec<usize> = full
                .fields()
                .iter()
                .enumerate()
                .filter(|(_, field)| used.contains(field.name()) || field.name() == EVENT_TIMESTAMP)
                .map(|(index, _)| index)
                .collect();
            let schema = Arc::new(full.project(&projection).ok()?);
            let mut way = self.way(view, source, full, schema.clone())?;
            if let Some(first) = &first {
                self.align(from, &first.inputs, &mut way.features.inputs)?;
            }
            let transforms = way.transforms.iter().map(|step| step.factory.digest().to_owned());
            let aggregates =
                way.features.aggregates.iter().filter_map(|used| used.factory.digest().map(ToOwned::to_owned));
            digests.extend(transforms.chain(aggregates));
            let front = FrontPlan {
                view: index,
                condition: way.condition,
                projection,
                schema,
                transforms: way.transforms,
                derived: way.derived,
                keys: way.keys,
                inputs: way.features.inputs.clone(),
                lateness,
            };
            sources.iter_mut().find(|plan| plan.name == from.value)?.fronts.push(Arc::new(front));
            first.get_or_insert(way.features);
        }
        digests.sort();
        digests.dedup();
        let features = first?;
        let keys = self.keys(view);
        let schema = view_schema(&keys, &features.fields);
        let key_types: Vec<ColumnType> = keys.iter().map(|(_, kind)| kind.clone()).collect();
        let online = OnlineView {
            name: view.name.value.clone(),
            features: features
                .fields
                .iter()
                .filter_map(|f| Some((f.name().clone(), ColumnType::from_arrow(f.data_type())?)))
                .collect(),
            keys: keys.clone(),
            ttl: view.ttl,
        };
        let names: Vec<String> = keys.iter().map(|(name, _)| name.clone()).collect();
        let version = version(self.project, view, &digests);
        let shard = match spec {
            Some(spec) => ShardPlan::Windowed(Arc::new(WindowPlan {
                spec,
                allowed_lateness: micros(view.allowed_lateness),
                skip_unchanged: view.skip_unchanged,
                emit_empty: view.emit_empty,
                close: view.emit.close,
                update: view.emit.update,
                aggregates: features.aggregates,
                key_types,
                features: features.columns,
                schema: schema.clone(),
            })),
            None => ShardPlan::Latest(Arc::new(LatestPlan { key_types, schema: schema.clone() })),
        };
        Some(ViewPlan {
            name: view.name.value.clone(),
            shard,
            online: view.online.then(|| Arc::new(online)),
            schema,
            offline: view.offline,
            log_updates: view.log_updates,
            keys: keys.len(),
            outputs: outputs(self.project, &view.outputs, &names, self.errors),
            digests,
            version,
        })
    }

    /// The view's steps over one source: the condition over all of its columns, the rest over `schema`.
    fn way(&mut self, view: &View, source: &Source, full: SchemaRef, schema: SchemaRef) -> Option<Way> {
        let (project, window) = (self.project, view.window.is_some());
        let mut steps = Steps {
            components: self.components,
            errors: self.errors,
            schema: full,
            used: std::collections::BTreeSet::new(),
            event_time: &source.event_time.column,
        };
        let condition = view.filter.as_ref().map(|sql| steps.condition(sql));
        steps.schema = schema;
        steps.used.clear();
        let transforms = steps.transforms(view)?;
        let derived = steps.derived(&view.columns)?;
        let keys = view.entity.as_ref().and_then(|entity| project.entity(entity).map(|found| (entity, found)));
        let keys: Vec<_> = keys.map_or_else(Vec::new, |(place, entity)| {
            let key =
                |key: &crate::config::project::EntityKey| steps.input(&key.name, &key.kind, "the key", place.span);
            entity.keys.iter().map(key).collect()
        });
        let features = if window { Features::windowed(view, &mut steps) } else { Features::latest(view, &mut steps) };
        let condition = match condition {
            None => None,
            Some(compiled) => Some(compiled?),
        };
        let keys = keys.into_iter().collect::<Option<_>>()?;
        Some(Way { condition, transforms, derived, keys, features: features?, used: steps.used })
    }

    /// Makes what another source of the view gives into what the first one gives.
    fn align(&mut self, from: &Spanned<String>, first: &[InputColumn], inputs: &mut [InputColumn]) -> Option<()> {
        for (first, input) in first.iter().zip(inputs) {
            if input.kind != first.kind && !arrow::compute::can_cast_types(&input.kind, &first.kind) {
                let (kind, wanted) = (display(&input.kind), display(&first.kind));
                self.errors.error(
                    from.span,
                    format!(
                        "`{}` is {kind} in source {} and {wanted} in the first",
                        input.expression.sql(),
                        from.value
                    ),
                );
                return None;
            }
            input.kind = first.kind.clone();
        }
        Some(())
    }

    fn keys(&self, view: &View) -> Vec<(String, ColumnType)> {
        let entity = view.entity.as_ref().and_then(|entity| self.project.entity(entity));
        let keys = entity
            .map(|entity| entity.keys.iter().map(|key| (key.name.value.clone(), key.kind.value.clone())).collect());
        keys.unwrap_or_default()
    }
}

/// The columns of a source's rows: its own, less one that is named as the event timestamp, and the event timestamp.
pub(super) fn source_schema(source: &Source) -> SchemaRef {
    let own = source.schema.iter().filter(|field| field.name.value != EVENT_TIMESTAMP);
    let mut fields: Vec<FieldRef> =
        own.map(|field| Arc::new(Field::new(&field.name.value, field.kind.arrow(), true))).collect();
    fields.push(event_timestamp_field());
    Arc::new(Schema::new(fields))
}

fn view_schema(keys: &[(String, ColumnType)], features: &[FieldRef]) -> SchemaRef {
    let mut fields: Vec<FieldRef> =
        keys.iter().map(|(name, kind)| Arc::new(Field::new(name, kind.arrow(), false))).collect();
    fields.push(event_timestamp_field());
    fields.extend(features.iter().cloned());
    Arc::new(Schema::new(fields))
}

fn spec(window: Window) -> WindowSpec {
    match window {
        Window::Sliding { size, step, offset } => {
            WindowSpec { size: micros(size), step: micros(step), offset: micros(offset) }
        }
        Window::Tumbling { size, offset } => {
            WindowSpec { size: micros(size), step: micros(size), offset: micros(offset) }
        }
    }
}
