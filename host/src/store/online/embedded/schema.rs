//! The names and types that stored rows were written with, so that rows outlive a change of their view.
//!
//! One value a view in the database's own tree, under `schemas/` and the view's name:
//! ```text
//! 0  4  "MROS"
//! 4  2  version of the rows' and this format: 1
//! 6  2  how many schemas follow, u16; a row names its own by its place among them
//!    then for each: the number of keys, u16, each a name and a type, both texts of a u32 length; the features likewise
//! ```
//! Schemas are only ever added: the last one is what new rows are written with.

use bytes::Buf;

use crate::record::ColumnType;
use crate::store::fields::{put_text, take_text};
use crate::store::online::{NamedType, OnlineView};

const MAGIC: [u8; 4] = *b"MROS";
const VERSION: u16 = 1;

/// The key and feature columns that rows were written with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schema {
    pub(super) keys: Vec<NamedType>,
    pub(super) features: Vec<NamedType>,
}

impl From<&OnlineView> for Schema {
    fn from(view: &OnlineView) -> Self {
        Self { keys: view.keys.clone(), features: view.features.clone() }
    }
}

/// The key of a view's schemas.
pub(super) fn schemas_key(view: &str) -> String {
    format!("schemas/{view}")
}

/// The value that holds `schemas`; none where a count exceeds its field.
pub(super) fn encode(schemas: &[Schema]) -> Option<Vec<u8>> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&u16::try_from(schemas.len()).ok()?.to_le_bytes());
    for columns in schemas.iter().flat_map(|schema| [&schema.keys, &schema.features]) {
        out.extend_from_slice(&u16::try_from(columns.len()).ok()?.to_le_bytes());
        for (name, kind) in columns {
            put_text(&mut out, name);
            put_text(&mut out, &kind.to_string());
        }
    }
    Some(out)
}

/// Reads schemas back, or says what is wrong with them.
pub(super) fn decode(mut bytes: &[u8]) -> Result<Vec<Schema>, String> {
    if bytes.get(..4) != Some(MAGIC.as_slice()) {
        return Err("the schemas do not start with MROS".into());
    }
    bytes.advance(4);
    match bytes.try_get_u16_le() {
        Ok(VERSION) => {}
        Ok(other) => return Err(format!("the rows have format version {other}; this Millrace reads {VERSION}")),
        Err(_) => return Err("the schemas end too early".into()),
    }
    let schemas = (|| {
        let count = bytes.try_get_u16_le().ok()?;
        (0..count)
            .map(|_| Some(Schema { keys: columns(&mut bytes)?, features: columns(&mut bytes)? }))
            .collect::<Option<Vec<_>>>()
    })();
    schemas.ok_or_else(|| "the schemas end too early or name an unknown type".into())
}

fn columns(bytes: &mut &[u8]) -> Option<Vec<NamedType>> {
    let count = bytes.try_get_u16_le().ok()?;
    (0..count).map(|_| Some((take_text(bytes)?, ColumnType::parse(&take_text(bytes)?)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_read_back_and_shortened_ones_do_not() {
        let schema = Schema {
            keys: vec![("card".into(), ColumnType::Int64)],
            features: vec![("tags".into(), ColumnType::List(Box::new(ColumnType::Utf8)))],
        };
        let bytes = encode(&[schema.clone(), schema.clone()]).unwrap();
        assert_eq!(decode(&bytes).unwrap(), [schema.clone(), schema]);
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err());
        }
        let mut newer = bytes;
        newer[4] = 2;
        assert!(decode(&newer).unwrap_err().contains("version 2"));
    }
}
