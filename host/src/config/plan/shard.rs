//! What a view's stage does, by its window.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};

use super::Operator;
use super::derived::{Composed, compose};
use super::features::{Features, cast_to};
use super::steps::Steps;
use crate::config::project::{FeatureKind, View, Window};
use crate::engine::aggregate::AggregateFactory;
use crate::engine::features::FeaturePlan;
use crate::engine::front::InputColumn;
use crate::engine::lateness::Lateness;
use crate::engine::latest::LatestPlan;
use crate::engine::window::over::{Frame, MOST_AGGREGATES, OverPlan, OverUse};
use crate::engine::window::plan::{GridPlan, WindowPlan, WindowValue};
use crate::engine::window::session::SessionPlan;
use crate::engine::window::spec::WindowSpec;
use crate::record::{ColumnType, event_timestamp_field};
use crate::time::micros;

/// What a view does with its keys' rows, and what it needs of them.
pub(super) struct Shard {
    pub(super) operator: Operator,
    /// The view's columns.
    pub(super) schema: SchemaRef,
    /// What the stage uses.
    pub(super) inputs: Vec<InputColumn>,
    /// Its aggregates that are UDFs.
    pub(super) udfs: Vec<Arc<dyn AggregateFactory>>,
}

/// Plans the last step of a view, over the columns that the steps have come to.
pub(super) fn shard(view: &View, keys: &[(String, ColumnType)], steps: &mut Steps<'_>) -> Option<Shard> {
    let Some(window) = view.window.as_ref().map(|window| window.value) else { return latest(view, keys, steps) };
    let mut features = Features::aggregated(view, window, steps)?;
    let of_rows = matches!(window, Window::Over { .. });
    let Composed { features: plan, carried } = compose(view, keys, &mut features, of_rows, steps)?;
    let factories = features.aggregates.iter().map(|used| &used.factory);
    let udfs = factories.filter(|factory| factory.digest().is_some()).cloned().collect();
    let schema = plan.schema.clone();
    let operator = match window {
        Window::Session { gap } => Operator::Session(Arc::new(SessionPlan {
            gap: micros(gap),
            aggregates: features
                .values
                .iter()
                .filter_map(|(used, _)| features.aggregates.get(*used))
                .cloned()
                .collect(),
            features: plan,
            close: view.emit.close,
            update: view.emit.update,
        })),
        Window::Over { .. } => Operator::Over(Arc::new(over(view, &features, plan, carried, steps)?)),
        Window::Sliding { .. } | Window::Tumbling { .. } => {
            Operator::Windowed(Arc::new(windowed(view, spec(window)?, &features, plan)))
        }
    };
    Some(Shard { operator, schema, inputs: features.inputs, udfs })
}

/// The windows of a view whose windows are aligned.
fn windowed(view: &View, own: WindowSpec, features: &Features, plan: FeaturePlan) -> WindowPlan {
    let mut grids: Vec<(i64, GridPlan, Vec<usize>)> = Vec::new();
    let mut values = Vec::new();
    for (used, window) in &features.values {
        let spec = spec(*window).unwrap_or(own);
        let known = grids.iter().position(|(pane, _, _)| *pane == spec.pane());
        let at = known.unwrap_or_else(|| {
            grids.push((spec.pane(), GridPlan { specs: Vec::new(), aggregates: Vec::new() }, Vec::new()));
            grids.len() - 1
        });
        let Some((_, grid, uses)) = grids.get_mut(at) else { continue };
        let place = |known: Option<usize>, length: usize| known.unwrap_or(length);
        let aggregate = place(uses.iter().position(|known| known == used), uses.len());
        if aggregate == uses.len() {
            uses.push(*used);
            grid.aggregates.extend(features.aggregates.get(*used).cloned());
        }
        let window = place(grid.specs.iter().position(|known| *known == spec), grid.specs.len());
        if window == grid.specs.len() {
            grid.specs.push(spec);
        }
        values.push(WindowValue { grid: at, aggregate, spec: window });
    }
    WindowPlan {
        spec: own,
        allowed_lateness: micros(view.allowed_lateness),
        skip_unchanged: view.skip_unchanged,
        emit_empty: view.emit_empty,
        close: view.emit.close,
        update: view.emit.update,
        grids: grids.into_iter().map(|(_, grid, _)| grid).collect(),
        values,
        features: plan,
    }
}

