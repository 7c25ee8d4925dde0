//! What it costs to have user code in WebAssembly: the same row closure native and in a component, limits on, and the
//! crossing alone, over batches of 1,024 rows of a float, a flag and a text of ten bytes.
//!
//! The native one is what a contributor would write into the engine: Arrow arrays in, a closure a row, Arrow builders
//! out; once with the SDK's way to lower case and once with the standard library's. The same work in other languages beside.
//! Needs `make guests`. Prints nanoseconds a row, then the ratios to native.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, BooleanBuilder, Float64Array, Float64Builder, StringArray, StringBuilder,
};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use criterion::{Criterion, Throughput};
use millrace::record::Columns;
use millrace::wasm::{Engine, EngineOptions, Limits};

/// The allocator of the `millrace` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 1_024;

struct In<'a> {
    value: f64,
    flag: bool,
    text: &'a str,
}

struct Out<T> {
    value: f64,
    flag: bool,
    text: T,
}

/// Text that is written in lower case without an allocation of its own, as the SDK's type of this name is.
struct Lowercase<'a>(&'a str);

/// The row closure, as `udfs/bench_transform` has it.
fn work(row: In<'_>) -> Out<Lowercase<'_>> {
    Out { value: row.value * 1.5 + 1.0, flag: !row.flag, text: Lowercase(row.text) }
}

/// The row closure with the standard library's lower case: a `String` a row.
fn allocating_work(row: In<'_>) -> Out<String> {
    Out { value: row.value * 1.5 + 1.0, flag: !row.flag, text: row.text.to_lowercase() }
}

/// Where a closure's text goes.
trait Push {
    fn push(self, scratch: &mut String, texts: &mut StringBuilder);
}

impl Push for Lowercase<'_> {
    fn push(self, scratch: &mut String, texts: &mut StringBuilder) {
        scratch.clear();
        if self.0.is_ascii() {
            scratch.push_str(self.0);
            scratch.make_ascii_lowercase();
        } else {
            scratch.push_str(&self.0.to_lowercase());
        }
        texts.append_value(scratch);
    }
}

impl Push for String {
    fn push(self, _: &mut String, texts: &mut StringBuilder) {
        texts.append_value(self);
    }
}

/// Calls a closure for every row.
fn native<'a, T: Push>(input: &'a Columns, work: impl Fn(In<'a>) -> Out<T>) -> Option<Columns> {
    let [value, flag, text] = input.columns.as_slice() else { return None };
    let (value, flag, text) = (value.as_primitive::<Float64Type>(), flag.as_boolean(), text.as_string::<i32>());
    let mut values = Float64Builder::with_capacity(input.rows);
    let mut flags = BooleanBuilder::with_capacity(input.rows);
    let mut texts = StringBuilder::with_capacity(input.rows, text.values().len());
    let mut scratch = String::new();
    for row in 0..input.rows {
        let out = work(In { value: value.value(row), flag: flag.value(row), text: text.value(row) });
        values.append_value(out.value);
        flags.append_value(out.flag);
        out.text.push(&mut scratch, &mut texts);
    }
    let columns: Vec<ArrayRef> = vec![Arc::new(values.finish()), Arc::new(flags.finish()), Arc::new(texts.finish())];
    Some(Columns { rows: input.rows, columns })
}

fn input() -> Columns {
    Columns {
        rows: ROWS,
        columns: vec![
            Arc::new(Float64Array::from_iter_values((0..ROWS).map(|row| row as f64))),
            Arc::new(BooleanArray::from_iter((0..ROWS).map(|row| Some(row % 3 == 0)))),
            Arc::new(StringArray::from_iter_values((0..ROWS).map(|row| format!("Shop {row:05}")))),
        ],
    }
}

fn fields() -> Vec<FieldRef> {
    [("value", DataType::Float64), ("flag", DataType::Boolean), ("text", DataType::Utf8)]
        .map(|(name, kind)| Arc::new(Field::new(name, kind, false)))
        .into()
}

/// Nanoseconds a row of every sample, by name.
type Samples = RefCell<BTreeMap<&'static str, Vec<f64>>>;

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn measure(criterion: &mut Criterion, samples: &Samples, name: &'static str, mut run: impl FnMut() -> usize) {
    let mut group = criterion.benchmark_group("boundary");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let start = Instant::now();
            for _ in 0..iterations {
                assert_eq!(std::hint::black_box(run()), ROWS);
            }
            let taken = start.elapsed();
            let rows = iterations as f64 * ROWS as f64;
            samples.borrow_mut().entry(name).or_default().push(taken.as_nanos() as f64 / rows);
            taken
        });
    });
    group.finish();
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::var_os("MILLRACE_COMPONENTS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../udfs/target/components")),
        PathBuf::from,
    );
    let engine = Engine::new(EngineOptions::default())?;
    let load = |file: &str| -> Result<_, Box<dyn std::error::Error>> {
        let path = folder.join(format!("{file}.wasm"));
        let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}; run `make guests`", path.display()))?;
        Ok(engine.load(&bytes)?)
    };

    let mut criterion = Criterion::default().measurement_time(Duration::from_secs(3)).configure_from_args();
    let samples = Samples::default();
    let input = input();
    measure(&mut criterion, &samples, "native", || native(&input, work).map_or(0, |output| output.rows));
    measure(&mut criterion, &samples, "native_allocating", || {
        native(&input, allocating_work).map_or(0, |output| output.rows)
    });
    for (label, file, name) in [
        ("row_closure", "bench_transform", "row_closure"),
        ("vectorised", "bench_transform", "vectorised"),
        ("passthrough", "bench_transform", "passthrough"),
        ("c_row_closure", "bench_c", "row_closure"),
        ("c_vectorised", "bench_c", "vectorised"),
        ("go_row_closure", "bench_go", "row_closure"),
        ("go_vectorised", "bench_go", "vectorised"),
        ("py_row_closure", "bench_python", "row_closure"),
        ("py_vectorised", "bench_python", "vectorised"),
        ("js_row_closure", "bench_javascript", "row_closure"),
        ("js_vectorised", "bench_javascript", "vectorised"),
    ] {
        // A language that was not built is left out.
        let component = match load(file) {
            Ok(component) => component,
            Err(error) if label == name => return Err(error),
            Err(error) => {
                eprintln!("left out: {error}");
                continue;
            }
        };
        let mut instance = component.transform(Some(name), &fields(), "{}", Limits::default())?.create()?;
        measure(&mut criterion, &samples, label, || instance.apply(&input).map_or(0, |done| done.output.rows));
    }

    let samples = samples.into_inner();
    let of = |name| samples.get(name).map_or(f64::NAN, |samples: &Vec<f64>| median(samples));
    for (name, samples) in &samples {
        let row = median(samples);
        let (native, allocating) = (row / of("native"), row / of("native_allocating"));
        println!("{name:17} {row:6.1} ns a row, {native:.2} of native, {allocating:.2} of native_allocating");
    }
    Ok(())
}
