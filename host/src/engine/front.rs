//! The stateless way of rows to one input of a stage, run in the order of each partition: `where`, transforms, columns,
//! lateness, and the split by key.
//!
//! ```text
//!   rows ─▶ where ─▶ transform ─▶ … ─▶ columns ─▶ not late? ─▶ keys, inputs ─▶ one batch a shard
//! ```
//! A way to a join has the last two alone. Always true: every row goes to exactly one shard, is filtered out, or becomes
//! a dead letter.

mod source;
mod split;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, SchemaRef};

pub use self::source::SourceSteps;
use super::expression::Expression;
use super::guard::{GuardError, GuardedTransform, Refusal};
use super::lateness::Lateness;
use super::lineage::Lineage;
use super::rows::{KeyedBatch, Rows};
use super::transform::TransformFactory;
use super::udf::CallError;
use crate::record::{Columns, DeadLetter, DeadReason};
use crate::time::{Micros, rfc3339};
use split::split;

/// One transform of a view.
#[derive(Clone)]
pub struct TransformStep {
    /// Makes its instances.
    pub factory: Arc<dyn TransformFactory>,
    /// Its inputs, in the order of its signature.
    pub inputs: Vec<Expression>,
    /// For each column of `schema` where it comes from.
    pub columns: Vec<StepColumn>,
    /// The columns after it.
    pub schema: SchemaRef,
}

impl TransformStep {
    /// An instance under guard.
    fn open(&self) -> Result<GuardedTransform, CallError> {
        let output = self.factory.signature().output.clone();
        let guarded = self.factory.create().map(|transform| GuardedTransform::new(transform, output))?;
        Ok(guarded.under(self.factory.verdict()))
    }
}

/// Where a column after a step comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepColumn {
    /// A column from before the step, carried along.
    Carried(usize),
    /// An output of the step.
    Output(usize),
}

/// One derived column: of the columns before it, and with those the next schema.
#[derive(Clone)]
pub struct DerivedColumns {
    /// The expressions, over the columns before the step.
    pub expressions: Vec<Expression>,
    /// For each column of `schema` where it comes from.
    pub columns: Vec<StepColumn>,
    /// The columns after it.
    pub schema: SchemaRef,
}

/// What a view folds or passes on.
#[derive(Clone)]
pub struct InputColumn {
    /// Its value, over the columns after all steps.
    pub expression: Expression,
    /// The type that it is cast to.
    pub kind: DataType,
}

/// A stateless way, resolved.
#[derive(Clone)]
pub struct FrontPlan {
    /// The view that it is a part of, by its index in the plan.
    pub view: u16,
    /// The stage that it leads to, by its index in the plan.
    pub stage: u16,
    /// Which of the stage's inputs it is.
    pub input: u16,
    /// Which rows it takes; none for all.
    pub condition: Option<Expression>,
    /// The columns that the steps after `condition` use, by their index among those of [`Rows::batch`].
    pub projection: Vec<usize>,
    /// Those columns.
    pub schema: SchemaRef,
    /// The transforms, in order.
    pub transforms: Vec<TransformStep>,
    /// The derived columns.
    pub derived: Option<DerivedColumns>,
    /// The keys by which the stage is split: an entity's in the order of their names, or a join's.
    pub keys: Vec<InputColumn>,
    /// What becomes of a row without a key.
    pub null_keys: NullKeys,
    /// What the stage uses.
    pub inputs: Vec<InputColumn>,
    /// What is late; none where nothing is.
    pub lateness: Option<Lateness>,
    /// Whether it takes rows of a view that replace ones given before.
    pub again: bool,
    /// Whether it takes rows of a view that delete their key, marked in [`DELETED`]; else they are left out.
    ///
    /// [`DELETED`]: crate::record::DELETED
    pub deletions: bool,
}

/// What becomes of a row a part of whose key is null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NullKeys {
    /// It is a dead letter: nobody's features are of it.
    Refused,
    /// It goes to the first shard: on the left side of a join, it matches nothing.
    Kept,
    /// It is left out: on the right side of a join, nothing matches it.
    Dropped,
}

/// A stateless way on one worker.
pub struct Front {
    plan: Arc<FrontPlan>,
    transforms: Vec<GuardedTransform>,
    shards: usize,
}

/// Rows between two steps.
struct Flow {
    batch: RecordBatch,
    /// Empty while the event time has not been read.
    times: Vec<Micros>,
    before: Vec<Micros>,
    lineage: Lineage,
}

