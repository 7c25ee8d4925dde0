//! `approx_count_distinct`: a HyperLogLog of 4,096 registers, whose standard error is 1.04 / √4096 = 1.6 %; the estimate
//! is LogLog-Beta's, by the crate `hyperloglockless`.
//!
//! ```text
//!  0  1  version, 1
//!  1  1  0: the registers that are not 0 follow, ascending: number, u16 little-endian · register
//!        1: all registers follow, a byte each
//! ```
//! Whichever is shorter is written, so that the bytes depend on the values alone.
//!
//! A value's hash is xxh3_64 of the bytes of [`Scalars::put_bytes`]: the upper 12 bits choose its register, which keeps
//! the greatest number of trailing zeros and one.

use std::hash::BuildHasherDefault;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array};
use hyperloglockless::HyperLogLog;
use xxhash_rust::xxh3::xxh3_64;

use super::blob::Sketch;
use super::scalar::Scalars;
use crate::engine::udf::CallError;

/// 2¹² registers.
const REGISTERS: usize = 4_096;

/// A hash of 64 trailing zeros.
const GREATEST: u8 = 65;

const SPARSE: u8 = 0;
const DENSE: u8 = 1;

/// The sketch hashes nothing itself.
type Registers = HyperLogLog<BuildHasherDefault<std::collections::hash_map::DefaultHasher>>;

#[derive(Clone, Copy, Debug)]
pub(super) struct ApproxDistinct;

/// A sketch of these registers, none of which is above [`GREATEST`]. What the estimate needs beside them is computed from
/// them, always in one order, so that it does not depend on the order of the values.
fn registers(registers: Box<[u8]>) -> Registers {
    let mut held = [0_u32; GREATEST as usize + 1];
    for register in &registers {
        if let Some(held) = held.get_mut(usize::from(*register)) {
            *held += 1;
        }
    }
    let weights = std::iter::successors(Some(1.0), |weight| Some(weight / 2.0));
    let sum = held.iter().zip(weights).map(|(held, weight)| f64::from(*held) * weight).sum();
    HyperLogLog::from_parts(registers, BuildHasherDefault::default(), held[0] as usize, sum)
}

impl Sketch for ApproxDistinct {
    type Row = Registers;

    fn empty(&self) -> Registers {
        registers(vec![0; REGISTERS].into())
    }

    fn is_empty(&self, row: &Registers) -> bool {
        row.iter().all(|register| register == 0)
    }

    fn read(&self, body: &[u8]) -> Option<Registers> {
        match body.split_first()? {
            (&SPARSE, body) => {
                let mut all = vec![0; REGISTERS];
                let (entries, rest) = body.as_chunks::<3>();
                for [low, high, value] in entries {
                    *all.get_mut(usize::from(u16::from_le_bytes([*low, *high])))? = *value;
                }
                rest.is_empty().then_some(all)
            }
            (&DENSE, body) => (body.len() == REGISTERS).then(|| body.to_vec()),
            _ => None,
        }
        .filter(|all| all.iter().all(|register| *register <= GREATEST))
        .map(|all| registers(all.into()))
    }

    fn write(&self, row: &Registers, out: &mut Vec<u8>) {
        let (all, ..) = row.parts();
        let held = (0_u16..).zip(all).filter(|(_, register)| **register != 0);
        if held.clone().count() * 3 < REGISTERS {
            out.push(SPARSE);
            for (number, register) in held {
                out.extend_from_slice(&number.to_le_bytes());
                out.push(*register);
            }
        } else {
            out.push(DENSE);
            out.extend_from_slice(all);
        }
    }

    fn fold(&self, rows: &mut [Registers], groups: &[u32], column: &ArrayRef) -> Result<(), CallError> {
        let scalars = Scalars::new(column)?;
        let mut bytes = Vec::new();
        for (row, &group) in groups.iter().enumerate().filter(|(row, _)| column.is_valid(*row)) {
            bytes.clear();
            scalars.put_bytes(row, &mut bytes);
            if let Some(into) = rows.get_mut(group as usize) {
                into.insert_hash(xxh3_64(&bytes));
            }
        }
        Ok(())
    }

    fn merge(&self, into: &mut Registers, from: Registers) {
        into.union(&from).expect("both have as many registers");
    }

    fn evaluate(&self, rows: &[Registers]) -> ArrayRef {
        #[expect(clippy::cast_possible_truncation, reason = "a count of 64-bit hashes")]
        let count = |row: &Registers| registers(row.parts().0.into()).raw_count().round() as i64;
        Arc::new(rows.iter().map(|row| Some(count(row))).collect::<Int64Array>())
    }
}
