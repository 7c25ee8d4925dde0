//! One view, planned: its joins and itself as stages, and the ways that lead to them.
//!
//! ```text
//!   upstream ─way─▶ [join] ─way─▶ [join] ─way─▶ [view] ─▶ rows
//!   other side ─way──┘  other side ─way─┘
//! ```
//! Only columns that are used later go over a way.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::components::Components;
use super::join::{Joins, Left};
use super::outputs::outputs;
use super::shard::{Shard, lateness, shard, spec};
use super::steps::{Steps, display};
use super::upstream::Upstream;
use super::version::{Udfs, hashed};
use super::{Graph, StagePlan, ViewPlan};
use crate::config::diagnostics::{Diagnostics, Spanned};
use crate::config::project::{EntityKey, Project, View};
use crate::engine::aggregate::builtin::Ties;
use crate::engine::expression::Expression;
use crate::engine::front::{DerivedColumns, FrontPlan, InputColumn, NullKeys, TransformStep};
use crate::record::{ColumnType, EVENT_TIMESTAMP};
use crate::store::online::OnlineView;

/// Plans views one by one, each after those that it reads.
pub(super) struct ViewPlanner<'a> {
    pub(super) project: &'a Project,
    pub(super) components: &'a Components<'a>,
    pub(super) errors: &'a mut Diagnostics,
    pub(super) graph: &'a mut Graph,
    /// What tells rows of equal event time apart.
    pub(super) ties: Ties,
}

/// What rows go through to the view's own stage, and what comes of them.
struct Way {
    condition: Option<Expression>,
    transforms: Vec<TransformStep>,
    derived: Option<DerivedColumns>,
    keys: Vec<InputColumn>,
    shard: Shard,
    /// The columns used after the condition.
    used: BTreeSet<String>,
}

