//! The event time of rows, from the column that the source names.

use arrow::array::{Array, AsArray, PrimitiveArray, RecordBatch, StringArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{Float64Type, Int64Type, Schema, TimestampMicrosecondType};

use super::time_format::{TimeFormat, in_range};
use crate::record::ColumnType;
use crate::time::Micros;

/// Reads event times off batches of one schema.
#[derive(Clone, Debug)]
pub struct EventTime {
    column: usize,
    name: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Timestamp,
    Integers(TimeFormat),
    Floats(TimeFormat),
    Texts(TimeFormat),
}

/// The event times of a batch.
#[derive(Clone, Debug)]
pub struct EventTimes {
    /// One a row; of no meaning for the rows below.
    pub times: ScalarBuffer<Micros>,
    /// The rows that have none, and why; ascending.
    pub errors: Vec<(u32, String)>,
}

impl EventTime {
    /// The event time is `column` of `schema`: a timestamp, an int64 or a float64 with an epoch format, or utf8 with any format.
    ///
    /// # Errors
    /// No such column, or one that cannot be a time; and what to write instead.
    pub fn new(column: &str, format: Option<&TimeFormat>, schema: &Schema) -> Result<Self, String> {
        let Some((index, field)) = schema.column_with_name(column) else {
            let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            return Err(format!(
                "there is no column {column} to take the event time from; there are {}",
                names.join(", ")
            ));
        };
        let kind = match (ColumnType::from_arrow(field.data_type()), format) {
            (Some(ColumnType::Timestamp), _) => Kind::Timestamp,
            (Some(ColumnType::Int64), Some(format)) if format.is_epoch() => Kind::Integers(format.clone()),
            (Some(ColumnType::Float64), Some(format)) if format.is_epoch() => Kind::Floats(format.clone()),
            (Some(kind @ (ColumnType::Int64 | ColumnType::Float64)), _) => {
                return Err(format!("the event time {column} is {kind}: say which, as in format = \"epoch-millis\""));
            }
            (Some(ColumnType::Utf8), Some(format)) => Kind::Texts(format.clone()),
            (Some(ColumnType::Utf8), None) => {
                return Err(format!("the event time {column} is utf8: say how it is written, as in format = \"iso\""));
            }
            (kind, _) => {
                let kind = kind.map_or_else(|| field.data_type().to_string(), |kind| kind.to_string());
                return Err(format!("the event time {column} is {kind}; use timestamp, int64, float64 or utf8"));
            }
        };
        Ok(Self { column: index, name: column.into(), kind })
    }

    /// The column's name.
    pub fn column(&self) -> &str {
        &self.name
    }

    /// The event time of every row; without a copy where the column is a timestamp.
    pub fn times(&self, batch: &RecordBatch) -> EventTimes {
        let Some(column) = batch.columns().get(self.column) else {
            return self.without_column(batch.num_rows());
        };
        let read = match &self.kind {
            Kind::Timestamp => column.as_primitive_opt::<TimestampMicrosecondType>().map(|column| self.stamps(column)),
            Kind::Integers(format) => {
                column.as_primitive_opt::<Int64Type>().map(|column| self.integers(column, format))
            }
            Kind::Floats(format) => column.as_primitive_opt::<Float64Type>().map(|column| self.floats(column, format)),
            Kind::Texts(format) => column.as_string_opt::<i32>().map(|column| self.texts(column, format)),
        };
        read.unwrap_or_else(|| self.without_column(batch.num_rows()))
    }

    /// A batch of another schema than was promised has no event times.
    fn without_column(&self, rows: usize) -> EventTimes {
        let errors = (0u32..).take(rows).map(|row| (row, format!("there is no column {}", self.name)));
        EventTimes { times: vec![0; rows].into(), errors: errors.collect() }
    }

    fn null(&self) -> String {
        format!("{} is null or missing", self.name)
    }

    fn stamps(&self, column: &PrimitiveArray<TimestampMicrosecondType>) -> EventTimes {
        let times = column.values().clone();
        // Most batches have neither a null nor a time out of range.
        if column.null_count() == 0 && times.iter().all(|time| in_range(*time)) {
            return EventTimes { times, errors: Vec::new() };
        }
        let rows = (0u32..).zip(column);
        let errors = rows.filter_map(|(row, time)| match time {
            Some(time) if in_range(time) => None,
            Some(time) => Some((row, format!("{} is beyond the year 9999: {time}", self.name))),
            None => Some((row, self.null())),
        });
        EventTimes { times, errors: errors.collect() }
    }

    fn integers(&self, column: &PrimitiveArray<Int64Type>, format: &TimeFormat) -> EventTimes {
        self.collect(column.iter().map(|value| value.map(|value| format.from_integer(value))))
    }

    fn floats(&self, column: &PrimitiveArray<Float64Type>, format: &TimeFormat) -> EventTimes {
        self.collect(column.iter().map(|value| value.map(|value| format.from_float(value))))
    }

    fn texts(&self, column: &StringArray, format: &TimeFormat) -> EventTimes {
        self.collect(column.iter().map(|value| value.map(|value| format.parse(value))))
    }

    fn collect(&self, rows: impl Iterator<Item = Option<Result<Micros, String>>>) -> EventTimes {
        let mut errors = Vec::new();
        let times = (0u32..).zip(rows).map(|(row, time)| match time {
            Some(Ok(time)) => time,
            Some(Err(error)) => {
                errors.push((row, format!("{}: {error}", self.name)));
                0
            }
            None => {
                errors.push((row, self.null()));
                0
            }
        });
        let times: Vec<_> = times.collect();
        EventTimes { times: times.into(), errors }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, TimestampMicrosecondArray};

    use super::*;

    fn batch(column: impl Array + 'static) -> RecordBatch {
        RecordBatch::try_from_iter([("at", Arc::new(column) as ArrayRef)]).unwrap()
    }

    fn read(format: Option<&str>, column: impl Array + 'static) -> Result<EventTimes, String> {
        let format = format.map(|format| TimeFormat::parse_config(format).unwrap());
        let batch = batch(column);
        Ok(EventTime::new("at", format.as_ref(), &batch.schema())?.times(&batch))
    }

    #[test]
    fn a_timestamp_is_taken_as_it_is() {
        let column = TimestampMicrosecondArray::from(vec![Some(5), None, Some(i64::MAX)]).with_timezone("UTC");
        let address = column.values().as_ptr();
        let read = read(None, column).unwrap();
        assert_eq!((read.times[0], read.times.as_ptr()), (5, address));
        assert_eq!(read.errors[0], (1, "at is null or missing".into()));
        assert!(read.errors[1].1.contains("9999"));
    }

    #[test]
    fn numbers_and_texts_are_read_by_their_format() {
        let numbers = read(Some("epoch-seconds"), Int64Array::from(vec![Some(2), None])).unwrap();
        assert_eq!((numbers.times.to_vec(), numbers.errors.len()), (vec![2_000_000, 0], 1));
        let floats = read(Some("epoch-seconds"), Float64Array::from(vec![2.5, f64::NAN])).unwrap();
        assert_eq!((floats.times.to_vec(), floats.errors.len()), (vec![2_500_000, 0], 1));
        let texts = read(Some("epoch-millis"), StringArray::from(vec!["1500"])).unwrap();
        assert_eq!(texts.times.to_vec(), [1_500_000]);
        let texts = read(Some("iso"), StringArray::from(vec!["1970-01-01T00:00:03Z", "soon"])).unwrap();
        assert_eq!((texts.times[0], texts.errors[0].0), (3_000_000, 1));
        assert!(texts.errors[0].1.contains("soon"));
    }

    #[test]
    fn what_cannot_be_a_time_is_refused_with_what_to_write() {
        assert!(read(None, Int64Array::from(vec![1])).unwrap_err().contains("epoch-millis"));
        assert!(read(Some("iso"), Int64Array::from(vec![1])).unwrap_err().contains("epoch-millis"));
        assert!(read(None, StringArray::from(vec!["x"])).unwrap_err().contains("iso"));
        assert!(read(Some("iso"), BooleanArray::from(vec![true])).unwrap_err().contains("boolean"));
        let schema = batch(Int64Array::from(vec![1])).schema();
        assert!(EventTime::new("when", None, &schema).unwrap_err().contains("there are at"));
    }

    #[test]
    fn a_batch_of_another_schema_has_no_times() {
        let promised = batch(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC"));
        let event_time = EventTime::new("at", None, &promised.schema()).unwrap();
        let times = event_time.times(&batch(BooleanArray::from(vec![true, false])));
        assert_eq!((times.times.len(), times.errors.len()), (2, 2));
    }
}
