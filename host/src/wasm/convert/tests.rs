//! Round trips over random and sliced arrays, and what hostile buffers are told.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, ListArray,
    StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::Field;
use proptest::prelude::*;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::engine::udf::CallError;
use crate::record::{Columns, Rejection};
use crate::wasm::bindings::millrace::feature::columns::{
    BatchParam, BatchResult, ColumnResult, Rejection as RawRejection,
};

fn kinds() -> impl Strategy<Value = ColumnType> {
    let flat = prop_oneof![
        Just(ColumnType::Boolean),
        Just(ColumnType::Int32),
        Just(ColumnType::Int64),
        Just(ColumnType::Float32),
        Just(ColumnType::Float64),
        Just(ColumnType::Timestamp),
        Just(ColumnType::Utf8),
        Just(ColumnType::Binary),
    ];
    flat.prop_recursive(2, 4, 1, |item| item.prop_map(|item| ColumnType::List(Box::new(item))))
}

/// An array of random values, a fifth of them null where `nulls`.
fn random(kind: &ColumnType, rows: usize, nulls: bool, rng: &mut ChaCha8Rng) -> ArrayRef {
    fn each<T>(rows: usize, nulls: bool, rng: &mut ChaCha8Rng, value: fn(&mut ChaCha8Rng) -> T) -> Vec<Option<T>> {
        (0..rows).map(|_| (!nulls || rng.random_ratio(4, 5)).then(|| value(rng))).collect()
    }
    let text = |rng: &mut ChaCha8Rng| "aé€𝄞".repeat(rng.random_range(0..3));
    match kind {
        ColumnType::Boolean => Arc::new(BooleanArray::from(each(rows, nulls, rng, |rng| rng.random()))),
        ColumnType::Int32 => Arc::new(Int32Array::from(each(rows, nulls, rng, |rng| rng.random()))),
        ColumnType::Int64 => Arc::new(Int64Array::from(each(rows, nulls, rng, |rng| rng.random()))),
        ColumnType::Float32 => Arc::new(Float32Array::from(each(rows, nulls, rng, |rng| rng.random()))),
        ColumnType::Float64 => Arc::new(Float64Array::from(each(rows, nulls, rng, |rng| rng.random()))),
        ColumnType::Timestamp => {
            let times = each(rows, nulls, rng, |rng| rng.random());
            Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))
        }
        ColumnType::Utf8 => Arc::new(StringArray::from(each(rows, nulls, rng, text))),
        ColumnType::Binary => {
            let values = each(rows, nulls, rng, |rng| rng.random::<[u8; 3]>());
            Arc::new(BinaryArray::from_iter(values))
        }
        ColumnType::List(item) => {
            let lengths: Vec<usize> = (0..rows).map(|_| rng.random_range(0..4)).collect();
            let values = random(item, lengths.iter().sum(), nulls, rng);
            let present = nulls.then(|| NullBuffer::from_iter((0..rows).map(|_| rng.random_ratio(4, 5))));
            let field = Arc::new(Field::new_list_field(item.arrow(), true));
            Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), values, present))
        }
        ColumnType::Map(_) => unreachable!("maps do not cross"),
    }
}

fn owned(batch: &BatchParam<'_>) -> BatchResult {
    let columns = batch
        .columns
        .iter()
        .map(|column| ColumnResult { buffers: column.buffers.iter().map(|buffer| buffer.to_vec()).collect() });
    BatchResult { rows: batch.rows, columns: columns.collect() }
}

fn schema(kind: &ColumnType) -> Vec<Column> {
    vec![Column { field: Arc::new(Field::new("x", kind.arrow(), true)), kind: kind.clone() }]
}

fn lowered(kind: &ColumnType, array: ArrayRef) -> BatchResult {
    let columns = Columns { rows: array.len(), columns: vec![array] };
    with_batch(std::slice::from_ref(kind), &columns, |batch| Ok(owned(&batch))).unwrap()
}

