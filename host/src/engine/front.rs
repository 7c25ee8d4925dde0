//! The stateless half of a view, run in the order of each partition: `where`, transforms, columns, lateness, and the
//! split by key.
//!
//! ```text
//!   source's rows ─▶ where ─▶ transform ─▶ … ─▶ columns ─▶ not late? ─▶ keys, folded inputs ─▶ one batch a shard
//! ```
//! Always true: every row of the source goes to exactly one shard, is filtered out, or becomes a dead letter.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, SchemaRef};

use super::expression::Expression;
use super::guard::{GuardError, GuardedTransform, Refusal};
use super::ingest::{Ingested, dead_letter};
use super::key;
use super::keyed::KeyedBatch;
use super::transform::TransformFactory;
use super::udf::CallError;
use super::window::spec::WindowSpec;
use crate::record::{Columns, DeadLetter, DeadReason};
use crate::time::Micros;

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

/// When a row comes too late.
#[derive(Clone, Copy, Debug)]
pub struct Lateness {
    /// The view's windows.
    pub spec: WindowSpec,
    /// How much later than its last window a row may come.
    pub allowed: Micros,
}

/// The stateless half of a view, resolved.
#[derive(Clone)]
pub struct FrontPlan {
    /// The view's index in the plan.
    pub view: u16,
    /// Which rows it takes; none for all.
    pub condition: Option<Expression>,
    /// The columns that the steps after `condition` use, by their index among those of [`Ingested::batch`].
    pub projection: Vec<usize>,
    /// Those columns.
    pub schema: SchemaRef,
    /// The transforms, in order.
    pub transforms: Vec<TransformStep>,
    /// The derived columns.
    pub derived: Option<DerivedColumns>,
    /// The entity's keys, in the order of their names.
    pub keys: Vec<InputColumn>,
    /// What the view folds.
    pub inputs: Vec<InputColumn>,
    /// What is late; none where nothing is.
    pub lateness: Option<Lateness>,
}

/// A view's stateless half on one worker.
pub struct Front {
    plan: Arc<FrontPlan>,
    transforms: Vec<GuardedTransform>,
    shards: usize,
}

/// Rows between two steps.
struct Flow {
    batch: RecordBatch,
    times: Vec<Micros>,
    offsets: Vec<i64>,
    before: Vec<Micros>,
    events: Vec<u32>,
}

impl Flow {
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
        self.offsets = picked(&self.offsets, rows);
        self.before = picked(&self.before, rows);
        self.events = picked(&self.events, rows);
    }
}

impl Front {
    /// The front of a view that is spread over `shards` shards.
    ///
    /// # Errors
    /// A transform's instance could not be made.
    pub fn new(plan: Arc<FrontPlan>, shards: usize) -> Result<Self, CallError> {
        let guard = |step: &TransformStep| {
            let output = step.factory.signature().output.clone();
            step.factory.create().map(|transform| GuardedTransform::new(transform, output))
        };
        let transforms = plan.transforms.iter().map(guard).collect::<Result<_, _>>()?;
        Ok(Self { plan, transforms, shards })
    }

