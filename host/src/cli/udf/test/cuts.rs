//! Whether it matters where a batch is cut: it must not, to the bit, since nobody says where a stream's batches end.

use anyhow::{Context, Result, bail};
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::FieldRef;
use millrace::engine::aggregate::AggregateFactory;
use millrace::engine::guard::{Applied, GuardedAggregate, GuardedTransform};
use millrace::engine::pieces;
use millrace::record::Columns;

use super::super::lines::Lines;
use super::super::loaded::Bound;
use super::case::Case;

/// Folds a case's rows whole and one by one, and holds the results against one another; gives how many rows there were.
pub(in crate::cli::udf) fn check(bound: &Bound, case: &Case) -> Result<usize> {
    let input = match bound {
        Bound::Transform(factory) => input(case, &factory.signature().input)?,
        Bound::Aggregate(factory) => input(case, &factory.signature().input)?,
    };
    match bound {
        Bound::Transform(factory) => {
            let output = factory.signature().output.clone();
            let fresh = || Ok::<_, anyhow::Error>(GuardedTransform::new(factory.create()?, output.clone()));
            let whole = given(&fresh()?.apply(&input)?, 0, &output)?;
            let mut alone = fresh()?;
            let mut parts = Vec::new();
            for row in 0..input.rows {
                parts.push(given(&alone.apply(&pieces::slice(&input, &(row..row + 1)))?, row, &output)?);
            }
            let rows: Vec<Row> = parts.into_iter().flatten().collect();
            same(&case.name, &whole, &rows)?;
        }
        Bound::Aggregate(factory) => {
            let whole = folded(factory.as_ref(), &input, input.rows.max(1))?;
            same(&case.name, &whole, &folded(factory.as_ref(), &input, 1)?)?;
        }
    }
    Ok(input.rows)
}

/// The columns that a UDF wants, of a case's rows that decode.
pub(super) fn input(case: &Case, wanted: &[String]) -> Result<Columns> {
    let text = case.rows()?;
    let mut lines = Lines::new(text.as_bytes(), case.columns(), case.is_csv());
    let (_, decoded) = lines.next(usize::MAX)?.with_context(|| format!("{} has no rows", case.input.display()))?;
    let batch = decoded.batch;
    let column = |name: &String| batch.column_by_name(name).cloned().with_context(|| format!("no column `{name}`"));
    Ok(Columns { rows: batch.num_rows(), columns: wanted.iter().map(column).collect::<Result<_>>()? })
}

/// A row that came out, by the row that it came of; or why there is none.
struct Row {
    of: usize,
    values: Vec<ArrayRef>,
    refused: Option<String>,
}

/// What came of rows that begin at `first`.
fn given(applied: &Applied, first: usize, output: &[FieldRef]) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for row in 0..applied.output.rows {
        let of = applied.origin.as_ref().map_or(row, |origin| origin.get(row).map_or(0, |of| *of as usize));
        if applied.refused.iter().any(|refusal| refusal.row as usize == of) {
            continue;
        }
        let values = pieces::slice(&applied.output, &(row..row + 1));
        rows.push(Row { of: first + of, values: copied(values, output)?, refused: None });
    }
    rows.extend(applied.refused.iter().map(|refusal| Row {
        of: first + refusal.row as usize,
        values: Vec::new(),
        refused: Some(refusal.detail.clone()),
    }));
    rows.sort_by_key(|row| row.of);
    Ok(rows)
}

/// A slice as an array of its own, so that equality looks at nothing else.
fn copied(values: Columns, fields: &[FieldRef]) -> Result<Vec<ArrayRef>> {
    Ok(pieces::concat(vec![values.clone(), pieces::slice(&values, &(0..0))], fields)?.columns)
}