fn over(
    view: &View,
    features: &Features,
    plan: FeaturePlan,
    carried: Vec<usize>,
    steps: &mut Steps<'_>,
) -> Option<OverPlan> {
    if features.values.len() > MOST_AGGREGATES {
        let message = format!("a view with `over` has {MOST_AGGREGATES} different aggregates at most: make it two");
        steps.errors.error(view.name.span, message);
        return None;
    }
    let used = |(used, window): &(usize, Window)| {
        let frame = match window {
            Window::Over { range, rows } => Frame { range: range.map(micros), rows: *rows },
            _ => Frame { range: None, rows: None },
        };
        features.aggregates.get(*used).map(|used| OverUse { used: used.clone(), frame })
    };
    Some(OverPlan {
        aggregates: features.values.iter().filter_map(used).collect(),
        inputs: features.inputs.iter().map(|input| input.kind.clone()).collect(),
        carried,
        features: plan,
        close: view.emit.close,
        update: view.emit.update,
    })
}

/// A view without a window: features are expressions over a row.
fn latest(view: &View, keys: &[(String, ColumnType)], steps: &mut Steps<'_>) -> Option<Shard> {
    let mut inputs = Vec::new();
    let mut fields: Vec<FieldRef> =
        keys.iter().map(|(name, kind)| Arc::new(Field::new(name, kind.arrow(), false)) as _).collect();
    fields.push(event_timestamp_field());
    let mut whole = true;
    for feature in &view.features {
        let FeatureKind::Expr(sql) = &feature.kind else {
            let message =
                "an aggregate needs a window: give the view one, as in window = { sliding = \"10m\", step = \"1m\" }";
            steps.errors.error(feature.name.span, message);
            whole = false;
            continue;
        };
        let input = steps.expression(sql).and_then(|expression| {
            let kind = cast_to(feature, expression.data_type(), steps)?;
            Some(InputColumn { expression, kind })
        });
        let Some(input) = input else {
            whole = false;
            continue;
        };
        if !feature.hidden {
            fields.push(Arc::new(Field::new(&feature.name.value, input.kind.clone(), true)));
            inputs.push(input);
        }
    }
    if !whole {
        return None;
    }
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let key_types = keys.iter().map(|(_, kind)| kind.clone()).collect();
    let operator = Operator::Latest(Arc::new(LatestPlan { key_types, schema: schema.clone() }));
    Some(Shard { operator, schema, inputs, udfs: Vec::new() })
}

/// When a row is late for a view; `folded` says whether others fold its rows.
pub(super) fn lateness(view: &View, folded: bool) -> Option<Lateness> {
    match view.window.as_ref().map(|window| window.value) {
        Some(window @ (Window::Sliding { .. } | Window::Tumbling { .. })) if folded => {
            Some(Lateness::Fired { spec: spec(window)? })
        }
        Some(window @ (Window::Sliding { .. } | Window::Tumbling { .. })) => {
            Some(Lateness::Windows { spec: spec(window)?, allowed: micros(view.allowed_lateness) })
        }
        Some(Window::Session { .. } | Window::Over { .. }) => Some(Lateness::Passed),
        // What it is joined with is let go of.
        None => (!view.joins.is_empty()).then_some(Lateness::Passed),
    }
}

/// The arithmetic of aligned windows; none for others.
pub(super) fn spec(window: Window) -> Option<WindowSpec> {
    let (size, step, offset) = window.grid()?;
    Some(WindowSpec { size: micros(size), step: micros(step), offset: micros(offset) })
}