    /// Takes a partition's next rows: gives each shard's batch, none where it has no row, and adds rows in error to
    /// `dead`.
    ///
    /// # Errors
    /// The view cannot go on.
    pub fn process(
        &mut self,
        rows: &Ingested,
        dead: &mut Vec<DeadLetter>,
    ) -> Result<Vec<Option<KeyedBatch>>, GuardError> {
        let plan = self.plan.clone();
        let mut errors = Errors::new();
        let mut flow = start(&plan, rows, &mut errors)?;
        for (step, transform) in plan.transforms.iter().zip(&mut self.transforms) {
            run_transform(step, transform, &mut flow, &mut errors)?;
        }
        if let Some(derived) = &plan.derived {
            let outputs = evaluate(derived.expressions.iter(), &mut flow, &mut errors)?;
            flow.batch = next_batch(&derived.columns, &derived.schema, &flow.batch, &outputs, flow.times.len())?;
        }
        if let Some(lateness) = &plan.lateness {
            drop_late(*lateness, &mut flow, &mut errors)?;
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
        let batches = self.split(&plan, flow, keys, inputs, &rows.raw, &mut errors)?;
        dead.extend(errors.into_iter().map(|(event, reason, detail, udf)| DeadLetter {
            view: Some(plan.view),
            udf,
            ..dead_letter(&rows.raw, event, reason, detail)
        }));
        Ok(batches)
    }

    fn split(
        &self,
        plan: &FrontPlan,
        mut flow: Flow,
        mut keys: Vec<ArrayRef>,
        mut inputs: Vec<ArrayRef>,
        raw: &Arc<crate::record::RawBatch>,
        errors: &mut Errors,
    ) -> Result<Vec<Option<KeyedBatch>>, GuardError> {
        let fault = |error: key::KeyError| CallError::Host(error.to_string());
        let mut encoded = key::encode(&keys, flow.times.len()).map_err(fault)?;
        if encoded.nulls().is_some() {
            let mut whole = Vec::with_capacity(flow.events.len());
            for (row, event) in (0_u32..).zip(&flow.events) {
                if encoded.is_null(row as usize) {
                    let names: Vec<_> = plan.keys.iter().map(|key| key.expression.sql()).collect();
                    errors.push((
                        *event,
                        DeadReason::NullKey,
                        format!("a part of the key ({}) is null", names.join(", ")),
                        None,
                    ));
                } else {
                    whole.push(row);
                }
            }
            let whole = UInt32Array::from(whole);
            flow.select_rest(&whole);
            for column in keys.iter_mut().chain(&mut inputs) {
                *column = take(column, &whole, None)?;
            }
            encoded = key::encode(&keys, flow.times.len()).map_err(fault)?;
        }
        let hashes = encoded.hashes();
        let origin = raw.origin;
        if self.shards == 1 {
            let batch = KeyedBatch {
                origin,
                keys: encoded,
                hashes,
                times: flow.times.into(),
                offsets: flow.offsets.into(),
                inputs,
                raw: raw.clone(),
                events: flow.events,
            };
            return Ok(vec![(!batch.is_empty()).then_some(batch)]);
        }
        let mut rows_of: Vec<Vec<u32>> = vec![Vec::with_capacity(hashes.len() / self.shards + 16); self.shards];
        for (row, hash) in (0_u32..).zip(&hashes) {
            if let Some(rows) = rows_of.get_mut(key::shard(key::group_of_hash(*hash), self.shards)) {
                rows.push(row);
            }
        }
        let mut batches = Vec::with_capacity(self.shards);
        for rows in rows_of {
            if rows.is_empty() {
                batches.push(None);
                continue;
            }
            let at = |row: &u32| *row as usize;
            let picked = |values: &[i64]| rows.iter().filter_map(|row| values.get(at(row))).copied().collect();
            let events = rows.iter().filter_map(|row| flow.events.get(at(row))).copied().collect();
            let hashes = rows.iter().filter_map(|row| hashes.get(at(row))).copied().collect();
            let (times, offsets) = (picked(&flow.times), picked(&flow.offsets));
            let rows = UInt32Array::from(rows);
            let taken = |columns: &[ArrayRef]| {
                columns.iter().map(|column| take(column, &rows, None)).collect::<Result<Vec<_>, _>>()
            };
            batches.push(Some(KeyedBatch {
                origin,
                keys: key::encode(&taken(&keys)?, rows.len()).map_err(fault)?,
                hashes,
                times,
                offsets,
                inputs: taken(&inputs)?,
                raw: raw.clone(),
                events,
            }));
        }
        Ok(batches)
    }
}

/// Rows in error: the event, why, in which words, and which UDF said so.
type Errors = Vec<(u32, DeadReason, String, Option<String>)>;

/// Filters by the condition, and narrows to the columns that are used.
fn start(plan: &FrontPlan, rows: &Ingested, errors: &mut Errors) -> Result<Flow, GuardError> {
    let columns = plan.projection.iter().filter_map(|column| rows.batch.columns().get(*column)).cloned().collect();
    let mut flow = Flow {
        batch: record_batch(plan.schema.clone(), columns, rows.times.len())?,
        times: rows.times.to_vec(),
        offsets: rows.offsets.to_vec(),
        before: rows.before.clone(),
        events: rows.events.clone(),
    };
    if let Some(condition) = &plan.condition {
        let (kept, failed) = condition.predicate(&rows.batch);
        for (row, detail) in failed {
            let event = rows.events.get(row as usize).copied().unwrap_or(u32::MAX);
            errors.push((event, DeadReason::Expression, format!("where: {detail}"), None));
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
    errors: &mut Errors,
) -> Result<(), GuardError> {
    let columns = evaluate(step.inputs.iter(), flow, errors)?;
    let input = Columns { rows: flow.times.len(), columns };
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
        let event = flow.events.get(row as usize).copied().unwrap_or(u32::MAX);
        errors.push((event, reason, detail, Some(step.factory.digest().to_owned())));
    }
    if let Some(rows) = rows {
        flow.select(&rows)?;
    }
    flow.batch = next_batch(&step.columns, &step.schema, &flow.batch, &outputs, flow.times.len())?;
    Ok(())
}

/// Evaluates expressions over the flow; rows on which one fails become errors and leave the flow.
fn evaluate<'a>(
    expressions: impl Iterator<Item = &'a Expression> + Clone,
    flow: &mut Flow,
    errors: &mut Errors,
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
    let rows = u32::try_from(flow.times.len()).unwrap_or(u32::MAX);
    let good: UInt32Array = (0..rows).filter(|row| bad.next_if_eq(row).is_none()).collect::<Vec<_>>().into();
    for (row, detail) in failed {
        let event = flow.events.get(row as usize).copied().unwrap_or(u32::MAX);
        errors.push((event, DeadReason::Expression, detail, None));
    }
    flow.select(&good)?;
    Ok(columns.iter().map(|column| take(column, &good, None)).collect::<Result<_, _>>()?)
}

fn drop_late(lateness: Lateness, flow: &mut Flow, errors: &mut Errors) -> Result<(), GuardError> {
    let late = |time: Micros, before: Micros| lateness.spec.last_end(time) <= before.saturating_sub(lateness.allowed);
    if !flow.times.iter().zip(&flow.before).any(|(time, before)| late(*time, *before)) {
        return Ok(());
    }
    let mut kept = Vec::with_capacity(flow.times.len());
    for (((row, time), before), event) in (0_u32..).zip(&flow.times).zip(&flow.before).zip(&flow.events) {
        if late(*time, *before) {
            let (time, before) = (crate::time::rfc3339(*time), crate::time::rfc3339(*before));
            let detail = format!("the event of {time} comes after the watermark {before} closed its last window");
            errors.push((*event, DeadReason::Late, detail, None));
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
