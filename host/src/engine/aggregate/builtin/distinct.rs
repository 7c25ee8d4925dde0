//! `approx_count_distinct`: a HyperLogLog of 4,096 registers, whose standard error is 1.04 / √4096 = 1.6 %; the estimate
//! is LogLog-Beta's, by the crate `hyperloglockless`, over the registers that its own `insert_hash` would give.
//!
//! ```text
//!  0  1  version, 1
//!  1  1  0: the registers that are not 0 follow, ascending: number, u16 little-endian · register
//!        1: all registers follow, a byte each
//! ```
//! Whichever is shorter is written and kept in memory, so that few values cost little, and the bytes depend on the
//! values alone.
//!
//! A value's hash is xxh3_64 of the bytes of [`Scalars::put_bytes`]: the upper 12 bits choose its register, which keeps
//! the greatest number of trailing zeros and one.

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array};
use hyperloglockless::HyperLogLog;
use xxhash_rust::xxh3::xxh3_64;

use super::blob::Sketch;
use super::scalar::Scalars;
use crate::engine::udf::CallError;

/// A register's number has so many bits.
const PRECISION: u32 = 12;

/// How many registers there are.
const REGISTERS: usize = 1 << PRECISION;

/// The bytes of a register and its number.
const ENTRY: usize = 3;

/// The register of a hash of 64 trailing zeros.
const GREATEST: u8 = 65;

const SPARSE: u8 = 0;
const DENSE: u8 = 1;

#[derive(Clone, Copy, Debug)]
pub(super) struct ApproxDistinct;

/// The registers: those that are not 0 by their numbers, or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Registers {
    Sparse(Vec<(u16, u8)>),
    Dense(Vec<u8>),
}

impl Registers {
    fn raise(&mut self, number: u16, value: u8) {
        match self {
            Self::Dense(all) => {
                if let Some(register) = all.get_mut(usize::from(number)) {
                    *register = value.max(*register);
                }
            }
            Self::Sparse(held) => match held.binary_search_by_key(&number, |entry| entry.0) {
                Ok(at) => {
                    if let Some((_, register)) = held.get_mut(at) {
                        *register = value.max(*register);
                    }
                }
                Err(at) => {
                    held.insert(at, (number, value));
                    if held.len() * ENTRY >= REGISTERS {
                        *self = Self::Dense(self.all());
                    }
                }
            },
        }
    }

    fn all(&self) -> Vec<u8> {
        match self {
            Self::Dense(all) => all.clone(),
            Self::Sparse(held) => {
                let mut all = vec![0; REGISTERS];
                for (number, value) in held {
                    if let Some(register) = all.get_mut(usize::from(*number)) {
                        *register = *value;
                    }
                }
                all
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "a number of 64-bit hashes")]
    fn estimate(&self) -> i64 {
        let all = self.all();
        let mut held = [0_u32; GREATEST as usize + 1];
        for register in &all {
            if let Some(held) = held.get_mut(usize::from(*register)) {
                *held += 1;
            }
        }
        // Always in one order, so that the bits do not depend on the order of the values.
        let weights = std::iter::successors(Some(1.0), |weight| Some(weight / 2.0));
        let sum = held.iter().zip(weights).map(|(held, weight)| f64::from(*held) * weight).sum();
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        HyperLogLog::from_parts(all.into(), hasher, held[0] as usize, sum).raw_count().round() as i64
    }
}

/// The register that a hash raises, and to what.
fn place(hash: u64) -> (u16, u8) {
    let number = u16::try_from(hash >> (u64::BITS - PRECISION)).unwrap_or_default();
    (number, u8::try_from(1 + hash.trailing_zeros()).unwrap_or(GREATEST))
}

impl Sketch for ApproxDistinct {
    type Row = Registers;

    fn empty(&self) -> Registers {
        Registers::Sparse(Vec::new())
    }

    fn is_empty(&self, row: &Registers) -> bool {
        matches!(row, Registers::Sparse(held) if held.is_empty())
    }

    fn read(&self, body: &[u8]) -> Option<Registers> {
        let known = |value: u8| (1..=GREATEST).contains(&value);
        match body.split_first()? {
            (&SPARSE, body) => {
                let (entries, rest) = body.as_chunks::<ENTRY>();
                let held: Vec<(u16, u8)> =
                    entries.iter().map(|[low, high, value]| (u16::from_le_bytes([*low, *high]), *value)).collect();
                let ascending = held.iter().zip(held.iter().skip(1)).all(|(one, next)| one.0 < next.0);
                let fits = held.iter().all(|(number, value)| usize::from(*number) < REGISTERS && known(*value));
                (rest.is_empty() && ascending && fits && body.len() < REGISTERS).then_some(Registers::Sparse(held))
            }
            (&DENSE, body) => {
                let fits = body.len() == REGISTERS && body.iter().all(|value| *value == 0 || known(*value));
                fits.then(|| Registers::Dense(body.to_vec()))
            }
            _ => None,
        }
    }

    fn write(&self, row: &Registers, out: &mut Vec<u8>) {
        match row {
            Registers::Sparse(held) => {
                out.push(SPARSE);
                for (number, value) in held {
                    out.extend_from_slice(&number.to_le_bytes());
                    out.push(*value);
                }
            }
            Registers::Dense(all) => {
                out.push(DENSE);
                out.extend_from_slice(all);
            }
        }
    }

    fn fold(&self, rows: &mut [Registers], groups: &[u32], column: &ArrayRef) -> Result<(), CallError> {
        let scalars = Scalars::new(column)?;
        let mut bytes = Vec::new();
        for (row, &group) in groups.iter().enumerate().filter(|(row, _)| column.is_valid(*row)) {
            bytes.clear();
            scalars.put_bytes(row, &mut bytes);
            if let Some(into) = rows.get_mut(group as usize) {
                let (number, value) = place(xxh3_64(&bytes));
                into.raise(number, value);
            }
        }
        Ok(())
    }

    fn merge(&self, into: &mut Registers, from: Registers) {
        match from {
            Registers::Sparse(held) => held.into_iter().for_each(|(number, value)| into.raise(number, value)),
            Registers::Dense(all) => {
                let raised = (0_u16..).zip(all).filter(|(_, value)| *value != 0);
                raised.for_each(|(number, value)| into.raise(number, value));
            }
        }
    }

    fn evaluate(&self, rows: &[Registers]) -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(row.estimate())).collect::<Int64Array>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The estimate is of a sketch whose registers are chosen and raised as ours are.
    #[test]
    fn registers_are_the_crates() {
        let mut theirs = HyperLogLog::with_hasher(12, BuildHasherDefault::<DefaultHasher>::default());
        let mut ours = ApproxDistinct.empty();
        let hashes = (0_u64..20_000).map(|number| xxh3_64(&number.to_le_bytes()));
        for (number, hash) in hashes.chain([0, u64::MAX, 1 << 63]).enumerate() {
            theirs.insert_hash(hash);
            let (register, value) = place(hash);
            ours.raise(register, value);
            if number % 500 == 0 || number > 19_990 {
                assert_eq!(theirs.iter().collect::<Vec<_>>(), ours.all());
                assert_eq!(theirs.raw_count().round(), ours.estimate() as f64);
                let mut out = Vec::new();
                ApproxDistinct.write(&ours, &mut out);
                assert_eq!(ApproxDistinct.read(&out).as_ref(), Some(&ours));
                assert!(out.len() <= REGISTERS + 1);
            }
        }
    }
}
