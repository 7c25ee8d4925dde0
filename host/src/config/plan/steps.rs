//! The stateless steps of one view over one source: from the source's columns to those that the view folds; and a
//! source's own transforms.
//!
//! Those of a view are planned twice: once over all of the source's columns, to learn which are used, and once over those alone, so that a
//! worker filters and carries nothing that nobody reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use super::components::Components;
use crate::config::diagnostics::{Diagnostics, Span, Spanned, suggestion};
use crate::config::project::{Named, TransformUse};
use crate::engine::aggregate::builtin::Ties;
use crate::engine::expression::{Expression, ExpressionError};
use crate::engine::front::{DerivedColumns, InputColumn, StepColumn, TransformStep};
use crate::record::{ColumnType, EVENT_TIMESTAMP};

/// The columns at one point of the way.
pub(super) struct Steps<'a> {
    pub(super) components: &'a Components<'a>,
    pub(super) errors: &'a mut Diagnostics,
    /// The columns as they are now; the event timestamp among them.
    pub(super) schema: SchemaRef,
    /// The names of all columns that an expression has used.
    pub(super) used: BTreeSet<String>,
    /// What holds the event time already, which a transform may not return.
    pub(super) event_times: &'a [String],
    /// What tells rows of equal event time apart.
    pub(super) ties: Ties,
}