impl ViewPlanner<'_> {
    /// Plans a view; none where something is wrong, which has been said.
    pub(super) fn plan(&mut self, index: u16, view: &View) -> Option<ViewPlan> {
        let upstreams = view.from.iter().map(|from| Upstream::find(from, self.project, self.graph, self.errors));
        let upstreams: Vec<Upstream> = upstreams.collect::<Vec<_>>().into_iter().collect::<Option<_>>()?;
        self.one_type(view, &upstreams)?;
        let event_times = upstreams.iter().map(|upstream| upstream.event_time.clone());
        let event_times: Vec<String> = event_times.chain([EVENT_TIMESTAMP.to_owned()]).collect();
        if upstreams.iter().any(|upstream| upstream.created) {
            self.ties = Ties::Created;
        }
        let joins = Joins::resolve(view, self.project, self.graph, self.errors)?;
        let lefts = if joins.is_empty() {
            let left = |upstream: &Upstream| Left {
                from: upstream.from,
                schema: upstream.schema.clone(),
                depth: upstream.depth,
            };
            upstreams.iter().map(left).collect()
        } else {
            self.joined(index, view, &upstreams, &event_times, &joins)?
        };
        self.stage(index, view, &lefts, &event_times, !joins.is_empty())
    }

    /// In a union of sources, a column has one type; of what transforms give that is known only now.
    fn one_type(&mut self, view: &View, upstreams: &[Upstream]) -> Option<()> {
        let mut sources = view.from.iter().zip(upstreams).filter(|(_, upstream)| upstream.is_source());
        let Some((first, known)) = sources.next() else { return Some(()) };
        let mut whole = Some(());
        for (name, other) in sources {
            for field in other.schema.fields() {
                let Some((_, same)) = known.schema.column_with_name(field.name()) else { continue };
                if same.data_type() != field.data_type() {
                    let (kind, wanted) = (display(field.data_type()), display(same.data_type()));
                    let message = format!(
                        "column `{}` is {kind} in source `{}`, but {wanted} in source `{}`: a view reads one type",
                        field.name(),
                        name.value,
                        first.value
                    );
                    self.errors.error(name.span, message);
                    whole = None;
                }
            }
        }
        whole
    }

    /// Adds the stages of the joins, and gives the last of them as what the view reads.
    fn joined(
        &mut self,
        index: u16,
        view: &View,
        upstreams: &[Upstream],
        event_times: &[String],
        joins: &Joins,
    ) -> Option<Vec<Left>> {
        // With all columns first, to learn which are used behind the joins.
        let (first, others) = upstreams.split_first()?;
        let all = joins.schema(&first.schema, self.errors)?;
        let way = self.way(view, all.clone(), all, event_times)?;
        let mut used = way.used;
        used.extend(way.condition.iter().flat_map(Expression::columns));
        for other in others {
            joins.same_columns(&first.schema, other, &used, view, self.errors)?;
        }
        let lateness = lateness(view, self.project.is_folded(&view.name));
        let last = joins.stages(index, upstreams, &used, lateness, self.graph, self.errors)?;
        Some(vec![last])
    }

    /// Adds the view's own stage, fed by `lefts`.
    fn stage(
        &mut self,
        index: u16,
        view: &View,
        lefts: &[Left],
        event_times: &[String],
        joined: bool,
    ) -> Option<ViewPlan> {
        let stage = u16::try_from(self.graph.stages.len()).ok()?;
        // Behind a join the rows that are late are gone already.
        let lateness = if joined { None } else { lateness(view, self.project.is_folded(&view.name)) };
        let aggregates = view.window.is_some();
        let mut first: Option<Shard> = None;
        let mut udfs = Udfs::default();
        let mut fronts = Vec::new();
        for (input, (left, from)) in (0..).zip(lefts.iter().zip(&view.from)) {
            let full = left.schema.clone();
            let used = self.way(view, full.clone(), full.clone(), event_times)?.used;
            let projection: Vec<usize> = full
                .fields()
                .iter()
                .enumerate()
                .filter(|(_, field)| used.contains(field.name()) || field.name() == EVENT_TIMESTAMP)
                .map(|(index, _)| index)
                .collect();
            let schema = Arc::new(full.project(&projection).ok()?);
            let mut way = self.way(view, full, schema.clone(), event_times)?;
            if let Some(first) = &first {
                self.align(from, &first.inputs, &mut way.shard.inputs)?;
            }
            way.transforms.iter().for_each(|step| udfs.transform(step.factory.as_ref()));
            way.shard.udfs.iter().for_each(|udf| udfs.aggregate(udf.as_ref()));
            let front = FrontPlan {
                view: index,
                stage,
                input,
                condition: way.condition,
                projection,
                schema,
                transforms: way.transforms,
                derived: way.derived,
                keys: way.keys,
                null_keys: NullKeys::Refused,
                inputs: way.shard.inputs.clone(),
                lateness,
                again: !aggregates,
                deletions: false,
            };
            fronts.push((left.from, front));
            first.get_or_insert(way.shard);
        }
        let read = self.graph.sources.iter().filter(|source| view.reads().any(|name| name.value == source.name));
        read.flat_map(|source| source.transforms.iter()).for_each(|step| udfs.transform(step.factory.as_ref()));
        let before = |name: &str| self.graph.views.iter().flatten().find(|plan| plan.name == name);
        let version = hashed(self.project, view, &udfs.digests, |name| before(name).map(|plan| (plan, &*plan.version)));
        let of = |name: &str| before(name).map(|plan| (plan, &*plan.definition));
        let definition = hashed(self.project, view, &udfs.signatures, of);
        let shard = first?;
        let stage_plan = StagePlan {
            view: index,
            operator: shard.operator,
            inputs: fronts.len(),
            depth: lefts.iter().map(|left| left.depth).max().unwrap_or(0) + 1,
            fronts: Vec::new(),
        };
        fronts.into_iter().for_each(|(from, front)| self.graph.connect(from, front));
        self.graph.stages.push(stage_plan);
        let keys = self.keys(view);
        let features = shard.schema.fields().iter().skip(keys.len() + 1);
        let online = OnlineView {
            name: view.name.value.clone(),
            features: features
                .filter_map(|field| Some((field.name().clone(), ColumnType::from_arrow(field.data_type())?)))
                .collect(),
            keys: keys.clone(),
            ttl: view.ttl,
        };
        let names: Vec<String> = keys.iter().map(|(name, _)| name.clone()).collect();
        let window = view.window.as_ref().map(|window| window.value);
        Some(ViewPlan {
            name: view.name.value.clone(),
            stage,
            spec: window.and_then(spec),
            online: view.online.then(|| Arc::new(online)),
            created: self.ties == Ties::Created && !matches!(window, Some(window) if !window.is_of_rows()),
            offline: view.offline,
            log_updates: view.log_updates,
            keys: keys.len(),
            outputs: outputs(self.project, &format!("view/{}", view.name.value), &view.outputs, &names, self.errors),
            version,
            definition,
            digests: udfs.digests.into_iter().collect(),
            signatures: udfs.signatures,
            schema: shard.schema,
        })
    }

    /// The view's steps: the condition over all columns, the rest over `schema`.
    fn way(&mut self, view: &View, full: SchemaRef, schema: SchemaRef, event_times: &[String]) -> Option<Way> {
        let project = self.project;
        let names = self.keys(view);
        let mut steps = Steps {
            components: self.components,
            errors: self.errors,
            schema: full,
            used: BTreeSet::new(),
            event_times,
            ties: self.ties,
        };
        let condition = view.filter.as_ref().map(|sql| steps.condition(sql));
        steps.schema = schema;
        steps.used.clear();
        let transforms = steps.transforms(&view.transforms)?;
        let derived = steps.derived(&view.columns)?;
        let entity = view.entity.as_ref().and_then(|entity| project.entity(entity).map(|found| (entity, found)));
        let keys: Vec<_> = entity.map_or_else(Vec::new, |(place, entity)| {
            let key = |key: &EntityKey| steps.input(&key.name, &key.kind, "the key", place.span);
            entity.keys.iter().map(key).collect()
        });
        let shard = shard(view, &names, &mut steps);
        let condition = match condition {
            None => None,
            Some(compiled) => Some(compiled?),
        };
        let keys = keys.into_iter().collect::<Option<_>>()?;
        Some(Way { condition, transforms, derived, keys, shard: shard?, used: steps.used })
    }

    /// Makes what another upstream of the view gives into what the first one gives.
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