/// The state, and the value, after all rows, `at_once` of them in a call.
fn folded(factory: &dyn AggregateFactory, input: &Columns, at_once: usize) -> Result<Vec<Row>> {
    let signature = factory.signature();
    let mut aggregate = GuardedAggregate::new(factory.create()?, signature.output.clone());
    let mut state = aggregate.initial(1)?;
    let mut rows = Vec::new();
    for range in pieces::ranges(input.rows, at_once) {
        let first = range.start;
        let folded = aggregate.update(state, &vec![0; range.len()], &pieces::slice(input, &range))?;
        state = folded.state;
        rows.extend(folded.refused.into_iter().map(|refusal| Row {
            of: first + refusal.row as usize,
            values: Vec::new(),
            refused: Some(refusal.detail),
        }));
    }
    let value = aggregate.evaluate(&state, &[0], &[0])?;
    rows.push(Row { of: usize::MAX, values: state.columns, refused: None });
    rows.push(Row { of: usize::MAX, values: value.output.columns, refused: None });
    Ok(rows)
}

fn same(case: &str, whole: &[Row], parts: &[Row]) -> Result<()> {
    let differs = |(a, b): &(&Row, &Row)| {
        a.of != b.of
            || a.refused != b.refused
            || a.values.iter().map(|value| value.to_data()).ne(b.values.iter().map(|value| value.to_data()))
    };
    if whole.len() == parts.len() && !whole.iter().zip(parts).any(|pair| differs(&pair)) {
        return Ok(());
    }
    let row = whole.iter().zip(parts).find(differs).map(|(row, _)| row.of).filter(|of| *of != usize::MAX);
    let place = row.map_or_else(|| "its state or value".to_owned(), |row| format!("row {}", row + 1));
    bail!(
        "case {case}: {place} depends on where batches are cut. Rows must be worked one after the other: update(update(s, a), b) \
         must be update(s, a and b), and a transform must carry nothing from one call to the next"
    );
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type};
    use millrace::engine::transform::{Transform, TransformFactory, TransformSignature, Transformed};
    use millrace::engine::udf::CallError;

    use super::*;

    /// Gives each value and adds, if it is told so, the number of its row in the call.
    struct Numbered(TransformSignature, bool);

    struct Instance(bool);

    impl TransformFactory for Numbered {
        fn signature(&self) -> &TransformSignature {
            &self.0
        }

        fn digest(&self) -> &str {
            ""
        }

        fn create(&self) -> Result<Box<dyn Transform>, CallError> {
            Ok(Box::new(Instance(self.1)))
        }
    }

    impl Transform for Instance {
        fn apply(&mut self, input: &Columns) -> Result<Transformed, CallError> {
            let values = input.columns[0].as_primitive::<Int64Type>().values().iter();
            let added =
                values.enumerate().map(|(row, value)| value + if self.0 { i64::try_from(row).unwrap() } else { 0 });
            let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(added))];
            Ok(Transformed { output: Columns { rows: input.rows, columns }, ..Transformed::default() })
        }
    }

    fn checked(numbered: bool) -> Result<usize> {
        let folder = tempfile::tempdir().unwrap();
        let tests = folder.path().join("tests");
        std::fs::create_dir(&tests).unwrap();
        std::fs::write(tests.join("c.toml"), "columns = { v = \"int64\" }").unwrap();
        std::fs::write(tests.join("c.jsonl"), "{\"v\":1}\n# a remark\n{\"v\":2}\n{\"v\":3}\n").unwrap();
        let cases = super::super::case::all(folder.path()).unwrap();
        let output: FieldRef = Arc::new(Field::new("v", DataType::Int64, true));
        let signature = TransformSignature { input: vec!["v".into()], output: vec![output] };
        check(&Bound::Transform(Arc::new(Numbered(signature, numbered))), &cases[0])
    }

    #[test]
    fn what_depends_on_cuts_is_found() {
        assert_eq!(checked(false).unwrap(), 3);
        let error = checked(true).unwrap_err().to_string();
        assert!(error.contains("case c: row 2 depends on where batches are cut"), "{error}");
    }
}
