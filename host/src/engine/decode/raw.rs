//! Events as they are: their bytes and all that their source knows of them, for a UDF that decodes them itself.
//!
//! Always true: the columns are [`COLUMNS`], and no event is refused.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Array, Int64Array, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
};

use super::{DecodeField, Decoded, Decoder, schema_of};
use crate::record::{ColumnType, RawBatch};

/// The columns, in their order. Headers are a JSON object.
pub const COLUMNS: [(&str, ColumnType); 7] = [
    ("payload", ColumnType::Binary),
    ("key", ColumnType::Binary),
    ("headers", ColumnType::Utf8),
    ("topic", ColumnType::Utf8),
    ("partition", ColumnType::Int32),
    ("offset", ColumnType::Int64),
    ("time", ColumnType::Timestamp),
];

/// Takes events as they are.
pub struct RawDecoder;

impl RawDecoder {
    /// The columns as fields.
    pub fn fields() -> Vec<DecodeField> {
        let field = |(name, kind): (&str, ColumnType)| DecodeField { name: name.into(), kind, time: None, path: None };
        COLUMNS.into_iter().map(field).collect()
    }
}

impl Decoder for RawDecoder {
    fn decode(&mut self, raw: &RawBatch) -> Decoded {
        let count = raw.len();
        let beside = raw.beside.as_deref();
        let piece = |span: Option<&Option<(u32, u32)>>| {
            let (start, end) = (*span?)?;
            raw.data.get(start as usize..end as usize)
        };
        let mut payloads = BinaryBuilder::with_capacity(count, raw.data.len());
        let mut keys = BinaryBuilder::new();
        let mut headers = StringBuilder::new();
        for event in 0..count {
            payloads.append_value(raw.payload_slice(event));
            keys.append_option(piece(beside.and_then(|beside| beside.keys.get(event))));
            let text = piece(beside.and_then(|beside| beside.headers.get(event)));
            headers.append_option(text.and_then(|text| std::str::from_utf8(text).ok()));
        }
        let topic = beside.and_then(|beside| beside.topic.as_deref());
        let partition = i32::try_from(raw.origin.partition).ok();
        let times = TimestampMicrosecondArray::from(raw.arrivals.clone()).with_timezone("UTC");
        let columns: Vec<ArrayRef> = vec![
            Arc::new(payloads.finish()),
            Arc::new(keys.finish()),
            Arc::new(headers.finish()),
            Arc::new(std::iter::repeat_n(topic, count).collect::<StringArray>()),
            Arc::new(std::iter::repeat_n(partition, count).collect::<Int32Array>()),
            Arc::new(Int64Array::from(raw.offsets.clone())),
            Arc::new(times),
        ];
        let batch = RecordBatch::try_new(schema_of(&Self::fields()), columns);
        let batch = batch.expect("a batch has an offset and an arrival for every event");
        Decoded { batch, events: (0..).take(count).collect(), errors: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
    use bytes::Bytes;

    use super::*;
    use crate::record::{Beside, Origin};

    #[test]
    fn an_event_is_its_bytes_and_what_is_known_of_it() {
        let beside = Beside {
            topic: Some("orders".into()),
            keys: vec![Some((3, 4)), None],
            headers: vec![Some((4, 6)), None],
            ..Beside::default()
        };
        let raw = RawBatch {
            origin: Origin { source: 0, partition: 3 },
            data: Bytes::from_static(b"\xff\x00ak{}"),
            spans: vec![(0, 3), (3, 3)],
            offsets: vec![7, 9],
            arrivals: vec![10, 20],
            beside: Some(Box::new(beside)),
            rows: None,
        };
        let decoded = RawDecoder.decode(&raw);
        let batch = decoded.batch;
        assert_eq!(decoded.events, [0, 1]);
        assert_eq!(batch.column(0).as_binary::<i32>().iter().flatten().collect::<Vec<_>>(), [b"\xff\x00a", &b""[..]]);
        assert_eq!(batch.column(1).as_binary::<i32>().iter().collect::<Vec<_>>(), [Some(&b"k"[..]), None]);
        assert_eq!(batch.column(2).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("{}"), None]);
        assert_eq!(batch.column(3).as_string::<i32>().value(1), "orders");
        assert_eq!(batch.column(4).as_primitive::<Int32Type>().value(0), 3);
        assert_eq!(batch.column(5).as_primitive::<Int64Type>().values(), &[7, 9]);
        assert_eq!(batch.column(6).as_primitive::<TimestampMicrosecondType>().values(), &[10, 20]);
        let bare = RawDecoder.decode(&RawBatch { beside: None, ..raw });
        assert_eq!((bare.batch.column(1).null_count(), bare.batch.column(3).null_count()), (2, 2));
    }
}
