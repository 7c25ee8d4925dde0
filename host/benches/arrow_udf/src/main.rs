//! The work of the benchmark `boundary` in the crate arrow-udf-runtime: its WebAssembly, its JavaScript (QuickJS, native) and,
//! with the feature `python`, its Python (CPython, native). On the same rows, into the same folder of results.
//!
//! Its WebAssembly knows no aggregates. In the others a call folds rows of one key alone: a batch is a call a key. Nothing
//! bounds a call's time here; QuickJS and CPython run in the host's own memory.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Fields, Schema};
use arrow_udf_runtime::CallMode;
use arrow_udf_runtime::javascript::{AggregateOptions, FunctionOptions};
use arrow_udf_runtime::{javascript, wasm};
use criterion::{BenchmarkId, Criterion, Throughput};
use serde_json::{Value, json};

/// The allocator of the `millrace` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error>;

const SIZES: [usize; 3] = [64, 1_024, 8_192];
const ROWS_A_KEY: usize = 4;

const JAVASCRIPT: &str = "export function row_closure(value, flag, text) {
    return { value: value * 1.5 + 1, flag: !flag, text: text.toLowerCase() };
}";

const JAVASCRIPT_COLUMNS: &str = "export function vectorised(values, flags, texts) {
    return values.map((value, row) => ({ value: value * 1.5 + 1, flag: !flags[row], text: texts[row].toLowerCase() }));
}";

const JAVASCRIPT_MEAN: &str = "
export function create_state() { return { sum: 0, count: 0 }; }
export function accumulate(state, value) { return { sum: state.sum + value, count: state.count + 1 }; }
export function finish(state) { return state.count == 0 ? null : state.sum / state.count; }
";

#[cfg(feature = "python")]
const PYTHON: &str = "
def row_closure(value, flag, text):
    return {'value': value * 1.5 + 1.0, 'flag': not flag, 'text': text.lower()}
";

#[cfg(feature = "python")]
const PYTHON_MEAN: &str = "
class State:
    def __init__(self, sum, count):
        self.sum = sum
        self.count = count

def create_state():
    return State(0.0, 0)

def accumulate(state, value):
    return State(state.sum + value, state.count + 1)

def finish(state):
    return state.sum / state.count if state.count else None
";

fn fields() -> Fields {
    [("value", DataType::Float64), ("flag", DataType::Boolean), ("text", DataType::Utf8)]
        .into_iter()
        .map(|(name, kind)| Field::new(name, kind, true))
        .collect()
}

fn returned() -> DataType {
    DataType::Struct(fields())
}

fn state() -> DataType {
    DataType::Struct(Fields::from(vec![
        Field::new("sum", DataType::Float64, true),
        Field::new("count", DataType::Int64, true),
    ]))
}

fn input(rows: usize) -> Result<RecordBatch, Failure> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Float64Array::from_iter_values((0..rows).map(|row| row as f64))),
        Arc::new(BooleanArray::from_iter((0..rows).map(|row| Some(row % 3 == 0)))),
        Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("Shop {row:05}")))),
    ];
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields())), columns)?)
}

/// The rows of a batch that are one key's, for each key: what a caller has to make of a batch, left out of what is measured.
fn keys(rows: usize) -> Result<Vec<RecordBatch>, Failure> {
    let keys = rows / ROWS_A_KEY;
    let schema = Arc::new(Schema::new(vec![Field::new("value", DataType::Float64, true)]));
    let of = |key: usize| (0..rows).filter(move |row| row * 7_919 % keys == key).map(|row| row as f64);
    (0..keys)
        .map(|key| {
            let values: ArrayRef = Arc::new(Float64Array::from_iter_values(of(key)));
            Ok(RecordBatch::try_new(Arc::clone(&schema), vec![values])?)
        })
        .collect()
}

fn bench(
    criterion: &mut Criterion,
    group: &str,
    name: &str,
    rows: usize,
    mut run: impl FnMut() -> Result<(), Failure>,
) {
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Elements(rows as u64));
    group.bench_function(BenchmarkId::new(name, rows), |bencher| bencher.iter(|| black_box(run()).unwrap()));
    group.finish();
}