proptest! {
    #[test]
    fn columns_come_back_as_they_went(kind in kinds(), rows in 0usize..70, cut in 0usize..40, nulls: bool, seed: u64) {
        let array = random(&kind, rows, nulls, &mut ChaCha8Rng::seed_from_u64(seed));
        let start = cut.min(rows);
        let array = array.slice(start, (rows - start).saturating_sub(cut / 3));
        let back = lift(lowered(&kind, Arc::clone(&array)), &schema(&kind), |_| Ok(())).unwrap();
        prop_assert_eq!(back.rows, array.len());
        prop_assert_eq!(&back.columns[0], &array);
    }

    #[test]
    fn damaged_buffers_are_refused_or_read_as_valid_arrays(
        kind in kinds(), rows in 0usize..20, nulls: bool, seed: u64, changes in 1usize..4,
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut batch = lowered(&kind, random(&kind, rows, nulls, &mut rng));
        for _ in 0..changes {
            let buffers = &mut batch.columns[0].buffers;
            let buffer = rng.random_range(0..buffers.len());
            let length = buffers[buffer].len();
            match rng.random_range(0..6) {
                0 => buffers[buffer].truncate(length.saturating_sub(1)),
                1 => buffers[buffer].push(rng.random()),
                2 => drop(buffers.remove(buffer)),
                3 => batch.rows = rng.random_range(0..30),
                _ if length > 0 => buffers[buffer][rng.random_range(0..length)] = rng.random(),
                _ => {}
            }
            if batch.columns[0].buffers.is_empty() { break }
        }
        if let Ok(columns) = lift(batch, &schema(&kind), |_| Ok(())) {
            for array in &columns.columns {
                prop_assert_eq!(array.len(), columns.rows);
                prop_assert!(array.to_data().validate_full().is_ok());
            }
        }
    }

    #[test]
    fn rows_take_what_their_values_take(kind in kinds(), rows in 0usize..20, seed: u64) {
        let array = random(&kind, rows, false, &mut ChaCha8Rng::seed_from_u64(seed));
        let columns = Columns { rows, columns: vec![Arc::clone(&array)] };
        let expected: Vec<usize> = (0..rows).map(|row| bytes_of(&kind, &array.slice(row, 1))).collect();
        let most = expected.iter().copied().max().unwrap_or(0);
        let kinds = [kind];
        prop_assert_eq!(check_row_bytes(&columns, &kinds, most), Ok(()));
        if most > 0 {
            let row = expected.iter().position(|bytes| *bytes == most).unwrap();
            let text = format!("state row {row} takes {most} bytes, more than its limit of {}", most - 1);
            prop_assert_eq!(check_row_bytes(&columns, &kinds, most - 1).map_err(|breach| breach.0), Err(text));
        }
    }
}

/// The bytes of an array of one row, or of a list's items, one after the other.
fn bytes_of(kind: &ColumnType, array: &ArrayRef) -> usize {
    use arrow::array::AsArray as _;
    let values: usize = match kind {
        ColumnType::Utf8 => array.as_string::<i32>().iter().flatten().map(str::len).sum(),
        ColumnType::Binary => array.as_binary::<i32>().iter().flatten().map(<[u8]>::len).sum(),
        ColumnType::List(item) => array.as_list::<i32>().iter().flatten().map(|items| bytes_of(item, &items)).sum(),
        _ => 0,
    };
    values + row_bytes(kind) * array.len()
}

#[test]
fn formats_read_back_as_they_are_written() {
    for (text, kind) in [
        ("b", ColumnType::Boolean),
        ("i", ColumnType::Int32),
        ("l", ColumnType::Int64),
        ("f", ColumnType::Float32),
        ("g", ColumnType::Float64),
        ("tsu:UTC", ColumnType::Timestamp),
        ("u", ColumnType::Utf8),
        ("z", ColumnType::Binary),
        ("+l<+l<g>>", ColumnType::List(Box::new(ColumnType::List(Box::new(ColumnType::Float64))))),
    ] {
        assert_eq!(format(&kind), text);
        assert_eq!(parse_format(text), Some(kind));
    }
    for unknown in ["", "+l", "+l<", "+l<>", "+l<g", "g>", "tsu:", "tsu:CET", "U"] {
        assert_eq!(parse_format(unknown), None, "{unknown}");
    }
    let nested = |depth: usize| format!("{}g{}", "+l<".repeat(depth), ">".repeat(depth));
    assert!(parse_format(&nested(MAX_DEPTH)).is_some());
    assert_eq!(parse_format(&nested(MAX_DEPTH + 1)), None);
    assert_eq!(parse_format(&nested(1_000_000)), None);
}

