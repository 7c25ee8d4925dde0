//! Columns as plain values and back, compared bit by bit.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, BinaryArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array,
    ListArray, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type, TimestampMicrosecondType};
use millrace::record::{ColumnType, Columns};

/// A value. Floats are their bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Float(u64),
    Time(i64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Cell>),
}

/// A value for each column.
pub(crate) type Row = Vec<Cell>;

pub(crate) fn float(value: f64) -> Cell {
    Cell::Float(value.to_bits())
}

pub(crate) fn text(value: impl Into<String>) -> Cell {
    Cell::Text(value.into())
}

/// A column's name and type as the project file writes it, with a `?` where it may hold nulls: `items list<float64>?`.
pub(crate) fn field(text: &str) -> FieldRef {
    let (name, kind) = text.split_once(' ').unwrap();
    let (kind, nullable) = kind.strip_suffix('?').map_or((kind, false), |kind| (kind, true));
    Arc::new(Field::new(name, ColumnType::parse(kind).unwrap().arrow(), nullable))
}

/// Several columns, parted by commas.
pub(crate) fn fields(text: &str) -> Vec<FieldRef> {
    text.split(", ").map(field).collect()
}

/// Rows as columns of these types.
pub(crate) fn columns(fields: &[FieldRef], rows: &[Row]) -> Columns {
    let column = |(index, field): (usize, &FieldRef)| {
        let kind = ColumnType::from_arrow(field.data_type()).unwrap();
        array(&kind, &rows.iter().map(|row| &row[index]).collect::<Vec<_>>())
    };
    Columns { rows: rows.len(), columns: fields.iter().enumerate().map(column).collect() }
}

#[expect(clippy::cast_possible_truncation, reason = "what is given as a narrow number fits one")]
fn array(kind: &ColumnType, cells: &[&Cell]) -> ArrayRef {
    fn each<T>(cells: &[&Cell], read: impl Fn(&Cell) -> Option<T>) -> Vec<Option<T>> {
        let read = |cell: &&Cell| match cell {
            Cell::Null => None,
            cell => Some(read(cell).unwrap_or_else(|| panic!("{cell:?} is of another type"))),
        };
        cells.iter().map(read).collect()
    }
    let ints = || each(cells, |cell| if let Cell::Int(value) = cell { Some(*value) } else { None });
    let floats = || each(cells, |cell| if let Cell::Float(bits) = cell { Some(f64::from_bits(*bits)) } else { None });
    match kind {
        ColumnType::Boolean => Arc::new(BooleanArray::from(each(cells, |cell| match cell {
            Cell::Bool(value) => Some(*value),
            _ => None,
        }))),
        ColumnType::Int32 => Arc::new(ints().into_iter().map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
        ColumnType::Int64 => Arc::new(Int64Array::from(ints())),
        ColumnType::Float32 => Arc::new(floats().into_iter().map(|v| v.map(|v| v as f32)).collect::<Float32Array>()),
        ColumnType::Float64 => Arc::new(Float64Array::from(floats())),
        ColumnType::Timestamp => {
            let times = each(cells, |cell| if let Cell::Time(value) = cell { Some(*value) } else { None });
            Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))
        }
        ColumnType::Utf8 => Arc::new(StringArray::from(each(cells, |cell| match cell {
            Cell::Text(value) => Some(value.clone()),
            _ => None,
        }))),
        ColumnType::Binary => {
            let bytes = each(cells, |cell| if let Cell::Bytes(value) = cell { Some(value.clone()) } else { None });
            Arc::new(bytes.into_iter().collect::<BinaryArray>())
        }
        ColumnType::List(item) => {
            let lists = each(cells, |cell| if let Cell::List(items) = cell { Some(items.clone()) } else { None });
            let lengths = lists.iter().map(|list| list.as_ref().map_or(0, Vec::len));
            let offsets = OffsetBuffer::from_lengths(lengths);
            let nulls = NullBuffer::from_iter(lists.iter().map(Option::is_some));
            let items: Vec<_> = lists.iter().flatten().flatten().collect();
            let field = Arc::new(Field::new_list_field(item.arrow(), true));
            Arc::new(ListArray::new(field, offsets, array(item, &items), Some(nulls)))
        }
        ColumnType::Map(_) => panic!("maps do not cross"),
    }
}

/// Columns as rows.
pub(crate) fn rows(columns: &Columns) -> Vec<Row> {
    let cells: Vec<_> = columns.columns.iter().map(cells).collect();
    (0..columns.rows).map(|row| cells.iter().map(|column| column[row].clone()).collect()).collect()
}

fn cells(array: &ArrayRef) -> Vec<Cell> {
    let value = |row: usize| match array.data_type() {
        DataType::Boolean => Cell::Bool(array.as_boolean().value(row)),
        DataType::Int64 => Cell::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Timestamp(..) => Cell::Time(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        DataType::Utf8 => text(array.as_string::<i32>().value(row)),
        DataType::Binary => Cell::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        DataType::List(_) => Cell::List(cells(&array.as_list::<i32>().value(row))),
        other => panic!("no UDF of the suite returns {other}"),
    };
    (0..array.len()).map(|row| if array.is_null(row) { Cell::Null } else { value(row) }).collect()
}

/// Panics where two tables differ, with the first row that does.
pub(crate) fn assert_same(got: &[Row], wanted: &[Row], where_: &str) {
    for (row, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        assert!(got == wanted, "{where_}, row {row}:\n     got {}\n  wanted {}", short(got), short(wanted));
    }
    assert_eq!(got.len(), wanted.len(), "{where_}: the number of rows");
}

fn short(row: &Row) -> String {
    let text = format!("{row:?}");
    text.chars().take(600).collect()
}
