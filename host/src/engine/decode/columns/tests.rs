use arrow::array::{
    Date32Array, Decimal128Array, DictionaryArray, Float32Array, Int16Array, Int64Array, LargeStringArray, ListArray,
    StringArray, TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
};
use arrow::datatypes::{Float64Type, Int32Type};

use super::super::testing::field;
use super::*;

fn decode(fields: &[DecodeField], columns: &[(&str, ArrayRef)]) -> Decoded {
    let rows = RecordBatch::try_from_iter(columns.iter().map(|(name, column)| (*name, Arc::clone(column)))).unwrap();
    ColumnsDecoder::new(fields).decode(&RawBatch { rows: Some(rows), ..RawBatch::default() })
}

fn times(batch: &RecordBatch, column: usize) -> Vec<Option<i64>> {
    batch.column(column).as_primitive::<TimestampMicrosecondType>().iter().collect()
}

#[test]
fn columns_are_found_by_name_and_cast() {
    let strings: DictionaryArray<Int32Type> = ["a", "b"].into_iter().collect();
    let fields = [
        field("text", "utf8"),
        field("small", "int64"),
        field("price", "float64"),
        field("words", "list<utf8>"),
        field("kind", "utf8"),
    ];
    let price = Decimal128Array::from(vec![1_250, -5]).with_precision_and_scale(10, 2).unwrap();
    let words = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)]), None]);
    let words = cast(&(Arc::new(words) as ArrayRef), &ColumnType::parse("list<utf8>").unwrap().arrow()).unwrap();
    let decoded = decode(
        &fields,
        &[
            ("kind", Arc::new(strings)),
            ("price", Arc::new(price)),
            ("words", words),
            ("unused", Arc::new(Int64Array::from(vec![0, 0]))),
            ("small", Arc::new(Int16Array::from(vec![Some(-3), None]))),
            ("text", Arc::new(LargeStringArray::from(vec!["x", "y"]))),
        ],
    );
    assert_eq!((decoded.errors.len(), decoded.events), (0, vec![0, 1]));
    let batch = decoded.batch;
    assert_eq!(batch.schema(), schema_of(&fields));
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(-3), None]);
    assert_eq!(batch.column(2).as_primitive::<Float64Type>().values(), &[12.5, -0.05]);
    assert_eq!(batch.column(4).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn times_of_every_kind_become_timestamps() {
    let mut fields: Vec<_> =
        ["ns", "s", "zoned", "date", "text", "millis", "local"].map(|name| field(name, "timestamp")).into();
    fields[5].time = Some(TimeFormat::EpochMillis);
    fields[6].time = Some(TimeFormat::iso().with_zone("+02:00").unwrap());
    let decoded = decode(
        &fields,
        &[
            ("ns", Arc::new(TimestampNanosecondArray::from(vec![1_500_000_000]))),
            ("s", Arc::new(TimestampSecondArray::from(vec![7]))),
            ("zoned", Arc::new(TimestampSecondArray::from(vec![7]).with_timezone("+05:00"))),
            ("date", Arc::new(Date32Array::from(vec![1]))),
            ("text", Arc::new(StringArray::from(vec!["1970-01-01 00:00:02"]))),
            ("millis", Arc::new(Int64Array::from(vec![3]))),
            ("local", Arc::new(TimestampSecondArray::from(vec![7_200]))),
        ],
    );
    assert_eq!(decoded.errors, []);
    let read: Vec<_> = (0..7).map(|column| times(&decoded.batch, column)[0].unwrap()).collect();
    assert_eq!(read, [1_500_000, 7_000_000, 7_000_000, 86_400_000_000, 2_000_000, 3_000, 0]);
}

#[test]
fn a_value_that_does_not_fit_is_an_error_of_its_row() {
    let fields = [field("n", "int32"), field("at", "timestamp"), field("big", "int64")];
    let decoded = decode(
        &fields,
        &[
            ("n", Arc::new(Int64Array::from(vec![Some(1), Some(1 << 40), None, Some(2)]))),
            ("at", Arc::new(StringArray::from(vec![Some("1970-01-01"), Some("never"), None, Some("soon")]))),
            ("big", Arc::new(UInt64Array::from(vec![0, 0, 0, u64::MAX]))),
        ],
    );
    assert_eq!(decoded.events, [0, 2]);
    assert_eq!(decoded.batch.column(0).as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), [Some(1), None]);
    assert_eq!(decoded.errors[0], (1, "field n: its value does not fit int32".into()));
    assert!(decoded.errors[1].1.starts_with("field at: \"soon\" is no ISO time"), "{:?}", decoded.errors);
}

#[test]
fn a_type_that_does_not_fit_is_an_error_of_every_row() {
    let floats: ArrayRef = Arc::new(Float32Array::from(vec![1.5, 2.5]));
    let decoded = decode(&[field("n", "int64")], &[("n", Arc::clone(&floats))]);
    let why = "field n: it is Float32, which cannot become int64".to_owned();
    assert_eq!(decoded.errors, [(0, why.clone()), (1, why)]);
    let decoded = decode(&[field("x", "int64")], &[("n", floats)]);
    assert_eq!(decoded.errors[0].1, "there is no column x; there are n");
    let empty = ColumnsDecoder::new(&[field("n", "int64")]).decode(&RawBatch::default());
    assert_eq!((empty.batch.num_rows(), empty.errors.len()), (0, 0));
}

#[test]
fn every_natural_type_can_be_had() {
    use DataType::{Binary, Boolean, Date64, Duration, Float16, Int8, LargeUtf8, UInt64};
    for kind in [Boolean, Int8, UInt64, Float16, LargeUtf8, Binary, Date64, DataType::Decimal128(5, 1)] {
        check(&kind, &natural(&kind).unwrap()).unwrap();
    }
    assert_eq!(natural(&Duration(TimeUnit::Second)), None);
}
