//! Features from features, and from the row: ordered so that each comes after those that it reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};

use super::features::{Features, cast_to};
use super::steps::Steps;
use crate::config::diagnostics::Spanned;
use crate::config::project::{Feature, FeatureKind, View};
use crate::engine::expression::{Expression, ExpressionError, words};
use crate::engine::features::{DerivedFeature, FeaturePlan};
use crate::record::{ColumnType, event_timestamp_field};
use crate::suggest::suggestion;

/// How a view's rows are put together, and which of the row's columns come with them, by their index among the inputs.
pub(super) struct Composed {
    pub(super) features: FeaturePlan,
    pub(super) carried: Vec<usize>,
}

/// Plans the rows of a view with a window: keys, event timestamp, and the features in the order written, aggregated ones
/// and those from features. `of_rows` says whether each row of the view belongs to a row that it read, whose columns are
/// then at hand too.
pub(super) fn compose(
    view: &View,
    keys: &[(String, ColumnType)],
    features: &mut Features,
    of_rows: bool,
    steps: &mut Steps<'_>,
) -> Option<Composed> {
    let exprs: Vec<(&Feature, &Spanned<String>)> = view
        .features
        .iter()
        .filter_map(|feature| match &feature.kind {
            FeatureKind::Expr(sql) => Some((feature, sql)),
            FeatureKind::Aggregate(_) => None,
        })
        .collect();
    let row_columns: Vec<FieldRef> = if of_rows { steps.schema.fields().iter().cloned().collect() } else { Vec::new() };
    // What is known by name: the row's columns first, as in SQL, where SELECT's own names are not seen.
    let mut known = Known { columns: Vec::new() };
    for (name, kind) in keys {
        known.add(Arc::new(Field::new(name, kind.arrow(), false)));
    }
    known.add(event_timestamp_field());
    let words: BTreeSet<String> = exprs.iter().flat_map(|(_, sql)| words(sql)).collect();
    let mut carried = Vec::new();
    for field in row_columns {
        let is_known = known.columns.iter().any(|known| known.name() == field.name());
        if is_known || !words.contains(field.name()) {
            continue;
        }
        let expression = Expression::column(field.name(), &steps.schema)?;
        steps.used.insert(field.name().clone());
        carried.push(features.input(expression, view.name.span, steps)?);
        known.add(field);
    }
    let first = known.columns.len();
    features.fields.iter().for_each(|field| known.add(field.clone()));
    let derived = order(exprs, &mut known, of_rows, steps)?;
    let picked = picked(view, keys.len(), first, &features.owners, &derived);
    let fields: Vec<FieldRef> = picked.iter().filter_map(|column| known.columns.get(*column)).cloned().collect();
    let features = FeaturePlan {
        key_types: keys.iter().map(|(_, kind)| kind.clone()).collect(),
        aggregated: features.columns.clone(),
        derived,
        picked,
        schema: Arc::new(Schema::new(fields)),
    };
    Some(Composed { features, carried })
}

/// The columns at one point, in order; of several of one name the first is meant.
struct Known {
    columns: Vec<FieldRef>,
}

impl Known {
    fn add(&mut self, field: FieldRef) {
        self.columns.push(field);
    }

    /// Each name once, with its place.
    fn visible(&self) -> Vec<(usize, FieldRef)> {
        let first = |(at, field): &(usize, &FieldRef)| {
            !self.columns.iter().take(*at).any(|earlier| earlier.name() == field.name())
        };
        self.columns.iter().enumerate().filter(first).map(|(at, field)| (at, field.clone())).collect()
    }

    /// Compiles an expression over what is known: gives it with the columns that it reads.
    fn compile(&self, sql: &str) -> Result<(Expression, Vec<usize>, SchemaRef), ExpressionError> {
        let seen = self.visible();
        let all = Schema::new(seen.iter().map(|(_, field)| field.clone()).collect::<Vec<_>>());
        let columns = Expression::compile(sql, &Arc::new(all))?.columns();
        // Once more over the columns that it reads alone.
        let (scope, fields): (Vec<usize>, Vec<FieldRef>) =
            seen.into_iter().filter(|(_, field)| columns.contains(field.name())).unzip();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        Ok((Expression::compile(sql, &schema)?, scope, schema))
    }
}

/// Compiles the expressions, each after those that it reads.
fn order(
    exprs: Vec<(&Feature, &Spanned<String>)>,
    known: &mut Known,
    of_rows: bool,
    steps: &mut Steps<'_>,
) -> Option<Vec<DerivedFeature>> {
    let mut derived = Vec::new();
    let mut waiting = exprs;
    let mut whole = true;
    while !waiting.is_empty() {
        let mut later = Vec::new();
        let before = waiting.len();
        let names: Vec<&str> = waiting.iter().map(|(feature, _)| feature.name.value.as_str()).collect();
        for (feature, sql) in &waiting {
            match known.compile(sql) {
                Ok((expression, scope, schema)) => {
                    let Some(kind) = cast_to(feature, expression.data_type(), steps) else {
                        whole = false;
                        continue;
                    };
                    let field: FieldRef = Arc::new(Field::new(&feature.name.value, kind, true));
                    known.add(field.clone());
                    derived.push(DerivedFeature { expression, scope, schema, field });
                }
                Err(error) if error.missing.as_deref().is_some_and(|missing| names.contains(&missing)) => {
                    later.push((*feature, *sql));
                }
                Err(mut error) => {
                    // The row's columns are at hand, though only those that are named were looked at.
                    if let Some(missing) = error.missing.as_ref().filter(|_| of_rows) {
                        let row = steps.schema.fields().iter().chain(&known.columns);
                        let near = suggestion(missing, row.map(|field| field.name().as_str()));
                        error.message = format!("no column `{missing}` here{near}");
                    }
                    steps.report(sql, error);
                    whole = false;
                }
            }
        }
        if later.len() == before {
            for (feature, sql) in &later {
                let message = format!("feature `{}` reads itself, through others or at once", feature.name.value);
                steps.errors.error(sql.span, message);
            }
            return None;
        }
        if !whole {
            // What reads a feature in error would only repeat it.
            return None;
        }
        waiting = later;
    }
    whole.then_some(derived)
}

/// The columns that are given out: keys, event timestamp, and of the features those that are not hidden, as written.
fn picked(view: &View, keys: usize, first: usize, owners: &[usize], derived: &[DerivedFeature]) -> Vec<usize> {
    let mut picked: Vec<usize> = (0..=keys).collect();
    for (index, feature) in view.features.iter().enumerate().filter(|(_, feature)| !feature.hidden) {
        let aggregated = owners.iter().enumerate().filter(|(_, owner)| **owner == index).map(|(at, _)| first + at);
        picked.extend(aggregated);
        if let FeatureKind::Expr(_) = feature.kind {
            let own = derived.iter().position(|derived| *derived.field.name() == feature.name.value);
            picked.extend(own.map(|at| first + owners.len() + at));
        }
    }
    picked
}
