//! The joins of a view: which columns they add, and their stages.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use super::steps::display;
use super::upstream::{Upstream, UpstreamRef};
use super::{Graph, Operator, StagePlan};
use crate::config::diagnostics::{Diagnostics, Spanned, suggestion};
use crate::config::project::{Join, OnMiss, Project, View, Wait};
use crate::engine::expression::Expression;
use crate::engine::front::{FrontPlan, InputColumn, NullKeys};
use crate::engine::join::{self, JoinPlan, Miss};
use crate::engine::key;
use crate::engine::lateness::Lateness;
use crate::record::{ColumnType, DELETED, EVENT_TIMESTAMP, event_timestamp_field};
use crate::time::{Micros, micros};

/// What feeds a stage.
pub(super) struct Left {
    pub(super) from: UpstreamRef,
    pub(super) schema: SchemaRef,
    pub(super) depth: usize,
}

/// A join whose other side is known.
struct Resolved<'a> {
    join: &'a Join,
    right: Upstream,
    /// What the row gets, by name.
    columns: Vec<(FieldRef, Expression)>,
}

/// The joins of a view, in order.
pub(super) struct Joins<'a> {
    joins: Vec<Resolved<'a>>,
}

impl<'a> Joins<'a> {
    /// Looks the other sides up and compiles what is taken from them.
    pub(super) fn resolve(view: &'a View, project: &Project, graph: &Graph, errors: &mut Diagnostics) -> Option<Self> {
        let mut joins = Vec::new();
        for join in &view.joins {
            let right = Upstream::find(&join.source, project, graph, errors)?;
            let mut columns = Vec::new();
            for column in &join.columns {
                match Expression::compile(&column.expression, &right.schema) {
                    Ok(expression) => {
                        let field = Field::new(&column.name.value, expression.data_type().clone(), true);
                        columns.push((Arc::new(field), expression));
                    }
                    Err(error) => {
                        let message = format!("in `{}`: {}", join.source.value, error.message);
                        errors.error(column.expression.span, message);
                    }
                }
            }
            if columns.len() < join.columns.len() {
                return None;
            }
            joins.push(Resolved { join, right, columns });
        }
        Some(Self { joins })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.joins.is_empty()
    }

    /// The columns behind the joins, of rows that have `left` before them.
    pub(super) fn schema(&self, left: &SchemaRef, errors: &mut Diagnostics) -> Option<SchemaRef> {
        let own = left.fields().iter().filter(|field| field.name() != EVENT_TIMESTAMP);
        let mut fields: Vec<FieldRef> = own.cloned().collect();
        let mut whole = true;
        for resolved in &self.joins {
            for ((field, _), written) in resolved.columns.iter().zip(&resolved.join.columns) {
                if field.name() == EVENT_TIMESTAMP || fields.iter().any(|known| known.name() == field.name()) {
                    let message = format!(
                        "the row has a column `{}` already: give the joined one another name, as in columns = {{ other = \"{}\" }}",
                        field.name(),
                        written.expression.value
                    );
                    errors.error(written.name.span, message);
                    whole = false;
                }
            }
            fields.extend(resolved.columns.iter().map(|(field, _)| field.clone()));
        }
        fields.push(event_timestamp_field());
        whole.then(|| Arc::new(Schema::new(fields)) as SchemaRef)
    }

    /// Checks that another upstream has the columns that the first one has, as far as they are used.
    pub(super) fn same_columns(
        &self,
        first: &SchemaRef,
        other: &Upstream,
        used: &BTreeSet<String>,
        view: &View,
        errors: &mut Diagnostics,
    ) -> Option<()> {
        let keys = self.joins.iter().flat_map(|resolved| resolved.join.on.iter().map(|on| &on.left.value));
        for name in used.iter().chain(keys) {
            let Some((_, field)) = first.column_with_name(name) else { continue };
            let found = other.schema.column_with_name(name).map(|(_, field)| field.data_type());
            if found != Some(field.data_type()) {
                let message = format!(
                    "column `{name}` is not the same in all of `from`, which a view with joins needs: {} in the first",
                    display(field.data_type())
                );
                errors.error(view.name.span, message);
                return None;
            }
        }
        Some(())
    }