impl Flow {
    fn len(&self) -> usize {
        self.lineage.len()
    }

    /// Keeps some rows, in the order given; a row may come several times.
    fn select(&mut self, rows: &UInt32Array) -> Result<(), GuardError> {
        let columns = self.batch.columns().iter().map(|column| take(column, rows, None)).collect::<Result<_, _>>()?;
        self.batch = record_batch(self.batch.schema(), columns, rows.len())?;
        self.select_rest(rows);
        Ok(())
    }

    /// As [`Flow::select`] for all but the columns.
    fn select_rest(&mut self, rows: &UInt32Array) {
        fn picked<T: Copy>(values: &[T], rows: &UInt32Array) -> Vec<T> {
            rows.values().iter().filter_map(|row| values.get(*row as usize)).copied().collect()
        }
        self.times = picked(&self.times, rows);
        self.before = picked(&self.before, rows);
        self.lineage = self.lineage.select(rows.values());
    }

    /// Says what is wrong with a row.
    fn refuse(&self, row: u32, reason: DeadReason, detail: String, errors: &mut Vec<DeadLetter>) {
        errors.push(self.lineage.dead_letter(row as usize, reason, detail));
    }
}

impl Front {
    /// The front of a view that is spread over `shards` shards.
    ///
    /// # Errors
    /// A transform's instance could not be made.
    pub fn new(plan: Arc<FrontPlan>, shards: usize) -> Result<Self, CallError> {
        let transforms = plan.transforms.iter().map(TransformStep::open).collect::<Result<_, _>>()?;
        Ok(Self { plan, transforms, shards })
    }

    /// What it runs.
    pub fn plan(&self) -> &Arc<FrontPlan> {
        &self.plan
    }

    /// Takes the next rows: gives each shard's batch, none where it has no row, and adds rows in error to `dead`.
    ///
    /// # Errors
    /// The view cannot go on.
    pub fn process(&mut self, rows: &Rows, dead: &mut Vec<DeadLetter>) -> Result<Vec<Option<KeyedBatch>>, GuardError> {
        let plan = self.plan.clone();
        let mut errors = Vec::new();
        let mut flow = start(&plan, rows, &mut errors)?;
        for (step, transform) in plan.transforms.iter().zip(&mut self.transforms) {
            run_transform(step, transform, &mut flow, &mut errors)?;
        }
        if let Some(derived) = &plan.derived {
            let outputs = evaluate(derived.expressions.iter(), &mut flow, &mut errors)?;
            flow.batch = next_batch(&derived.columns, &derived.schema, &flow.batch, &outputs, flow.times.len())?;
        }
        if let Some(lateness) = plan.lateness {
            drop_late(lateness, &mut flow, &mut errors)?;
        }
        let inputs =
            evaluate(plan.keys.iter().chain(&plan.inputs).map(|input| &input.expression), &mut flow, &mut errors)?;
        let kinds = plan.keys.iter().chain(&plan.inputs).map(|input| &input.kind);
        let mut inputs = inputs
            .into_iter()
            .zip(kinds)
            .map(|(input, kind)| if input.data_type() == kind { Ok(input) } else { cast(&input, kind) })
            .collect::<Result<Vec<_>, _>>()?;
        let keys = key_columns(&mut inputs, plan.keys.len());
        let batches = split(&plan, self.shards, flow, keys, inputs, &mut errors)?;
        dead.extend(errors.into_iter().map(|letter| DeadLetter { view: Some(plan.view), ..letter }));
        Ok(batches)
    }
}

/// Filters by the condition, and narrows to the columns that are used.
fn start(plan: &FrontPlan, rows: &Rows, errors: &mut Vec<DeadLetter>) -> Result<Flow, GuardError> {
    let columns = plan.projection.iter().filter_map(|column| rows.batch.columns().get(*column)).cloned().collect();
    let mut flow = Flow {
        batch: record_batch(plan.schema.clone(), columns, rows.times.len())?,
        times: rows.times.to_vec(),
        before: rows.before.to_vec(),
        lineage: rows.lineage.clone(),
    };
    if let Some(condition) = &plan.condition {
        let (kept, failed) = condition.predicate(&rows.batch);
        for (row, detail) in failed {
            flow.refuse(row, DeadReason::Expression, format!("where: {detail}"), errors);
        }
        if kept.true_count() < kept.len() {
            let kept: Vec<u32> = kept.values().set_indices_u32().collect();
            flow.select(&UInt32Array::from(kept))?;
        }
    }
    Ok(flow)
}

