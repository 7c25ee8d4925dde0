//! Lists: offsets into a column of items, whose own buffers follow.

use super::read::{FromColumn, Validity, buffer};
use super::text::{Offsets, new_offsets, push_offset, values};
use super::{ColumnType, IntoColumn};

/// A column of lists.
pub struct ListReader<'a, T: FromColumn<'a>> {
    validity: Validity<'a>,
    offsets: Offsets<'a>,
    items: T::Reader,
}

impl<'a, T: FromColumn<'a>> Clone for ListReader<'a, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<'a, T: FromColumn<'a>> Copy for ListReader<'a, T> {}

/// The list of one row, borrowed: nothing is copied until an item is asked for.
pub struct List<'a, T: FromColumn<'a>> {
    items: T::Reader,
    start: usize,
    end: usize,
}

impl<'a, T: FromColumn<'a>> List<'a, T> {
    /// The number of items.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether it has no item.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// An item; none past the end.
    pub fn get(&self, index: usize) -> Option<T> {
        if index < self.len() { T::read(&self.items, self.start + index) } else { None }
    }

    /// The items.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        // A list with a null that T cannot hold is refused before its row is handed out, so none is skipped here.
        (self.start..self.end).filter_map(|row| T::read(&self.items, row))
    }
}

impl<'a, T: FromColumn<'a>> FromColumn<'a> for List<'a, T> {
    type Reader = ListReader<'a, T>;

    fn column_type() -> ColumnType {
        ColumnType::List(Box::new(T::column_type()))
    }

    fn reader(buffers: &'a [Vec<u8>], rows: usize) -> Result<Self::Reader, String> {
        let offsets = Offsets::new(buffer(buffers, 1)?, rows)?;
        let items = buffers.get(2..).unwrap_or_default();
        Ok(ListReader {
            validity: Validity::new(buffer(buffers, 0)?, rows)?,
            offsets,
            items: T::reader(items, offsets.end()).map_err(|error| format!("items: {error}"))?,
        })
    }

    fn validity(reader: &Self::Reader) -> Validity<'a> {
        reader.validity
    }

    fn is_complete(reader: &Self::Reader) -> bool {
        reader.validity.is_complete() && T::is_complete(&reader.items)
    }

    fn value(reader: &Self::Reader, row: usize) -> Option<Self> {
        let (start, end) = reader.offsets.get(row)?;
        let whole = T::is_complete(&reader.items) || (start..end).all(|item| T::read(&reader.items, item).is_some());
        whole.then_some(Self { items: reader.items, start, end: end.max(start) })
    }
}

impl<'a, T: FromColumn<'a>> FromColumn<'a> for Vec<T> {
    type Reader = ListReader<'a, T>;

    fn column_type() -> ColumnType {
        List::<T>::column_type()
    }

    fn reader(buffers: &'a [Vec<u8>], rows: usize) -> Result<Self::Reader, String> {
        List::<T>::reader(buffers, rows)
    }

    fn validity(reader: &Self::Reader) -> Validity<'a> {
        reader.validity
    }

    fn is_complete(reader: &Self::Reader) -> bool {
        List::<T>::is_complete(reader)
    }

    fn value(reader: &Self::Reader, row: usize) -> Option<Self> {
        let (start, end) = reader.offsets.get(row)?;
        (start..end).map(|item| T::read(&reader.items, item)).collect()
    }
}

/// A column of lists being written.
#[derive(Clone, Debug)]
pub struct ListBuilder<B> {
    offsets: Vec<[u8; 4]>,
    items: B,
}

/// A guess at the items of a list, to make room for a column of them.
const ITEMS: usize = 4;

impl<T: IntoColumn> IntoColumn for Vec<T> {
    type Builder = ListBuilder<T::Builder>;

    fn column_type() -> ColumnType {
        ColumnType::List(Box::new(T::column_type()))
    }

    fn builder(rows: usize) -> Self::Builder {
        ListBuilder { offsets: new_offsets(rows), items: T::builder(rows * ITEMS) }
    }

    fn append_to(self, builder: &mut Self::Builder) {
        for item in self {
            item.append_to(&mut builder.items);
        }
        Self::push_empty(builder);
    }

    fn push_empty(builder: &mut Self::Builder) {
        push_offset(&mut builder.offsets, T::len(&builder.items));
    }

    fn len(builder: &Self::Builder) -> usize {
        values(&builder.offsets)
    }

    fn finish(builder: Self::Builder, validity: Vec<u8>) -> Vec<Vec<u8>> {
        let mut buffers = vec![validity, builder.offsets.into_flattened()];
        buffers.extend(T::finish(builder.items, Vec::new()));
        buffers
    }
}