impl Steps<'_> {
    /// Compiles an expression over the columns as they are now.
    pub(super) fn expression(&mut self, sql: &Spanned<String>) -> Option<Expression> {
        match Expression::compile(sql, &self.schema) {
            Ok(expression) => {
                self.used.extend(expression.columns());
                Some(expression)
            }
            Err(error) => {
                self.report(sql, error);
                None
            }
        }
    }

    /// Reports what is wrong with an expression, at its place in the text.
    pub(super) fn report(&mut self, sql: &Spanned<String>, error: ExpressionError) {
        let span = match error.span {
            // Behind the opening quote; where the text has escapes the place is only near.
            Some(within) => Span { start: sql.span.start + 1 + within.start, end: sql.span.start + 1 + within.end },
            None => sql.span,
        };
        self.errors.error(span, error.message);
    }

    /// A boolean expression.
    pub(super) fn condition(&mut self, sql: &Spanned<String>) -> Option<Expression> {
        let expression = self.expression(sql)?;
        if *expression.data_type() != DataType::Boolean {
            let kind = display(expression.data_type());
            self.errors.error(sql.span, format!("where must be true or false, and `{}` is {kind}", sql.value));
            return None;
        }
        Some(expression)
    }

    /// The transforms of a view or a source, in order.
    pub(super) fn transforms(&mut self, transforms: &[TransformUse]) -> Option<Vec<TransformStep>> {
        transforms.iter().map(|used| self.transform(used)).collect()
    }

    fn transform(&mut self, used: &TransformUse) -> Option<TransformStep> {
        let (names, offered): (Vec<String>, Vec<Expression>) = match &used.input {
            Some(inputs) => {
                let compiled: Vec<_> = inputs.iter().map(|input| self.expression(&input.expression)).collect();
                let compiled: Vec<_> = compiled.into_iter().collect::<Option<_>>()?;
                (inputs.iter().map(|input| input.name.value.clone()).collect(), compiled)
            }
            None => {
                // Maps do not cross to a UDF; one that is named in `input` is refused.
                let fields =
                    self.schema.fields().iter().filter(|field| !matches!(field.data_type(), DataType::Map(..)));
                let columns = fields.filter_map(|field| {
                    Expression::column(field.name(), &self.schema).map(|expression| (field.name().clone(), expression))
                });
                columns.unzip()
            }
        };
        let fields: Vec<FieldRef> =
            names.iter().zip(&offered).map(|(name, expression)| field(name, expression)).collect();
        let factory = self.components.transform(&used.udf, &fields, &used.options, self.errors)?;
        let signature = factory.signature();
        let mut inputs = Vec::new();
        for name in &signature.input {
            let expression = names.iter().zip(&offered).find(|(known, _)| *known == name)?.1;
            self.used.extend(expression.columns());
            inputs.push(expression.clone());
        }
        let outputs = self.outputs(used, &signature.output)?;
        let (columns, schema) =
            self.replace(outputs.into_iter().map(|(index, field)| (StepColumn::Output(index), field)));
        self.schema = schema.clone();
        Some(TransformStep { factory, inputs, columns, schema })
    }

    /// Which outputs of a transform are kept, under which name.
    fn outputs(&mut self, used: &TransformUse, given: &[FieldRef]) -> Option<Vec<(usize, FieldRef)>> {
        let picked: Vec<(usize, FieldRef, Span)> = match &used.output {
            None => given.iter().enumerate().map(|(index, field)| (index, field.clone(), used.udf.span)).collect(),
            Some(names) => {
                let mut picked = Vec::new();
                for (theirs, ours) in names {
                    let Some((index, found)) =
                        given.iter().enumerate().find(|(_, field)| *field.name() == theirs.value)
                    else {
                        let known = suggestion(theirs, given.iter().map(|field| field.name().as_str()));
                        self.errors.error(
                            theirs.span,
                            format!("UDF {} does not return `{}`{known}", used.udf.value, theirs.value),
                        );
                        continue;
                    };
                    picked.push((index, Arc::new(found.as_ref().clone().with_name(&ours.value)), ours.span));
                }
                picked
            }
        };
        for (_, field, span) in &picked {
            if self.event_times.contains(field.name()) {
                self.errors.error(
                    *span,
                    format!("a transform may not return `{}`: the event time is fixed at the source", field.name()),
                );
            }
        }
        Some(picked.into_iter().map(|(index, field, _)| (index, field)).collect())
    }

    /// The derived columns of a view; none where it has none.
    pub(super) fn derived(&mut self, columns: &[Named]) -> Option<Option<DerivedColumns>> {
        if columns.is_empty() {
            return Some(None);
        }
        let compiled: Vec<_> = columns.iter().map(|column| self.expression(&column.expression)).collect();
        let expressions: Vec<Expression> = compiled.into_iter().collect::<Option<_>>()?;
        for column in columns.iter().filter(|column| column.name.value == EVENT_TIMESTAMP) {
            self.errors.error(column.name.span, "the event time is fixed at the source; give the column another name");
        }
        let fields: Vec<_> = columns
            .iter()
            .zip(&expressions)
            .enumerate()
            .map(|(index, (column, expression))| (StepColumn::Output(index), field(&column.name, expression)))
            .collect();
        let (columns, schema) = self.replace(fields.into_iter());
        self.schema = schema.clone();
        Some(Some(DerivedColumns { expressions, columns, schema }))
    }

    /// The columns after a step that gives `outputs`: one of a known name takes that one's place.
    fn replace(&self, outputs: impl Iterator<Item = (StepColumn, FieldRef)>) -> (Vec<StepColumn>, SchemaRef) {
        let mut columns: Vec<(StepColumn, FieldRef)> = self
            .schema
            .fields()
            .iter()
            .enumerate()
            .map(|(index, field)| (StepColumn::Carried(index), field.clone()))
            .collect();
        for (column, field) in outputs {
            match columns.iter_mut().find(|(_, known)| known.name() == field.name()) {
                Some(known) => *known = (column, field),
                None => columns.push((column, field)),
            }
        }
        let (columns, fields): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        (columns, Arc::new(Schema::new(fields)))
    }

    /// A column that must be there and of a type, such as a key.
    pub(super) fn input(
        &mut self,
        name: &Spanned<String>,
        kind: &ColumnType,
        what: &str,
        place: Span,
    ) -> Option<InputColumn> {
        let Some(expression) = Expression::column(name, &self.schema) else {
            let known = suggestion(name, self.schema.fields().iter().map(|field| field.name().as_str()));
            self.errors.error(place, format!("{what} `{}` is not a column here{known}", name.value));
            return None;
        };
        self.used.insert(name.value.clone());
        let (given, wanted) = (expression.data_type().clone(), kind.arrow());
        let widens = given == DataType::Int32 && wanted == DataType::Int64;
        if given != wanted && !widens {
            let given = display(&given);
            self.errors.error(place, format!("{what} `{}` is {given} here and {kind} in the entity", name.value));
            return None;
        }
        Some(InputColumn { expression, kind: wanted })
    }

    /// An input of a type, cast where it has another.
    pub(super) fn cast(&mut self, expression: Expression, kind: &DataType, place: Span) -> Option<InputColumn> {
        if !can_cast_types(expression.data_type(), kind) {
            let (given, wanted) = (display(expression.data_type()), display(kind));
            self.errors.error(place, format!("{given} cannot be made {wanted}"));
            return None;
        }
        Some(InputColumn { expression, kind: kind.clone() })
    }
}

/// A field of an expression's type.
pub(super) fn field(name: &str, expression: &Expression) -> FieldRef {
    Arc::new(Field::new(name, expression.data_type().clone(), expression.nullable()))
}

/// A type in the project file's words.
pub(super) fn display(kind: &DataType) -> String {
    ColumnType::from_arrow(kind).map_or_else(|| kind.to_string(), |kind| kind.to_string())
}