/// Fails unless the last row's text is in lower case.
fn check(name: &str, output: &RecordBatch, rows: usize) -> Result<(), Failure> {
    let text = output.columns().last().map(|column| format!("{:?}", column.slice(rows - 1, 1))).unwrap_or_default();
    let right = output.num_rows() == rows && text.contains(&format!("shop {:05}", rows - 1));
    if right { Ok(()) } else { Err(format!("{name} gives something else: {text}").into()) }
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

/// How long a start takes, of a few.
fn start<T>(times: usize, mut run: impl FnMut() -> Result<T, Failure>) -> Result<f64, Failure> {
    let times = (0..times).map(|_| {
        let start = Instant::now();
        run()?;
        Ok(start.elapsed())
    });
    Ok(median(times.collect::<Result<_, Failure>>()?))
}

fn javascript() -> Result<(tokio::runtime::Runtime, javascript::Runtime), Failure> {
    let tokio = tokio::runtime::Builder::new_current_thread().build()?;
    let runtime = tokio.block_on(async {
        let mut runtime = javascript::Runtime::new().await?;
        runtime.add_function("row_closure", returned(), JAVASCRIPT, FunctionOptions::default()).await?;
        let options = FunctionOptions::default().batched();
        runtime.add_function("vectorised", returned(), JAVASCRIPT_COLUMNS, options).await?;
        let options = AggregateOptions::default();
        runtime.add_aggregate("mean", state(), DataType::Float64, JAVASCRIPT_MEAN, options).await?;
        Ok::<_, Failure>(runtime)
    })?;
    Ok((tokio, runtime))
}

#[cfg(feature = "python")]
fn python() -> Result<arrow_udf_runtime::python::Runtime, Failure> {
    let mut runtime = arrow_udf_runtime::python::Runtime::new()?;
    runtime.add_function("row_closure", returned(), CallMode::CalledOnNullInput, PYTHON)?;
    runtime.add_aggregate("mean", state(), DataType::Float64, CallMode::CalledOnNullInput, PYTHON_MEAN)?;
    Ok(runtime)
}

fn main() -> Result<(), Failure> {
    let guest = std::env::var_os("ARROW_UDF_GUEST").map(PathBuf::from).ok_or("ARROW_UDF_GUEST names no component")?;
    let bytes = std::fs::read(guest)?;
    let runtime = wasm::Runtime::new(&bytes)?;
    let arguments = vec![DataType::Float64, DataType::Boolean, DataType::Utf8];
    let function = runtime.find_function("row_closure", arguments, returned())?;
    let (tokio, javascript_runtime) = javascript()?;
    #[cfg(feature = "python")]
    let python_runtime = python()?;

    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for rows in SIZES {
        const GROUP: &str = "boundary-transform";
        let batch = input(rows)?;
        check("WebAssembly", &runtime.call(&function, &batch)?, rows)?;
        bench(&mut criterion, GROUP, "arrow_udf_wasm-row_closure", rows, || {
            runtime.call(&function, &batch)?;
            Ok(())
        });
        for name in ["row_closure", "vectorised"] {
            check(name, &tokio.block_on(javascript_runtime.call(name, &batch))?, rows)?;
            bench(&mut criterion, GROUP, &format!("arrow_udf_javascript-{name}"), rows, || {
                tokio.block_on(javascript_runtime.call(name, &batch))?;
                Ok(())
            });
        }
        #[cfg(feature = "python")]
        {
            check("Python", &python_runtime.call("row_closure", &batch)?, rows)?;
            bench(&mut criterion, GROUP, "arrow_udf_python-row_closure", rows, || {
                python_runtime.call("row_closure", &batch)?;
                Ok(())
            });
        }

        const AGGREGATE: &str = "boundary-aggregate";
        let keys = keys(rows)?;
        let empty = tokio.block_on(javascript_runtime.create_state("mean"))?;
        bench(&mut criterion, AGGREGATE, "arrow_udf_javascript", rows, || {
            for key in &keys {
                black_box(tokio.block_on(javascript_runtime.accumulate("mean", &empty, key))?);
            }
            Ok(())
        });
        #[cfg(feature = "python")]
        {
            let empty = python_runtime.create_state("mean")?;
            bench(&mut criterion, AGGREGATE, "arrow_udf_python", rows, || {
                for key in &keys {
                    black_box(python_runtime.accumulate("mean", &empty, key)?);
                }
                Ok(())
            });
        }
    }

    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if filter.is_none_or(|filter| filter == "starts") {
        let one = input(1)?;
        let cold = start(5, || Ok(wasm::Runtime::new(&bytes)?.call(&function, &one)?))?;
        let mut starts = serde_json::Map::new();
        starts.insert("arrow_udf_wasm".to_owned(), json!({ "bytes": bytes.len(), "cold_ms": cold }));
        starts.insert("arrow_udf_javascript".to_owned(), json!({ "cold_ms": start(10, javascript)? }));
        #[cfg(feature = "python")]
        starts.insert("arrow_udf_python".to_owned(), json!({ "cold_ms": start(10, python)? }));
        let starts = Value::Object(starts);
        println!("{starts:#}");
        if let Some(home) = std::env::var_os("CRITERION_HOME") {
            std::fs::write(PathBuf::from(home).join("boundary-starts-arrow-udf.json"), starts.to_string())?;
        }
    }
    Ok(())
}
