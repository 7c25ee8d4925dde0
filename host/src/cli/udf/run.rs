//! `millrace udf run`: rows through a UDF, from standard input to standard output.

use std::collections::HashMap;
use std::io::{BufReader, Read, Write, stdin, stdout};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take, take_record_batch};
use arrow::datatypes::{Field, FieldRef, Schema, TimestampMicrosecondType};
use clap::Args;
use millrace::engine::aggregate::AggregateFactory;
use millrace::engine::guard::{Applied, GuardedAggregate, GuardedTransform, Refusal};
use millrace::engine::{key, pieces};
use millrace::record::{ColumnType, Columns};
use millrace::time::Micros;
use millrace::wasm::{Limits, MAX_ROWS};

use super::columns;
use super::lines::{self, Lines};
use super::loaded::{Bound, ComponentArgs};

/// Pipe rows through a UDF: JSON lines or CSV in, JSON lines out
#[derive(Debug, Args)]
#[command(after_help = "\
A transform's rows come out as they go in, with its columns added; what it refuses is told on standard error. An aggregate
gives one row for all of the input, or one for each key.

Examples:
  millrace udf run cards.wasm#clean --columns 'merchant: utf8, amount: float64' < rows.jsonl
  millrace udf run cards.wasm#spread --columns 'card: int64, amount: float64' --by card --csv < rows.csv")]
pub(super) struct RunArgs {
    #[command(flatten)]
    component: ComponentArgs,

    /// The columns of the rows: `name: type`, separated by commas
    #[arg(long, value_name = "COLUMNS")]
    columns: String,

    /// Its options, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    options: String,

    /// The rows are CSV, whose first line names the columns
    #[arg(long)]
    csv: bool,

    /// Of an aggregate: the columns that make a key, separated by commas
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    by: Vec<String>,

    /// Of an aggregate: the timestamp column by which an ordered one gets its rows, and from which to which the window is
    #[arg(long, value_name = "COLUMN")]
    event_time: Option<String>,
}

/// Does it.
pub(super) fn run(args: &RunArgs) -> Result<()> {
    let columns = columns::parse(&args.columns).map_err(anyhow::Error::msg).context("--columns")?;
    let loaded = args.component.load()?;
    let (name, aggregates) = loaded.udf(None)?;
    let bound = loaded.bind(&name, aggregates, &columns::fields(&columns), &args.options, Limits::default())?;
    let mut lines = Lines::new(BufReader::new(stdin().lock()), &columns, args.csv);
    match bound {
        Bound::Transform(factory) => {
            let output = factory.signature().output.clone();
            let mut transform = GuardedTransform::new(factory.create()?, output.clone());
            let mut text = Vec::new();
            while let Some((numbers, batch)) = rows(&mut lines)? {
                let applied = transform.apply(&chosen(&batch, &factory.signature().input)?)?;
                refused(&applied.refused, &numbers);
                lines::write(&carried(&batch, &applied, &output)?, &mut text)?;
                if let Err(error) = stdout().lock().write_all(&text) {
                    return super::super::closed_pipe(error).context("standard output");
                }
                text.clear();
            }
            Ok(())
        }
        Bound::Aggregate(factory) => {
            let mut fold = Fold::new(factory.as_ref(), args)?;
            let mut all = Vec::new();
            while let Some((numbers, batch)) = rows(&mut lines)? {
                all.push((numbers, batch));
            }
            fold.all(all)?;
            let mut text = Vec::new();
            lines::write(&fold.result()?, &mut text)?;
            stdout().lock().write_all(&text).or_else(super::super::closed_pipe).context("standard output")
        }
    }
}

/// The next rows that decode, with their lines; the others are told.
fn rows<R: Read>(lines: &mut Lines<BufReader<R>>) -> Result<Option<(Vec<i64>, RecordBatch)>> {
    let Some((numbers, decoded)) = lines.next(MAX_ROWS)? else { return Ok(None) };
    for (event, detail) in &decoded.errors {
        eprintln!("line {}: {detail}", numbers.get(*event as usize).copied().unwrap_or_default());
    }
    let numbers = decoded.events.iter().filter_map(|event| numbers.get(*event as usize).copied()).collect();
    Ok(Some((numbers, decoded.batch)))
}