    /// Adds a stage a join; gives the last as what comes next reads it. Rows that are late for the view are told before
    /// the first join: what they would be joined with may have been let go of, which depends on timing.
    pub(super) fn stages(
        &self,
        view: u16,
        upstreams: &[Upstream],
        used: &BTreeSet<String>,
        lateness: Option<Lateness>,
        graph: &mut Graph,
        errors: &mut Diagnostics,
    ) -> Option<Left> {
        let left =
            |upstream: &Upstream| Left { from: upstream.from, schema: upstream.schema.clone(), depth: upstream.depth };
        let mut lefts: Vec<Left> = upstreams.iter().map(left).collect();
        for (at, resolved) in self.joins.iter().enumerate() {
            let later: BTreeSet<&str> = self
                .joins
                .iter()
                .skip(at + 1)
                .flat_map(|resolved| resolved.join.on.iter().map(|on| on.left.value.as_str()))
                .collect();
            let wanted = |name: &str| used.contains(name) || later.contains(name);
            let judged = lateness.filter(|_| at == 0);
            let reach = lateness.map_or(0, |lateness| lateness.reach());
            let last = stage(view, resolved, &lefts, &wanted, (judged, reach), graph, errors)?;
            lefts = vec![last];
        }
        lefts.pop()
    }
}

/// Adds the stage of one join: what is late for it, if anything, and how far behind the watermark others may come.
fn stage(
    view: u16,
    resolved: &Resolved<'_>,
    lefts: &[Left],
    wanted: &dyn Fn(&str) -> bool,
    (lateness, reach): (Option<Lateness>, Micros),
    graph: &mut Graph,
    errors: &mut Diagnostics,
) -> Option<Left> {
    let stage = u16::try_from(graph.stages.len()).ok()?;
    let first = lefts.first()?;
    let keys = keys(resolved.join, &first.schema, &resolved.right.schema, errors)?;
    let own = first.schema.fields().iter().filter(|field| field.name() != EVENT_TIMESTAMP && wanted(field.name()));
    let carried: Vec<FieldRef> = own.cloned().collect();
    let given: Vec<&(FieldRef, Expression)> =
        resolved.columns.iter().filter(|(field, _)| wanted(field.name())).collect();
    for (input, left) in (0..).zip(lefts) {
        let column = |name: &str| Expression::column(name, &left.schema);
        let mut inputs = Vec::new();
        for field in &carried {
            inputs.push(InputColumn { expression: column(field.name())?, kind: field.data_type().clone() });
        }
        let own =
            keys.iter().map(|(name, _, kind)| Some(InputColumn { expression: column(name)?, kind: kind.clone() }));
        let keys = own.collect::<Option<_>>()?;
        let front = passing(view, stage, input, &left.schema, keys, inputs, NullKeys::Kept);
        graph.connect(left.from, FrontPlan { lateness, ..front });
    }
    let schema = resolved.right.marked_schema();
    let mut inputs: Vec<InputColumn> = given
        .iter()
        .map(|(field, expression)| InputColumn { expression: expression.clone(), kind: field.data_type().clone() })
        .collect();
    if resolved.right.deletes {
        inputs.push(InputColumn { expression: Expression::column(DELETED, &schema)?, kind: DataType::Boolean });
    }
    let own = keys.iter().map(|(_, name, kind)| {
        Some(InputColumn { expression: Expression::column(name, &schema)?, kind: kind.clone() })
    });
    let right_keys = own.collect::<Option<_>>()?;
    let right = u16::try_from(lefts.len()).ok()?;
    let front = passing(view, stage, right, &schema, right_keys, inputs, NullKeys::Dropped);
    graph.connect(resolved.right.from, FrontPlan { again: true, deletions: resolved.right.deletes, ..front });

    let mut fields = carried.clone();
    fields.extend(given.iter().map(|(field, _)| field.clone()));
    fields.push(event_timestamp_field());
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let depth = lefts.iter().map(|left| left.depth).chain([resolved.right.depth]).max().unwrap_or(0) + 1;
    let plan = JoinPlan {
        wait: match resolved.join.wait {
            Wait::Watermark => join::Wait::Watermark,
            Wait::None => join::Wait::Nothing,
            Wait::AtMost(longest) => join::Wait::AtMost(micros(longest)),
        },
        miss: match resolved.join.on_miss {
            OnMiss::Null => Miss::Null,
            OnMiss::Drop => Miss::Dropped,
        },
        within: resolved.join.within.map(micros),
        reach,
        left: carried.iter().map(|field| field.data_type().clone()).collect(),
        right: given.iter().map(|(field, _)| field.data_type().clone()).collect(),
        deletions: resolved.right.deletes,
        schema: schema.clone(),
    };
    graph.stages.push(StagePlan {
        view,
        operator: Operator::Join(Arc::new(plan)),
        inputs: lefts.len() + 1,
        depth,
        fronts: Vec::new(),
    });
    Some(Left { from: UpstreamRef::Stage(stage), schema, depth })
}

