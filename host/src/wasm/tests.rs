//! Real components through the whole of this layer: the ready-made UDFs, and one hostile guest a fault.
//!
//! They are built by `make guests` and read from `udfs/target/components`, or from where `MILLRACE_COMPONENTS` says.

mod aggregates;
mod hostile;
mod loading;
mod transforms;

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BooleanArray, Float64Array, StringArray};
use arrow::datatypes::{Field, FieldRef};

use super::{Component, Engine, EngineOptions};
use crate::record::{ColumnType, Columns};

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(EngineOptions::default()).unwrap());

/// The bytes of a component that `make guests` built.
fn bytes(name: &str) -> Vec<u8> {
    let folder = std::env::var_os("MILLRACE_COMPONENTS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../udfs/target/components")),
        PathBuf::from,
    );
    let path = folder.join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `make guests`", path.display()))
}

fn component(name: &str) -> Component {
    ENGINE.load(&bytes(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn field(name: &str, kind: ColumnType, nullable: bool) -> FieldRef {
    Arc::new(Field::new(name, kind.arrow(), nullable))
}

fn columns(columns: Vec<ArrayRef>) -> Columns {
    Columns { rows: columns.first().map_or(0, |column| column.len()), columns }
}

/// The columns of `bench_transform`.
fn bench_fields() -> Vec<FieldRef> {
    vec![
        field("value", ColumnType::Float64, false),
        field("flag", ColumnType::Boolean, false),
        field("text", ColumnType::Utf8, false),
    ]
}

fn bench_rows(rows: usize) -> Columns {
    columns(vec![
        Arc::new(Float64Array::from_iter_values((0..rows).map(|row| row as f64))),
        Arc::new(BooleanArray::from_iter((0..rows).map(|row| Some(row % 3 == 0)))),
        Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("Row É{row}")))),
    ])
}
