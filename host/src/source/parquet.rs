//! Rows from a Parquet file: one partition, and an event's offset is the number of its row, from 0.
//!
//! A thread reads the file's pages as they are wanted, and of the columns only those that are; a batch goes on as Arrow
//! columns, undecoded bytes there are none. What a damaged file does to the library that reads it stays in that thread.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use tokio::sync::mpsc;

use super::{SourceContext, SourceError};
use crate::record::{Origin, RawBatch};

/// How many batches wait for the workers.
const BATCHES_AHEAD: usize = 4;

/// What a Parquet source runs with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file.
    pub path: PathBuf,
    /// Reading begins with this row.
    pub start: usize,
    /// The columns that are read; others are passed over.
    pub columns: Vec<String>,
}

/// The columns of a file.
///
/// # Errors
/// It cannot be read, or is no Parquet.
pub fn schema(path: &Path) -> Result<SchemaRef, String> {
    Ok(open(path)?.schema().clone())
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, String> {
    let cannot = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
    let file = File::open(path).map_err(|error| cannot(&error))?;
    // What else wrote its own Arrow schema into the file does not matter: the columns' own types do.
    let options = ArrowReaderOptions::new();
    ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).map_err(|error| cannot(&error))
}

/// Reads the file to its end, which ends the partition, or until it is stopped, which does not.
///
/// # Errors
/// [`SourceError::Refused`] for a file that cannot be read, with its path; [`SourceError::Stopped`] when the workers are
/// gone.
pub async fn run(options: Options, context: SourceContext) -> Result<(), SourceError> {
    context.until_stopped(forward(options, &context)).await
}

async fn forward(options: Options, context: &SourceContext) -> Result<(), SourceError> {
    let (sender, mut batches) = mpsc::channel(BATCHES_AHEAD);
    let mut next = i64::try_from(options.start).unwrap_or(i64::MAX);
    let (rows, path) = (context.batch_rows.max(1), options.path.display().to_string());
    // The thread ends once nobody wants its batches, so a stop need not wait for it.
    let reading = tokio::task::spawn_blocking(move || {
        for batch in reader(&options, rows)? {
            let batch = batch.map_err(|error| format!("cannot read {}: {error}", options.path.display()))?;
            if sender.blocking_send(batch).is_err() {
                break;
            }
        }
        Ok::<_, String>(())
    });
    context.announce(&[next]).await?;
    while let Some(rows) = batches.recv().await {
        if rows.num_rows() > 0 {
            let batch = raw(rows, context.origin(0), next, context.clock.now());
            next = next.saturating_add(i64::try_from(batch.len()).unwrap_or(i64::MAX));
            context.give(batch).await?;
        }
    }
    match reading.await {
        Ok(Ok(())) => context.end(0).await,
        Ok(Err(cause)) => Err(context.refused(cause)),
        Err(_) => Err(context.refused(format!("cannot read {path}: it is damaged"))),
    }
}

fn reader(options: &Options, rows: usize) -> Result<ParquetRecordBatchReader, String> {
    let builder = open(&options.path)?;
    let wanted = builder.schema().fields().iter().enumerate();
    let wanted = wanted.filter(|(_, field)| options.columns.contains(field.name())).map(|(index, _)| index);
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted.collect::<Vec<_>>());
    let builder = builder.with_projection(mask).with_batch_size(rows).with_offset(options.start);
    builder.build().map_err(|error| format!("cannot read {}: {error}", options.path.display()))
}

fn raw(rows: RecordBatch, origin: Origin, first: i64, now: crate::time::Micros) -> RawBatch {
    let count = rows.num_rows();
    RawBatch {
        origin,
        offsets: (first..).take(count).collect(),
        arrivals: vec![now; count],
        rows: Some(rows),
        ..RawBatch::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use bytes::Bytes;
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;
    use tempfile::NamedTempFile;

    use super::super::contract::{self, NOW, Stage};
    use super::*;

    /// A file of row groups of 1,000 rows: `n` counts, `word` is a text.
    fn file(rows: usize) -> NamedTempFile {
        let file = NamedTempFile::new().unwrap();
        let n: ArrayRef = Arc::new((0..).take(rows).collect::<Int64Array>());
        let word: ArrayRef = Arc::new((0..rows).map(|row| Some(format!("word {row}"))).collect::<StringArray>());
        let batch = RecordBatch::try_from_iter([("word", word), ("n", n)]).unwrap();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(1_000)).build();
        let mut writer = ArrowWriter::try_new(file.reopen().unwrap(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        file
    }

    fn options(path: &Path, columns: &[&str]) -> Options {
        Options { path: path.into(), start: 0, columns: columns.iter().map(ToString::to_string).collect() }
    }

    #[tokio::test]
    async fn keeps_the_contract_of_sources() {
        contract::holds(|stage, events| {
            let file = file(events.len());
            let options = options(file.path(), &["n"]);
            stage.run(|context| async move {
                let result = run(options, context).await;
                drop(file);
                result
            });
        })
        .await;
    }

    #[tokio::test]
    async fn rows_are_numbered_and_reading_may_begin_with_any() {
        let file = file(2_500);
        for start in [0, 999, 1_000, 2_499, 2_500, 9_000] {
            let mut stage = Stage::new(700);
            let options = Options { start, ..options(file.path(), &["n", "word", "absent"]) };
            stage.run(|context| run(options, context));
            let seen = stage.take_all(1).await;
            assert_eq!(seen.events(0).len(), 2_500_usize.saturating_sub(start));
            for (number, (offset, payload)) in (start..).zip(seen.events(0)) {
                assert_eq!(*offset, i64::try_from(number).unwrap());
                assert_eq!(payload, &Bytes::from(format!(r#"{{"word":"word {number}","n":{number}}}"#)));
            }
            assert!(seen.arrivals.iter().all(|arrival| *arrival == NOW));
            stage.ended().await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text.parquet");
        std::fs::write(&text, "PAR1 this is none PAR1").unwrap();
        let whole = std::fs::read(file(5_000).path()).unwrap();
        let damaged = folder.path().join("damaged.parquet");
        // The footer is whole, the pages are not.
        let half = whole.len() / 2;
        std::fs::write(&damaged, [&vec![0xa5; half], &whole[half..]].concat()).unwrap();
        for path in [folder.path().join("absent.parquet"), text, damaged] {
            let mut stage = Stage::new(8);
            let options = options(&path, &["n", "word"]);
            stage.run(|context| run(options, context));
            stage.take_partitions().await;
            let error = stage.ended().await.unwrap_err().to_string();
            assert!(error.starts_with(&format!("source cards: cannot read {}: ", path.display())), "{error}");
        }
    }
}