/// A way that only splits by key.
fn passing(
    view: u16,
    stage: u16,
    input: u16,
    schema: &SchemaRef,
    keys: Vec<InputColumn>,
    inputs: Vec<InputColumn>,
    null_keys: NullKeys,
) -> FrontPlan {
    FrontPlan {
        view,
        stage,
        input,
        condition: None,
        projection: (0..schema.fields().len()).collect(),
        schema: schema.clone(),
        transforms: Vec::new(),
        derived: None,
        keys,
        null_keys,
        inputs,
        lateness: None,
        again: false,
        deletions: false,
    }
}

/// The pairs of columns that are equal, with the type that both are compared as.
fn keys(
    join: &Join,
    left: &SchemaRef,
    right: &SchemaRef,
    errors: &mut Diagnostics,
) -> Option<Vec<(String, String, DataType)>> {
    let mut keys = Vec::new();
    let mut whole = true;
    for on in &join.on {
        let mut find = |schema: &SchemaRef, name: &Spanned<String>, side: &str| {
            let found = schema.column_with_name(name).map(|(_, field)| field.data_type().clone());
            if found.is_none() {
                let known = suggestion(name, schema.fields().iter().map(|field| field.name().as_str()));
                errors.error(name.span, format!("`{}` is not a column of {side}{known}", name.value));
            }
            found
        };
        let ours = find(left, &on.left, "the row");
        let theirs = find(right, &on.right, &format!("`{}`", join.source.value));
        let (Some(ours), Some(theirs)) = (ours, theirs) else {
            whole = false;
            continue;
        };
        let kind = match (&ours, &theirs) {
            (a, b) if a == b => ours.clone(),
            (DataType::Int32, DataType::Int64) | (DataType::Int64, DataType::Int32) => DataType::Int64,
            _ => {
                let message = format!(
                    "`{}` is {} and `{}` of `{}` is {}: what a join compares has one type",
                    on.left.value,
                    display(&ours),
                    on.right.value,
                    join.source.value,
                    display(&theirs)
                );
                errors.error(on.left.span, message);
                whole = false;
                continue;
            }
        };
        if let Some(Err(error)) = ColumnType::from_arrow(&kind).map(|kind| key::check(&kind)) {
            errors.error(on.left.span, error.to_string());
            whole = false;
            continue;
        }
        keys.push((on.left.value.clone(), on.right.value.clone(), kind));
    }
    whole.then_some(keys)
}
