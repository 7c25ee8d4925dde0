//! How Confluent's serialisers mark a payload with its schema: a zero byte and the schema's id in four bytes, the most
//! significant first; for Protobuf then the path to the message's type within its file.
//!
//! `Writers` finds the schema of each payload: the one that the project file names, or the one that its id stands for
//! among those that the batch brings.

use hashbrown::HashMap;
use prost::encoding::decode_varint;

use crate::record::{RawBatch, SchemaText};

/// How many levels of messages within messages a path may have.
const LEVELS: usize = 64;

/// The id of the schema that a payload was written with, and what follows it.
///
/// # Errors
/// There is none.
pub fn unframe(payload: &[u8]) -> Result<(u32, &[u8]), String> {
    match payload.split_first_chunk::<5>() {
        Some(([0, id @ ..], rest)) => Ok((u32::from_be_bytes(*id), rest)),
        Some(([other, ..], _)) => {
            Err(format!("it begins with byte {other} instead of 0 and a schema's id: was it written with a registry?"))
        }
        None => Err("it is too short to begin with a schema's id".into()),
    }
}

/// The path to the message's type, and what follows it.
pub(super) fn message_path(mut payload: &[u8]) -> Result<(Vec<usize>, &[u8]), String> {
    let broken = || "the path to its message's type is broken".to_owned();
    let mut number = || {
        let number = decode_varint(&mut payload).map_err(|_| broken())?;
        // Zigzag: the sign is the lowest bit, and nothing here is negative.
        usize::try_from(number >> 1).ok().filter(|_| number & 1 == 0).ok_or_else(broken)
    };
    let path = match number()? {
        0 => vec![0],
        levels if levels <= LEVELS => (0..levels).map(|_| number()).collect::<Result<_, _>>()?,
        _ => return Err(broken()),
    };
    Ok((path, payload))
}

/// Which schemas events were written with.
#[derive(Clone, Debug)]
pub enum WrittenWith<S> {
    /// Those of a registry, whose ids their payloads begin with; the batch brings them.
    Registry,
    /// All with this one.
    Local {
        /// The schema.
        schema: S,
        /// Whether their payloads begin with an id all the same.
        framed: bool,
    },
}

/// A schema that is ready to decode with.
pub(super) trait Compile: Sized {
    /// Makes it of its text.
    fn compile(text: &SchemaText) -> Result<Self, String>;
}

/// The schemas of one source's payloads.
pub(super) struct Writers<S> {
    written: WrittenWith<S>,
    known: HashMap<u32, Result<S, String>>,
}

/// A payload, and the schema that it was written with.
pub(super) struct Framed<'a, S> {
    pub(super) id: u32,
    pub(super) schema: &'a S,
    /// What follows the id.
    pub(super) payload: &'a [u8],
    /// Whether there was one.
    pub(super) framed: bool,
}

impl<S: Compile> Writers<S> {
    pub(super) fn new(written: WrittenWith<S>) -> Self {
        Self { written, known: HashMap::new() }
    }

    /// Makes the schemas ready that the batch brings and that are new.
    pub(super) fn prepare(&mut self, raw: &RawBatch) {
        let Some(beside) = &raw.beside else { return };
        if !matches!(self.written, WrittenWith::Registry) || beside.schemas.len() <= self.known.len() {
            return;
        }
        for (id, text) in beside.schemas.iter() {
            let Ok(text) = text else { continue };
            self.known.entry(*id).or_insert_with(|| S::compile(text).map_err(|why| format!("schema {id}: {why}")));
        }
    }

    /// The schema of one event.
    pub(super) fn find<'a>(&'a self, raw: &'a RawBatch, event: usize) -> Result<Framed<'a, S>, String> {
        let payload = raw.payload_slice(event);
        match &self.written {
            WrittenWith::Local { schema, framed: false } => Ok(Framed { id: 0, schema, payload, framed: false }),
            WrittenWith::Local { schema, framed: true } => {
                let (_, payload) = unframe(payload)?;
                Ok(Framed { id: 0, schema, payload, framed: true })
            }
            WrittenWith::Registry => {
                let (id, payload) = unframe(payload)?;
                let brought = raw.beside.as_ref().and_then(|beside| beside.schemas.get(&id));
                let schema = match (self.known.get(&id), brought) {
                    (Some(known), _) => known.as_ref().map_err(Clone::clone)?,
                    (None, Some(Err(why))) => return Err(why.clone()),
                    (None, _) => return Err(format!("its schema {id} is not known")),
                };
                Ok(Framed { id, schema, payload, framed: true })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_a_zero_and_an_id() {
        assert_eq!(unframe(&[0, 0, 0, 1, 2, 7, 8]), Ok((258, &[7, 8][..])));
        assert_eq!(unframe(&[0, 255, 255, 255, 255]), Ok((u32::MAX, &[][..])));
        assert!(unframe(b"{\"a\":1}").unwrap_err().contains("byte 123"));
        assert!(unframe(&[0, 0, 0, 1]).unwrap_err().contains("too short"));
    }

    #[test]
    fn a_path_has_a_short_form_for_the_first_message() {
        assert_eq!(message_path(&[0, 9]), Ok((vec![0], &[9][..])));
        assert_eq!(message_path(&[4, 2, 6, 9]), Ok((vec![1, 3], &[9][..])));
        for broken in [&[][..], &[2], &[1], &[2, 1], &[0xff; 12], &[0x84, 0x02]] {
            assert!(message_path(broken).is_err(), "{broken:?}");
        }
    }
}
