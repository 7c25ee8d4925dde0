//! The aggregates of a view's features: which there are, what they fold, and which feature takes what of them.
//!
//! Features alike in aggregate, `of`, `where`, `rows` and options share one aggregate; alike in window too, one value.

use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field, FieldRef};

use super::steps::{Steps, display, field};
use crate::config::diagnostics::{Span, suggestion};
use crate::config::project::{AggregateName, AggregateUse, Feature, FeatureKind, Of, View, Window};
use crate::engine::aggregate::AggregateFactory;
use crate::engine::aggregate::builtin::{CREATED, OFFSET, PARTITION, SOURCE, builtin};
use crate::engine::aggregate::newest::newest;
use crate::engine::expression::Expression;
use crate::engine::features::FeatureColumn;
use crate::engine::front::InputColumn;
use crate::engine::window::plan::{self, InputRef};
use crate::record::EVENT_TIMESTAMP;

/// The features of a view that has a window, but for those from features.
#[derive(Default)]
pub(super) struct Features {
    /// The aggregates, each once.
    pub(super) aggregates: Vec<plan::AggregateUse>,
    /// What each is called in the project, with all that makes two uses the same.
    identities: Vec<String>,
    /// What is evaluated: an aggregate over a window.
    pub(super) values: Vec<(usize, Window)>,
    /// What features take of the values; hidden ones too.
    pub(super) columns: Vec<FeatureColumn>,
    /// Their fields, named as the features are.
    pub(super) fields: Vec<FieldRef>,
    /// The feature of each, by its index in the view.
    pub(super) owners: Vec<usize>,
    /// What the stage uses.
    pub(super) inputs: Vec<InputColumn>,
}

impl Features {
    /// Plans the aggregates of a view whose window is `window`.
    pub(super) fn aggregated(view: &View, window: Window, steps: &mut Steps<'_>) -> Option<Self> {
        let mut features = Self::default();
        let mut whole = true;
        for (index, feature) in view.features.iter().enumerate() {
            if let FeatureKind::Aggregate(used) = &feature.kind {
                whole &= features.add(feature, used, window, steps).is_some();
                features.owners.resize(features.fields.len(), index);
            }
        }
        if whole && features.aggregates.is_empty() {
            let message = "a view with a window has features that aggregate over it: without any leave `window` out";
            steps.errors.error(view.name.span, message);
            return None;
        }
        whole.then_some(features)
    }

    fn add(&mut self, feature: &Feature, used: &AggregateUse, window: Window, steps: &mut Steps<'_>) -> Option<()> {
        let own = used.window.as_ref().map_or(window, |window| window.value);
        let (index, own) = match own {
            // A frame is bounded by what it holds, and no state has to keep the newest rows.
            Window::Over { range, rows } => {
                let rows = [rows, used.rows].into_iter().flatten().min();
                let used = AggregateUse { rows: None, ..used.clone() };
                (self.aggregate(&used, Folds::InOrder, steps)?, Window::Over { range, rows })
            }
            _ => (self.aggregate(used, Folds::AsRowsCome, steps)?, own),
        };
        let value = (index, own);
        let known = self.values.iter().position(|known| *known == value);
        let value = known.unwrap_or_else(|| {
            self.values.push(value);
            self.values.len() - 1
        });
        let outputs = self.aggregates.get(index)?.factory.signature().output.clone();
        let chosen: Vec<(usize, String)> = match (&used.output, outputs.as_slice()) {
            (Some(name), _) => {
                let Some(found) = outputs.iter().position(|field| *field.name() == name.value) else {
                    let known = suggestion(name, outputs.iter().map(|field| field.name().as_str()));
                    steps.errors.error(name.span, format!("the aggregate gives no `{}`{known}", name.value));
                    return None;
                };
                vec![(found, feature.name.value.clone())]
            }
            (None, [_]) => vec![(0, feature.name.value.clone())],
            (None, several) => several
                .iter()
                .enumerate()
                .map(|(at, field)| (at, format!("{}_{}", feature.name.value, field.name())))
                .collect(),
        };
        for (output, name) in chosen {
            let kind = cast_to(feature, outputs.get(output)?.data_type(), steps)?;
            self.fields.push(Arc::new(Field::new(name, kind.clone(), true)));
            self.columns.push(FeatureColumn { value, output, kind });
        }
        Some(())
    }

