//! What it costs to have user code in WebAssembly, limits on: one transform and one aggregate in every language that there is
//! an SDK for, native beside them in the same run, and what a component costs before its first row.
//!
//! The transform scales a float, turns a flag around and puts a text of ten bytes into lower case, row by row and over whole
//! columns; `passthrough` is the crossing alone. The aggregate is a mean, four rows a key. Before a guest is measured it
//! has to give what the native code gives. Needs `make guests`, and of the languages those that are to be measured;
//! `scripts/bench-boundary` runs it with the crate arrow-udf-runtime beside, and makes a table of both.

#[path = "boundary/native.rs"]
mod native;
#[path = "boundary/starts.rs"]
mod starts;

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{BooleanArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use criterion::{BenchmarkId, Criterion, Throughput};
use millrace::record::Columns;
use millrace::wasm::{Component, Engine, EngineOptions, Limits};
use serde_json::Value;

/// The allocator of the `millrace` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error>;

const SIZES: [usize; 3] = [64, 1_024, 8_192];

/// Rows of one key in a batch.
const ROWS_A_KEY: usize = 4;

/// A component, and what it is written in.
struct Guest {
    language: &'static str,
    file: &'static str,
    transforms: &'static [&'static str],
    memory: usize,
}

impl Guest {
    fn limits(&self) -> Limits {
        Limits { memory: self.memory, ..Limits::default() }
    }
}

/// Interpreters are given the memory that their READMEs tell for large rows; all else is as a project has it that says nothing.
const GUESTS: [Guest; 5] = [
    Guest {
        language: "rust",
        file: "bench_transform",
        transforms: &["row_closure", "row_closure_owned", "vectorised", "passthrough"],
        memory: 64 << 20,
    },
    Guest { language: "c", file: "bench_c", transforms: &["row_closure", "vectorised"], memory: 64 << 20 },
    Guest { language: "go", file: "bench_go", transforms: &["row_closure", "vectorised"], memory: 64 << 20 },
    Guest {
        language: "python",
        file: "bench_python",
        transforms: &["row_closure", "vectorised", "passthrough"],
        memory: 128 << 20,
    },
    Guest {
        language: "javascript",
        file: "bench_javascript",
        transforms: &["row_closure", "vectorised", "passthrough"],
        memory: 128 << 20,
    },
];

fn input(rows: usize) -> Columns {
    Columns {
        rows,
        columns: vec![
            Arc::new(Float64Array::from_iter_values((0..rows).map(|row| row as f64))),
            Arc::new(BooleanArray::from_iter((0..rows).map(|row| Some(row % 3 == 0)))),
            Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("Shop {row:05}")))),
        ],
    }
}

fn fields() -> Vec<FieldRef> {
    [("value", DataType::Float64), ("flag", DataType::Boolean), ("text", DataType::Utf8)]
        .map(|(name, kind)| Arc::new(Field::new(name, kind, false)))
        .into()
}

/// A fold: the state of each key, the key of each row, and its value.
struct Fold {
    state: Columns,
    groups: Vec<u32>,
    input: Columns,
}

fn fold(rows: usize) -> Fold {
    let keys = rows / ROWS_A_KEY;
    let sums = Float64Array::from_iter_values((0..keys).map(|key| key as f64));
    let counts = Int64Array::from_iter_values((0..keys).map(|key| i64::try_from(key).unwrap_or_default()));
    let state = Columns { rows: keys, columns: vec![Arc::new(sums), Arc::new(counts)] };
    // A prime, so that the rows of a key are not beside each other.
    let groups = (0..rows).map(|row| u32::try_from(row * 7_919 % keys).unwrap_or_default()).collect();
    let mut input = input(rows);
    input.columns.truncate(1);
    Fold { state, groups, input }
}

fn bench(criterion: &mut Criterion, group: &str, name: &str, rows: usize, mut run: impl FnMut() -> Option<Columns>) {
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Elements(rows as u64));
    group.bench_function(BenchmarkId::new(name, rows), |bencher| bencher.iter(|| black_box(run())));
    group.finish();
}