/// The columns of these names.
fn chosen(batch: &RecordBatch, names: &[String]) -> Result<Columns> {
    let column = |name: &String| batch.column_by_name(name).cloned().with_context(|| format!("no column {name}"));
    Ok(Columns { rows: batch.num_rows(), columns: names.iter().map(column).collect::<Result<_>>()? })
}

fn refused(refused: &[Refusal], numbers: &[i64]) {
    for refusal in refused {
        let line = numbers.get(refusal.row as usize).copied().unwrap_or_default();
        eprintln!("line {line}: refused: {}", refusal.detail);
    }
}

/// What came out, with the columns that went in and were not replaced.
fn carried(batch: &RecordBatch, applied: &Applied, output: &[FieldRef]) -> Result<RecordBatch> {
    let replaced = |field: &FieldRef| output.iter().any(|other| other.name() == field.name());
    let schema = batch.schema();
    // Without an origin there is a row for each, refused ones among them.
    let kept = |row: &u32| !applied.refused.iter().any(|refusal| refusal.row == *row);
    let rows: Option<UInt32Array> = match &applied.origin {
        None if applied.refused.is_empty() => None,
        None => Some((0..u32::try_from(batch.num_rows())?).filter(kept).collect::<Vec<_>>().into()),
        Some(_) => None,
    };
    let origin = applied.origin.as_ref().map(|origin| UInt32Array::from(origin.clone())).or_else(|| rows.clone());
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in schema.fields().iter().zip(batch.columns()).filter(|(field, _)| !replaced(field)) {
        fields.push(field.clone());
        columns.push(match &origin {
            None => column.clone(),
            Some(origin) => take(column, origin, None)?,
        });
    }
    fields.extend(output.iter().cloned());
    for column in &applied.output.columns {
        columns.push(match &rows {
            None => column.clone(),
            Some(rows) => take(column, rows, None)?,
        });
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// An aggregate over all of the input.
struct Fold<'a> {
    factory: &'a dyn AggregateFactory,
    aggregate: GuardedAggregate,
    by: &'a [String],
    event_time: Option<&'a str>,
    /// The state of each key, and its keys' columns.
    state: Columns,
    keys: HashMap<Vec<u8>, u32>,
    named: Vec<RecordBatch>,
    /// From the first to the last event.
    span: Option<(Micros, Micros)>,
}

impl<'a> Fold<'a> {
    fn new(factory: &'a dyn AggregateFactory, args: &'a RunArgs) -> Result<Self> {
        let signature = factory.signature();
        if signature.ordered && args.event_time.is_none() {
            bail!("the aggregate wants its rows by event time: name the column, as in --event-time at");
        }
        let mut aggregate = GuardedAggregate::new(factory.create()?, signature.output.clone());
        let state = aggregate.initial(0)?;
        let (by, event_time) = (args.by.as_slice(), args.event_time.as_deref());
        Ok(Self { factory, aggregate, by, event_time, state, keys: HashMap::new(), named: Vec::new(), span: None })
    }

    /// Folds all rows; an ordered aggregate's by their event time.
    fn all(&mut self, batches: Vec<(Vec<i64>, RecordBatch)>) -> Result<()> {
        if !self.factory.signature().ordered {
            return batches.into_iter().try_for_each(|(numbers, batch)| self.batch(&numbers, &batch));
        }
        let Some((_, first)) = batches.first() else { return Ok(()) };
        let numbers: Vec<i64> = batches.iter().flat_map(|(numbers, _)| numbers.iter().copied()).collect();
        let batch = concat_batches(&first.schema(), batches.iter().map(|(_, batch)| batch))?;
        let times = self.times(&batch)?.context("no event time")?;
        let order = lexsort_to_indices(
            &[
                SortColumn { values: times, options: None },
                SortColumn {
                    values: Arc::new(UInt32Array::from_iter_values(0..u32::try_from(numbers.len())?)),
                    options: None,
                },
            ],
            None,
        )?;
        let sorted = take_record_batch(&batch, &order)?;
        let numbers: Vec<i64> = order.values().iter().filter_map(|row| numbers.get(*row as usize).copied()).collect();
        self.batch(&numbers, &sorted)
    }

    /// The column of event times.
    fn times(&self, batch: &RecordBatch) -> Result<Option<ArrayRef>> {
        let Some(name) = self.event_time else { return Ok(None) };
        let column =
            batch.column_by_name(name).with_context(|| format!("--event-time {name}: there is no such column"))?;
        if column.as_primitive_opt::<TimestampMicrosecondType>().is_none() {
            bail!("--event-time {name}: it is no timestamp");
        }
        Ok(Some(column.clone()))
    }

    fn batch(&mut self, numbers: &[i64], batch: &RecordBatch) -> Result<()> {
        if let Some(times) = self.times(batch)? {
            let times = times.as_primitive::<TimestampMicrosecondType>().iter().flatten();
            let span = |known: Option<(Micros, Micros)>, time: Micros| {
                known.map_or(Some((time, time)), |(least, most)| Some((least.min(time), most.max(time))))
            };
            self.span = times.fold(self.span, span);
        }
        let groups = self.groups(batch)?;
        let lacking = self.keys.len().max(1) - self.state.rows;
        if lacking > 0 {
            let fresh = self.aggregate.initial(lacking)?;
            let fields = &self.factory.signature().state;
            self.state = pieces::concat(vec![std::mem::take(&mut self.state), fresh], fields)?;
        }
        let input = chosen(batch, &self.factory.signature().input)?;
        let folded = self.aggregate.update(std::mem::take(&mut self.state), &groups, &input)?;
        self.state = folded.state;
        refused(&folded.refused, numbers);
        Ok(())
    }

    /// The number of each row's key; new ones are noted.
    fn groups(&mut self, batch: &RecordBatch) -> Result<Vec<u32>> {
        if self.by.is_empty() {
            return Ok(vec![0; batch.num_rows()]);
        }
        let columns = chosen(batch, self.by).context("--by")?;
        for (name, column) in self.by.iter().zip(&columns.columns) {
            let kind = ColumnType::from_arrow(column.data_type()).context("a key's type")?;
            key::check(&kind).with_context(|| format!("--by {name}"))?;
        }
        let encoded = key::encode(&columns.columns, batch.num_rows())?;
        let mut fresh = Vec::new();
        let mut groups = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            // A key with a null in it is one of its own here, where nothing else could be said of its rows.
            let mut bytes = encoded.get(row).to_vec();
            bytes.push(u8::from(encoded.is_null(row)));
            let next = u32::try_from(self.keys.len())?;
            groups.push(*self.keys.entry(bytes).or_insert_with(|| {
                fresh.push(u32::try_from(row).unwrap_or(u32::MAX));
                next
            }));
        }
        let fields: Vec<_> = self
            .by
            .iter()
            .zip(&columns.columns)
            .map(|(name, column)| Field::new(name, column.data_type().clone(), true))
            .collect();
        let named = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.columns)?;
        self.named.push(take_record_batch(&named, &UInt32Array::from(fresh))?);
        Ok(groups)
    }

    /// A row a key: the key and the values.
    fn result(mut self) -> Result<RecordBatch> {
        if self.by.is_empty() && self.state.rows == 0 {
            self.state = self.aggregate.initial(1)?;
        }
        let rows = self.state.rows;
        let (since, until) = self.span.map_or((0, 0), |(least, most)| (least, most.saturating_add(1)));
        let values = self.aggregate.evaluate(&self.state, &vec![since; rows], &vec![until; rows])?;
        if let Some(refusal) = values.refused.first() {
            bail!("evaluating failed: {}", refusal.detail);
        }
        let mut fields: Vec<FieldRef> = Vec::new();
        let mut columns = Vec::new();
        if let Some(first) = self.named.first() {
            let named = concat_batches(&first.schema(), &self.named)?;
            fields.extend(named.schema().fields().iter().cloned());
            columns.extend(named.columns().iter().cloned());
        }
        fields.extend(self.factory.signature().output.iter().cloned());
        columns.extend(values.output.columns);
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }
}