fn run_transform(
    step: &TransformStep,
    transform: &mut GuardedTransform,
    flow: &mut Flow,
    errors: &mut Vec<DeadLetter>,
) -> Result<(), GuardError> {
    let columns = evaluate(step.inputs.iter(), flow, errors)?;
    let input = Columns { rows: flow.len(), columns };
    let applied = transform.apply(&input)?;
    let mut outputs = applied.output.columns;
    let mut refused = applied.refused.iter().map(|refusal| refusal.row).peekable();
    // Which rows go on, where not all do, and for a transform that keeps its rows which of its outputs those are.
    let rows = match applied.origin {
        Some(origin) => Some(UInt32Array::from(origin)),
        None if refused.peek().is_some() => {
            let all = 0..u32::try_from(input.rows).unwrap_or(u32::MAX);
            let kept = UInt32Array::from(all.filter(|row| refused.next_if_eq(row).is_none()).collect::<Vec<_>>());
            for output in &mut outputs {
                *output = take(output, &kept, None)?;
            }
            Some(kept)
        }
        None => None,
    };
    for Refusal { row, reason, detail } in applied.refused {
        let letter = flow.lineage.dead_letter(row as usize, reason, detail);
        errors.push(DeadLetter { udf: Some(step.factory.digest().to_owned()), ..letter });
    }
    if let Some(rows) = rows {
        flow.select(&rows)?;
    }
    flow.batch = next_batch(&step.columns, &step.schema, &flow.batch, &outputs, flow.len())?;
    Ok(())
}

/// Evaluates expressions over the flow; rows on which one fails become errors and leave the flow.
fn evaluate<'a>(
    expressions: impl Iterator<Item = &'a Expression> + Clone,
    flow: &mut Flow,
    errors: &mut Vec<DeadLetter>,
) -> Result<Vec<ArrayRef>, GuardError> {
    let mut failed: Vec<(u32, String)> = Vec::new();
    let mut columns = Vec::new();
    for expression in expressions {
        let (column, errors) = expression.evaluate_rows(&flow.batch);
        failed.extend(errors.into_iter().map(|(row, detail)| (row, format!("{}: {detail}", expression.sql()))));
        columns.push(column);
    }
    if failed.is_empty() {
        return Ok(columns);
    }
    failed.sort_by_key(|(row, _)| *row);
    failed.dedup_by_key(|(row, _)| *row);
    let mut bad = failed.iter().map(|(row, _)| *row).peekable();
    let rows = u32::try_from(flow.len()).unwrap_or(u32::MAX);
    let good: UInt32Array = (0..rows).filter(|row| bad.next_if_eq(row).is_none()).collect::<Vec<_>>().into();
    for (row, detail) in failed {
        flow.refuse(row, DeadReason::Expression, detail, errors);
    }
    flow.select(&good)?;
    Ok(columns.iter().map(|column| take(column, &good, None)).collect::<Result<_, _>>()?)
}

fn drop_late(lateness: Lateness, flow: &mut Flow, errors: &mut Vec<DeadLetter>) -> Result<(), GuardError> {
    if !flow.times.iter().zip(&flow.before).any(|(time, before)| lateness.is_late(*time, *before)) {
        return Ok(());
    }
    let mut kept = Vec::with_capacity(flow.times.len());
    for ((row, time), before) in (0_u32..).zip(&flow.times).zip(&flow.before) {
        if lateness.is_late(*time, *before) {
            let detail = lateness.explain(&rfc3339(*time), &rfc3339(*before));
            flow.refuse(row, DeadReason::Late, detail, errors);
        } else {
            kept.push(row);
        }
    }
    flow.select(&UInt32Array::from(kept))
}

/// The columns after a step.
fn next_batch(
    columns: &[StepColumn],
    schema: &SchemaRef,
    before: &RecordBatch,
    outputs: &[ArrayRef],
    rows: usize,
) -> Result<RecordBatch, GuardError> {
    let columns = columns.iter().filter_map(|column| match column {
        StepColumn::Carried(index) => before.columns().get(*index),
        StepColumn::Output(index) => outputs.get(*index),
    });
    record_batch(schema.clone(), columns.cloned().collect(), rows)
}

fn record_batch(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, GuardError> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

/// Cuts the first `keys` columns off.
fn key_columns(columns: &mut Vec<ArrayRef>, keys: usize) -> Vec<ArrayRef> {
    let rest = columns.split_off(keys.min(columns.len()));
    std::mem::replace(columns, rest)
}

#[cfg(test)]
mod tests;
