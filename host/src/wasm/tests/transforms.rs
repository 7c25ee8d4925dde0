use arrow::array::AsArray as _;
use arrow::datatypes::Float64Type;

use super::*;
use crate::wasm::{BindError, Limits, MAX_ROWS};

fn transform(name: &str) -> Arc<dyn crate::engine::transform::TransformFactory> {
    component("bench_transform").transform(Some(name), &bench_fields(), "{}", Limits::default()).unwrap()
}

#[test]
fn a_transform_says_what_it_wants_and_gives() {
    let factory = transform("row_closure");
    assert_eq!(factory.signature().input, ["value", "flag", "text"]);
    assert_eq!(factory.signature().output, bench_fields());
    assert_eq!(factory.digest().len(), 64);
}

#[test]
fn rows_cross_and_come_back_whatever_their_number() {
    for name in ["row_closure", "vectorised"] {
        let mut instance = transform(name).create().unwrap();
        for rows in [0, 1, 1_000, MAX_ROWS, MAX_ROWS + 1, 3 * MAX_ROWS + 5] {
            let done = instance.apply(&bench_rows(rows)).unwrap();
            assert_eq!((done.origin, done.rejected.len()), (None, 0));
            assert_eq!(done.output.rows, rows);
            let values = done.output.columns[0].as_primitive::<Float64Type>();
            assert!((0..rows).all(|row| values.value(row) == row as f64 * 1.5 + 1.0));
            let flags = done.output.columns[1].as_boolean();
            assert!((0..rows).all(|row| flags.value(row) == (row % 3 != 0)));
            let text = done.output.columns[2].as_string::<i32>();
            assert!((0..rows).all(|row| text.value(row) == format!("row é{row}")), "{name} {rows}");
        }
    }
}

#[test]
fn a_slice_crosses_as_its_rows_alone() {
    let mut instance = transform("passthrough").create().unwrap();
    let whole = bench_rows(1_000);
    for (start, rows) in [(0, 10), (3, 10), (8, 100), (999, 1), (13, 987)] {
        let slice = columns(whole.columns.iter().map(|column| column.slice(start, rows)).collect());
        let done = instance.apply(&slice).unwrap();
        assert_eq!(done.output.rows, rows);
        assert_eq!(done.output.columns, slice.columns);
    }
}

#[test]
fn what_does_not_fit_is_said() {
    let component = component("bench_transform");
    let bind = |name: Option<&str>, fields: &[FieldRef], options: &str| {
        component.transform(name, fields, options, Limits::default()).map(|_| ()).unwrap_err()
    };
    let names = "`row_closure`, `row_closure_owned`, `vectorised`, `passthrough`";
    assert_eq!(
        bind(None, &bench_fields(), "{}").to_string(),
        format!("the component holds several transforms: name one of {names}, as in `component = \"file.wasm#NAME\"`")
    );
    assert_eq!(
        bind(Some("clean"), &bench_fields(), "{}").to_string(),
        format!("the component holds no transform `clean`; it holds {names}")
    );
    let odd = Arc::new(Field::new("odd", arrow::datatypes::DataType::Int16, true));
    assert_eq!(
        bind(Some("row_closure"), &[odd], "{}").to_string(),
        "column `odd` is Int16, which cannot be given to a UDF"
    );
    for (fields, options) in [(&bench_fields()[..2], "{}"), (&bench_fields(), "{\"x\":1}"), (&bench_fields(), "[")] {
        let refused = bind(Some("row_closure"), fields, options);
        assert!(matches!(&refused, BindError::Refused(words) if !words.is_empty()), "{refused:?}");
        println!("{refused}");
    }
    let without = super::component("merchant_category");
    let error = without.aggregate(None, &bench_fields(), "{}", Limits::default()).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "the component holds no aggregate");
}
