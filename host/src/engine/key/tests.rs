use proptest::prelude::*;

use super::*;
use arrow::array::{Float64Array, Int32Array, Int64Array};

fn keys(encoded: &EncodedKeys) -> Vec<&[u8]> {
    (0..encoded.len()).map(|row| encoded.get(row)).collect()
}

#[test]
fn the_bytes_are_those_of_the_format() {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BooleanArray::from(vec![true])),
        Arc::new(Int32Array::from(vec![-2])),
        Arc::new(Int64Array::from(vec![0x0102_0304_0506_0708])),
        Arc::new(StringArray::from(vec!["é"])),
    ];
    let expected = [1, 0xfe, 0xff, 0xff, 0xff, 8, 7, 6, 5, 4, 3, 2, 1, 2, 0, 0, 0, 0xc3, 0xa9];
    assert_eq!(encode(&columns, 1).unwrap().get(0), expected);
}

#[test]
fn groups_and_shards_stay_where_they_are() {
    let mut key = Vec::new();
    encode_values(&[Value::Int64(4_000_000_000_000_001)], &mut key).unwrap();
    // A change here would lose every state that was ever written.
    assert_eq!((group(b""), group(&key), group(b"\x03\0\0\0abc")), (194, 397, 588));
    assert_eq!((shard(0, 5), shard(204, 5), shard(205, 5), shard(1023, 5)), (0, 0, 1, 4));
    assert!((0..KEY_GROUPS).all(|group| shard(group, 1) == 0));
}

#[test]
fn a_lone_int64_is_not_copied() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4)]).slice(1, 3));
    let encoded = encode(std::slice::from_ref(&column), 3).unwrap();
    assert_eq!(encoded.get(1), 3i64.to_le_bytes());
    assert_eq!(encoded.get(1).as_ptr().cast(), &raw const column.as_primitive::<Int64Type>().values()[1]);
    assert!(encoded.is_null(0) && !encoded.is_null(1));
    assert_eq!(encoded.hashes()[2], hash(&4i64.to_le_bytes()));
    assert_eq!(encoded.get(3), b"");
}

#[test]
fn a_view_without_entity_has_one_empty_key() {
    let encoded = encode(&[], 3).unwrap();
    assert_eq!(keys(&encoded), vec![b""; 3]);
    assert_eq!(encoded.hashes(), vec![hash(b""); 3]);
    assert!(encoded.nulls().is_none());
}

#[test]
fn what_is_no_key_is_refused_by_name() {
    let column: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    assert!(encode(&[column], 1).unwrap_err().to_string().contains("float64"));
    assert!(check(&ColumnType::parse("list<utf8>").unwrap()).unwrap_err().to_string().contains("list<utf8>"));
    assert_eq!(encode_values(&[Value::Null], &mut Vec::new()), Err(KeyError::Null));
    assert!(decode([&b"\x02\0\0\0a"[..]].into_iter(), &[ColumnType::Utf8]).is_err());
    assert!(decode([&b"\x01\0"[..]].into_iter(), &[ColumnType::Boolean]).is_err());
}

type Row = (bool, i32, i64, Option<String>, Vec<u8>);

proptest! {
    #[test]
    fn columns_values_and_reading_back_agree(rows in prop::collection::vec(any::<Row>(), 0..20), from in 0usize..5) {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| Some(row.0)).collect::<BooleanArray>()),
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.1))),
            crate::record::timestamps(&rows.iter().map(|row| row.2).collect()),
            Arc::new(rows.iter().map(|row| row.3.as_deref()).collect::<StringArray>()),
            Arc::new(BinaryArray::from_iter_values(rows.iter().map(|row| &row.4))),
        ];
        let from = from.min(rows.len());
        let columns: Vec<_> = columns.iter().map(|column| column.slice(from, rows.len() - from)).collect();
        let rows = &rows[from..];
        let encoded = encode(&columns, rows.len()).unwrap();
        let hashes = encoded.hashes();
        for (index, (a, b, c, d, e)) in rows.iter().cloned().enumerate() {
            prop_assert_eq!(encoded.is_null(index), d.is_none());
            let Some(d) = d else { continue };
            let mut key = Vec::new();
            let values = [Value::Boolean(a), Value::Int32(b), Value::Timestamp(c), Value::Utf8(d), Value::Binary(e)];
            encode_values(&values, &mut key).unwrap();
            prop_assert_eq!(encoded.get(index), &key[..]);
            prop_assert_eq!(hashes[index], hash(&key));
        }
        if encoded.nulls().is_none() {
            let kinds: Vec<_> = columns.iter().map(|c| ColumnType::from_arrow(c.data_type()).unwrap()).collect();
            let back = decode(keys(&encoded).into_iter(), &kinds).unwrap();
            prop_assert_eq!(&back[..], &columns[..]);
        }
    }
}
