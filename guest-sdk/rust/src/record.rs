//! Rows as structs: what `#[derive(Input)]`, `#[derive(Output)]`, `#[derive(State)]` implement, and the reasons for
//! which a row is refused.

use std::borrow::Cow;
use std::fmt;

use crate::column::{ColumnType, FromColumn, IntoColumn};
use crate::wire::{Column, Field};

/// A column that a UDF asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether it may hold nulls.
    pub nullable: bool,
}

impl Wanted {
    /// A column read as `T`.
    pub fn new<'a, T: FromColumn<'a>>(name: &'static str) -> Self {
        Self { name, column_type: T::column_type(), nullable: T::NULLABLE }
    }
}

/// A column that a UDF returns, written from `T`.
#[doc(hidden)]
pub fn field<T: IntoColumn>(name: &str) -> Field {
    Field { name: name.to_owned(), format: T::column_type().format(), nullable: T::NULLABLE }
}

/// Why a row is refused: the host keeps it as a dead letter with this reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject(Cow<'static, str>);

impl Reject {
    /// Refuses a row for this reason.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(reason.into())
    }

    pub(crate) fn into_reason(self) -> String {
        self.0.into_owned()
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Reject {}

impl From<String> for Reject {
    fn from(reason: String) -> Self {
        Self::new(reason)
    }
}

impl From<&'static str> for Reject {
    fn from(reason: &'static str) -> Self {
        Self::new(reason)
    }
}

/// A null, by its column's name, where the row's type has no place for one.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Absent(pub &'static str);

impl From<Absent> for Reject {
    fn from(absent: Absent) -> Self {
        Self::new(format!("`{}` is null, or holds a null", absent.0))
    }
}

/// A row that is read from columns. Derived.
pub trait Input<'a>: Sized {
    /// The columns, ready to read rows from.
    type Reader;

    /// The columns, in the order of the struct's fields.
    fn wanted() -> Vec<Wanted>;

    /// Makes the columns ready.
    ///
    /// # Errors
    /// A column's buffers are not those of its type.
    fn reader(columns: &'a [Column], rows: usize) -> Result<Self::Reader, String>;

    /// Reads one row.
    ///
    /// # Errors
    /// A null where the type has no place for one.
    fn read(reader: &Self::Reader, row: usize) -> Result<Self, Absent>;
}

/// One column's reader, out of a batch.
#[doc(hidden)]
pub fn column_reader<'a, T: FromColumn<'a>>(
    columns: &'a [Column],
    index: usize,
    rows: usize,
    name: &str,
) -> Result<T::Reader, String> {
    T::reader(column_buffers(columns, index, name)?, rows).map_err(|error| format!("column `{name}`: {error}"))
}

/// One column's buffers, out of a batch.
#[doc(hidden)]
pub fn column_buffers<'a>(columns: &'a [Column], index: usize, name: &str) -> Result<&'a [Vec<u8>], String> {
    match columns.get(index) {
        Some(column) => Ok(&column.buffers),
        None => Err(format!("column `{name}` is missing from the batch")),
    }
}

/// Values that are written to columns: a derived struct, or a single value, whose column is called `value`.
pub trait Output: Sized {
    /// The columns being written.
    type Builders;

    /// The columns, in order.
    fn fields() -> Vec<Field>;

    /// Empty columns with room for `rows` rows.
    fn builders(rows: usize) -> Self::Builders;

    /// Appends a row.
    fn write_row(self, builders: &mut Self::Builders);

    /// The columns' buffers.
    fn finish(builders: Self::Builders) -> Vec<Column>;
}

/// The name of the column of an output that is a single value.
const VALUE: &str = "value";

impl<T: IntoColumn> Output for T {
    type Builders = T::Builder;

    fn fields() -> Vec<Field> {
        vec![field::<T>(VALUE)]
    }

    fn builders(rows: usize) -> Self::Builders {
        T::builder(rows)
    }

    #[inline]
    fn write_row(self, builders: &mut Self::Builders) {
        self.append_to(builders);
    }

    fn finish(builders: Self::Builders) -> Vec<Column> {
        vec![Column { buffers: <T as IntoColumn>::finish(builders, Vec::new()) }]
    }
}

/// An [`Output`] that is a struct with named columns. Derived with it.
pub trait Row: Output {}

/// What an aggregate keeps for one key: a row that is read from the host's columns, changed, and written back. Derived.
pub trait State: Output + for<'a> Input<'a> {
    /// A copy, to go back to when a row is refused half way.
    fn duplicate(&self) -> Self;
}