#[test]
fn what_is_wrong_with_a_buffer_is_said() {
    let i32s = |numbers: &[i32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let list = ColumnType::List(Box::new(ColumnType::Float64));
    let none = Vec::new;
    for (kind, rows, buffers, wrong) in [
        (ColumnType::Float64, 2, vec![none()], "1 buffers where float64 has 2"),
        (ColumnType::Float64, 2, vec![none(), vec![0; 15]], "its values buffer has 15 bytes where 2 of them take 16"),
        (ColumnType::Float64, 9, vec![vec![255], vec![0; 72]], "its validity buffer has 1 bytes where 9 rows take 2"),
        (ColumnType::Boolean, 9, vec![none(), vec![0; 3]], "its values buffer has 3 bytes where 9 rows take 2"),
        (ColumnType::Utf8, 1, vec![none(), none(), none()], "its offsets buffer has 0 bytes where 2 of them take 8"),
        (ColumnType::Utf8, 1, vec![none(), i32s(&[1, 2]), b"ab".into()], "its offsets do not begin at 0"),
        (ColumnType::Utf8, 2, vec![none(), i32s(&[0, 2, 1]), b"a".into()], "its offsets decrease"),
        (ColumnType::Utf8, 1, vec![none(), i32s(&[0, -1]), b"a".into()], "its offsets decrease"),
        (
            ColumnType::Utf8,
            1,
            vec![none(), i32s(&[0, 3]), b"a".into()],
            "its offsets end at 3 where its values have 1 bytes",
        ),
        (ColumnType::Utf8, 1, vec![none(), i32s(&[0, 1]), vec![0xff]], "its text is not UTF-8"),
        (ColumnType::Utf8, 2, vec![none(), i32s(&[0, 1, 2]), "é".into()], "its text is not UTF-8"),
        (
            ColumnType::Binary,
            1,
            vec![none(), i32s(&[0, 0]), b"a".into()],
            "its offsets end at 0 where its values have 1 bytes",
        ),
        (list.clone(), 1, vec![none(), i32s(&[0, 1]), none()], "3 buffers where list<float64> has 4"),
        (
            list,
            1,
            vec![none(), i32s(&[0, i32::MAX]), none(), vec![0; 8]],
            "in its items, its values buffer has 8 bytes where 2147483647 of them take 17179869176",
        ),
    ] {
        let batch = BatchResult { rows, columns: vec![ColumnResult { buffers }] };
        let error = lift(batch, &schema(&kind), |_| Ok(())).map(|columns| columns.rows);
        assert_eq!(error, Err(Breach(format!("column `x`: {wrong}"))));
    }
}

#[test]
fn a_null_where_none_may_be_is_refused() {
    let columns =
        [Column { field: Arc::new(Field::new("x", ColumnType::Int32.arrow(), false)), kind: ColumnType::Int32 }];
    let lift = |validity: u8| {
        let buffers = vec![vec![validity], vec![0; 8]];
        lift(BatchResult { rows: 2, columns: vec![ColumnResult { buffers }] }, &columns, |_| Ok(()))
    };
    assert_eq!(
        lift(0b01).map(|lifted| lifted.rows),
        Err(Breach("column `x`: a null where its signature has none".into()))
    );
    assert_eq!(lift(0b11).map(|lifted| lifted.rows), Ok(2));
    let missing = super::lift(BatchResult { rows: 2, columns: vec![] }, &columns, |_| Ok(()));
    assert_eq!(missing.map(|lifted| lifted.rows), Err(Breach("0 columns where its signature has 1".into())));
}

#[test]
fn rejections_ascend_within_the_input() {
    let rejected = |rows: &[u32]| {
        let raw = rows.iter().map(|row| RawRejection { row: *row, reason: "bad".into() }).collect();
        lift_rejected(raw, 3).map(|rejected| rejected.into_iter().map(|one| one.row).collect::<Vec<_>>())
    };
    assert_eq!(rejected(&[0, 2]), Ok(vec![0, 2]));
    assert_eq!(rejected(&[3]), Err(Breach("it rejects row 3 of 3".into())));
    assert_eq!(rejected(&[u32::MAX]), Err(Breach("it rejects row 4294967295 of 3".into())));
    assert_eq!(rejected(&[1, 1]), Err(Breach("its rejections are not ascending: row 1 comes late".into())));
    assert_eq!(rejected(&[2, 0]), Err(Breach("its rejections are not ascending: row 0 comes late".into())));
}

#[test]
fn origin_ascends_within_the_input_and_holds_no_rejected_row() {
    let origin = |rows: &[u32], rejected: &[u32]| {
        let raw: Vec<u8> = rows.iter().flat_map(|row| row.to_le_bytes()).collect();
        let rejected: Vec<_> = rejected.iter().map(|row| Rejection { row: *row, reason: String::new() }).collect();
        lift_origin(&raw, 3, 4, &rejected)
    };
    assert_eq!(origin(&[0, 0, 3], &[1, 2]), Ok(vec![0, 0, 3]));
    assert_eq!(origin(&[0, 0], &[]), Err(Breach("origin has 8 bytes where 3 output rows take 12".into())));
    assert_eq!(origin(&[1, 0, 2], &[]), Err(Breach("origin decreases".into())));
    assert_eq!(origin(&[0, 1, 4], &[]), Err(Breach("origin names row 4 of 4".into())));
    assert_eq!(origin(&[0, 1, 2], &[1]), Err(Breach("row 1 is rejected and yet in origin".into())));
    assert_eq!(lift_origin(&[0; 13], 3, 4, &[]), Err(Breach("origin has 13 bytes where 3 output rows take 12".into())));
}

#[test]
fn columns_of_another_type_do_not_cross() {
    let array: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let columns = Columns { rows: 2, columns: vec![Arc::clone(&array)] };
    let call = |kinds: &[ColumnType], columns: &Columns| with_batch(kinds, columns, |_| Ok(()));
    assert_eq!(call(&[ColumnType::Int32], &columns), Ok(()));
    let text = "column 0 is 2 rows of Int32 where it was bound to utf8, of 2 rows here";
    assert_eq!(call(&[ColumnType::Utf8], &columns), Err(CallError::Host(text.into())));
    let text = "1 columns where it was bound to 0";
    assert_eq!(call(&[], &columns), Err(CallError::Host(text.into())));
    let text = "column 0 is 2 rows of Int32 where it was bound to int32, of 3 rows here";
    let columns = Columns { rows: 3, columns: vec![array] };
    assert_eq!(call(&[ColumnType::Int32], &columns), Err(CallError::Host(text.into())));
}