    /// The aggregate of a use: one that is there already, or a new one.
    fn aggregate(&mut self, used: &AggregateUse, folds: Folds, steps: &mut Steps<'_>) -> Option<usize> {
        let identity = format!("{folds:?} {}", identity(used));
        if let Some(known) = self.identities.iter().position(|known| *known == identity) {
            return Some(known);
        }
        let offered = offered(used, steps);
        let filter = match &used.filter {
            None => Some(None),
            Some(sql) => steps.condition(sql).map(Some),
        };
        let (offered, filter) = (offered?, filter?);
        let fields: Vec<FieldRef> = offered.iter().map(|(name, expression, _)| field(name, expression)).collect();
        let factory: Arc<dyn AggregateFactory> = match &used.aggregate.value {
            AggregateName::BuiltIn(name) => match builtin(name, &fields, &used.options.value, steps.ties) {
                Ok(factory) => factory,
                Err(message) => {
                    steps.errors.error(used.aggregate.span, message);
                    return None;
                }
            },
            AggregateName::Udf(name) => {
                steps.components.aggregate(name, &used.aggregate, &fields, &used.options, steps.errors)?
            }
        };
        // One that wants its rows in order has all of them kept until it is asked for its value.
        let all = (factory.signature().ordered && folds == Folds::AsRowsCome).then_some(u32::MAX);
        let kept = used.rows.or(all);
        let factory = match kept {
            None => factory,
            Some(rows) => kept_rows(factory, rows, &fields, &offered, used, steps)?,
        };
        let mut inputs = Vec::new();
        let own = matches!(used.aggregate.value, AggregateName::BuiltIn(_)) || kept.is_some();
        for name in &factory.signature().input {
            inputs.push(match offered.iter().find(|(known, _, _)| known == name) {
                Some((_, expression, place)) => InputRef::Column(self.input(expression.clone(), *place, steps)?),
                None if own => hidden(name)?,
                None => return None,
            });
        }
        let filter = match filter {
            None => None,
            Some(condition) => Some(self.input(condition, used.aggregate.span, steps)?),
        };
        self.aggregates.push(plan::AggregateUse { factory, inputs, filter });
        self.identities.push(identity);
        Some(self.aggregates.len() - 1)
    }

    /// The index of an input, added where it is new.
    pub(super) fn input(&mut self, expression: Expression, place: Span, steps: &mut Steps<'_>) -> Option<usize> {
        if let Some(known) = self.inputs.iter().position(|known| known.expression.sql() == expression.sql()) {
            return Some(known);
        }
        let kind = expression.data_type().clone();
        let input = steps.cast(expression, &kind, place)?;
        self.inputs.push(input);
        Some(self.inputs.len() - 1)
    }
}

/// The type that a feature is given in: its own where it names one, else what it has.
pub(super) fn cast_to(feature: &Feature, natural: &DataType, steps: &mut Steps<'_>) -> Option<DataType> {
    let kind = feature.cast.as_ref().map_or_else(|| natural.clone(), |cast| cast.value.arrow());
    if !can_cast_types(natural, &kind) {
        let span = feature.cast.as_ref().map_or(feature.name.span, |cast| cast.span);
        let message = format!("the feature is {} and cannot be made {}", display(natural), display(&kind));
        steps.errors.error(span, message);
        return None;
    }
    Some(kind)
}

/// What a use offers its aggregate: names and expressions.
fn offered(used: &AggregateUse, steps: &mut Steps<'_>) -> Option<Vec<(String, Expression, Span)>> {
    match &used.of {
        Of::Rows => Some(Vec::new()),
        Of::Expression(sql) => Some(vec![("value".to_owned(), steps.expression(sql)?, sql.span)]),
        Of::Columns(columns) => {
            let compiled: Vec<_> = columns
                .iter()
                .map(|column| {
                    Some((column.name.value.clone(), steps.expression(&column.expression)?, column.expression.span))
                })
                .collect();
            compiled.into_iter().collect()
        }
    }
}

/// How a window has an aggregate fold rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Folds {
    /// In the order of event time, once the watermark has passed them.
    InOrder,
    /// In the order in which they come.
    AsRowsCome,
}

/// An aggregate over the newest rows alone, in the order of event time.
fn kept_rows(
    factory: Arc<dyn AggregateFactory>,
    rows: u32,
    fields: &[FieldRef],
    offered: &[(String, Expression, Span)],
    used: &AggregateUse,
    steps: &mut Steps<'_>,
) -> Option<Arc<dyn AggregateFactory>> {
    // Rows are ordered by columns of these names.
    let taken = |name: &str, sql: &str| hidden(name).is_some() && !(name == EVENT_TIMESTAMP && sql == EVENT_TIMESTAMP);
    if let Some((name, _, place)) = offered.iter().find(|(name, expression, _)| taken(name, expression.sql())) {
        let why = if used.rows.is_some() { "with `rows`" } else { "in an aggregate that wants its rows ordered" };
        let message = format!("{why}, `{name}` is what orders them: give this input another name");
        steps.errors.error(*place, message);
        return None;
    }
    newest(factory, rows, fields, steps.ties).map_err(|message| steps.errors.error(used.aggregate.span, message)).ok()
}

/// The columns that the engine itself supplies to built-ins.
fn hidden(name: &str) -> Option<InputRef> {
    Some(match name {
        EVENT_TIMESTAMP => InputRef::Time,
        CREATED => InputRef::Created,
        SOURCE => InputRef::Source,
        PARTITION => InputRef::Partition,
        OFFSET => InputRef::Offset,
        _ => return None,
    })
}

/// All that makes two uses the same, but for the window.
fn identity(used: &AggregateUse) -> String {
    let of = match &used.of {
        Of::Rows => String::new(),
        Of::Expression(sql) => sql.value.clone(),
        Of::Columns(columns) => {
            let named: Vec<_> =
                columns.iter().map(|column| format!("{:?}={:?}", column.name.value, column.expression.value)).collect();
            named.join(",")
        }
    };
    let filter = used.filter.as_ref().map(|filter| filter.value.as_str());
    let rows = used.rows;
    let options = serde_json::Value::Object(used.options.value.clone());
    format!("{:?} of {of:?} where {filter:?} rows {rows:?} with {options}", used.aggregate.value)
}