/// Fails where a guest gives something else than the native code.
fn same(name: &str, given: Option<&Columns>, native: Option<&Columns>) -> Result<(), Failure> {
    match (given, native) {
        (Some(given), Some(native)) if given.columns == native.columns => Ok(()),
        _ => Err(format!("{name} gives something else than the native code").into()),
    }
}

fn transforms(criterion: &mut Criterion, rows: usize, guests: &[(&Guest, Component)]) -> Result<(), Failure> {
    const GROUP: &str = "boundary-transform";
    let input = input(rows);
    bench(criterion, GROUP, "native-row_closure", rows, || native::by_row(&input, native::work));
    bench(criterion, GROUP, "native-row_closure_owned", rows, || native::by_row(&input, native::allocating_work));
    bench(criterion, GROUP, "native-vectorised", rows, || native::by_column(&input));
    let expected = native::by_row(&input, native::work);
    same("the native code by column", native::by_column(&input).as_ref(), expected.as_ref())?;
    for (guest, component) in guests {
        for transform in guest.transforms {
            let name = format!("{}-{transform}", guest.language);
            let mut instance = component.transform(Some(transform), &fields(), "{}", guest.limits())?.create()?;
            let given = instance.apply(&input)?.output;
            same(&name, Some(&given), if *transform == "passthrough" { Some(&input) } else { expected.as_ref() })?;
            bench(criterion, GROUP, &name, rows, || instance.apply(&input).ok().map(|done| done.output));
        }
    }
    Ok(())
}

fn aggregates(criterion: &mut Criterion, rows: usize, guests: &[(&Guest, Component)]) -> Result<(), Failure> {
    const GROUP: &str = "boundary-aggregate";
    let Fold { state, groups, input } = fold(rows);
    bench(criterion, GROUP, "native", rows, || native::fold(&state, &groups, &input));
    let expected = native::fold(&state, &groups, &input);
    let value = [Arc::new(Field::new("value", DataType::Float64, false))];
    for (guest, component) in guests {
        let mut instance = component.aggregate(Some("mean"), &value, "{}", guest.limits())?.create()?;
        let given = instance.update(state.clone(), &groups, &input)?.state;
        same(guest.language, Some(&given), expected.as_ref())?;
        bench(criterion, GROUP, guest.language, rows, || {
            instance.update(state.clone(), &groups, &input).ok().map(|updated| updated.state)
        });
    }
    Ok(())
}

fn main() -> Result<(), Failure> {
    let folder = std::env::var_os("MILLRACE_COMPONENTS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../udfs/target/components")),
        PathBuf::from,
    );
    // A restart need not wait for the interpreters.
    let cache = folder.join("compiled");
    let engine = Engine::new(EngineOptions { cache: Some(cache), ..EngineOptions::default() })?;
    let mut guests = Vec::new();
    for guest in &GUESTS {
        let path = folder.join(format!("{}.wasm", guest.file));
        match std::fs::read(&path) {
            Ok(bytes) => guests.push((guest, bytes)),
            // Rust's is there wherever `make guests` was run; the other languages need their toolchains.
            Err(error) if guest.language == "rust" => {
                return Err(format!("{}: {error}; run `make guests`", path.display()).into());
            }
            Err(error) => eprintln!("left out: {}: {error}", path.display()),
        }
    }
    let loaded =
        guests.iter().map(|(guest, bytes)| Ok((*guest, engine.load(bytes)?))).collect::<Result<Vec<_>, Failure>>()?;

    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for rows in SIZES {
        transforms(&mut criterion, rows, &loaded)?;
        aggregates(&mut criterion, rows, &loaded)?;
    }
    // Starts are measured where all is, or they alone by `boundary starts`; compiling takes too long for criterion's ways.
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if filter.is_none_or(|filter| filter == "starts") {
        let mut starts = serde_json::Map::new();
        for (guest, bytes) in &guests {
            starts.insert(guest.language.to_owned(), starts::measure(guest, bytes)?);
        }
        if let Some(home) = std::env::var_os("CRITERION_HOME") {
            let file = PathBuf::from(home).join("boundary-starts.json");
            std::fs::write(file, serde_json::to_vec_pretty(&Value::Object(starts))?)?;
        }
    }
    Ok(())
}
