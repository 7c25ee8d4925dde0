//! What is no column of its own in one column of bytes, as MessagePack: a map, a set, a list of structs.

use std::ops::{Deref, DerefMut};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::text::BytesReader;
use super::{ColumnType, FromColumn, IntoColumn, Validity};

/// A field of a state that is one binary column, in MessagePack: `Packed<BTreeMap<String, i64>>`.
///
/// It is decoded and encoded with its state, in every call for every key of the batch, at a cost that grows with what is in
/// it: keep it small, and scalars beside it. Only with maps and sets whose order is that of their keys (`BTreeMap`, not
/// `HashMap`) are equal states equal bytes, which the contract asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Packed<T>(pub T);

impl<T> Deref for Packed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Packed<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<'a, T: DeserializeOwned> FromColumn<'a> for Packed<T> {
    type Reader = BytesReader<'a>;

    fn column_type() -> ColumnType {
        ColumnType::Binary
    }

    fn reader(buffers: &'a [Vec<u8>], rows: usize) -> Result<Self::Reader, String> {
        <&[u8]>::reader(buffers, rows)
    }

    fn validity(reader: &Self::Reader) -> Validity<'a> {
        <&[u8]>::validity(reader)
    }

    #[expect(clippy::panic, reason = "the author's type and the state's have parted: no row is to blame")]
    fn value(reader: &Self::Reader, row: usize) -> Option<Self> {
        let bytes = <&[u8]>::value(reader, row)?;
        match rmp_serde::from_slice(bytes) {
            Ok(value) => Some(Self(value)),
            Err(error) => panic!("a packed column holds something else than {}: {error}", std::any::type_name::<T>()),
        }
    }
}

impl<T: Serialize> IntoColumn for Packed<T> {
    type Builder = <Vec<u8> as IntoColumn>::Builder;

    fn column_type() -> ColumnType {
        ColumnType::Binary
    }

    fn builder(rows: usize) -> Self::Builder {
        <Vec<u8> as IntoColumn>::builder(rows)
    }

    #[expect(clippy::panic, reason = "a type that serde cannot write is the author's to change")]
    fn append_to(self, builder: &mut Self::Builder) {
        match rmp_serde::to_vec_named(&self.0) {
            Ok(bytes) => <Vec<u8> as IntoColumn>::append_to(bytes, builder),
            Err(error) => panic!("{} cannot be packed: {error}", std::any::type_name::<T>()),
        }
    }

    fn push_empty(builder: &mut Self::Builder) {
        <Vec<u8> as IntoColumn>::push_empty(builder);
    }

    fn len(builder: &Self::Builder) -> usize {
        <Vec<u8> as IntoColumn>::len(builder)
    }

    fn finish(builder: Self::Builder, validity: Vec<u8>) -> Vec<Vec<u8>> {
        <Vec<u8> as IntoColumn>::finish(builder, validity)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn equal_maps_are_equal_bytes_in_their_shortest_form() {
        let map: BTreeMap<String, i64> = [("b", 1), ("a", 128), ("é", 70_000)].map(|(k, n)| (k.into(), n)).into();
        let mut builder = Packed::<BTreeMap<String, i64>>::builder(1);
        Packed(map.clone()).append_to(&mut builder);
        let buffers = <Packed<BTreeMap<String, i64>> as IntoColumn>::finish(builder, Vec::new());
        let bytes = [0x83, 0xa1, b'a', 0xcc, 128, 0xa1, b'b', 1, 0xa2, 0xc3, 0xa9, 0xce, 0, 1, 0x11, 0x70];
        assert_eq!(buffers.last().map(Vec::as_slice), Some(&bytes[..]));
        let reader = Packed::<BTreeMap<String, i64>>::reader(&buffers, 1).unwrap();
        assert_eq!(Packed::read(&reader, 0), Some(Packed(map)));
    }
}
