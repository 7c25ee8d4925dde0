//! `approx_quantile`: a DDSketch (Masson, Rim and Lee, 2019). A value is counted in the bucket of its logarithm, and a
//! bucket's middle is within 1 % of every value in it; the buckets' bounds are those of the crate `sketches-ddsketch`.
//!
//! ```text
//!  0  1  version, 1
//!  1  8  the least value, float64 little-endian
//!  9  8  the greatest value
//!        then the buckets that hold something, ascending: varint number, as the difference from the one before ·
//!        varint count
//! ```
//! At most [`BUCKETS`] are kept: beyond them the lowest two become one, so that the error bound holds for values between
//! the greatest and some e⁴⁰th of it, and the lowest values are known as no less than that. Which buckets remain is
//! decided by the values alone: the greatest of them all are the greatest of each part's, so merging is exact.
//!
//! NaN stands above everything.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use sketches_ddsketch::Config;

use super::blob::Sketch;
use super::sum::widen;
use super::{state, varint};
use crate::engine::udf::CallError;

/// How many buckets a state row has at most.
const BUCKETS: usize = 2_048;

/// How far a value may be from its bucket's middle, relatively.
const ERROR: f64 = 0.01;

/// Bucket numbers of the logarithms are between −this and this.
const SPAN: i64 = 50_000;

/// The bucket of ∞; that of −∞ is its negative.
const INFINITE: i64 = 3 * SPAN;

/// The bucket of NaN.
const NOT_A_NUMBER: i64 = INFINITE + 1;

#[derive(Clone, Copy, Debug)]
pub(super) struct ApproxQuantile {
    q: f64,
    buckets: Config,
}

/// A state row, open.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Buckets {
    least: f64,
    greatest: f64,
    counts: BTreeMap<i64, u64>,
}

impl ApproxQuantile {
    /// The quantile `q`, from 0 to 1.
    pub(super) fn new(q: f64) -> Self {
        Self { q, buckets: Config::new(ERROR, 2_048, f64::MIN_POSITIVE) }
    }

    /// The number of a value's bucket: buckets are in the order of their values.
    fn bucket(&self, value: f64) -> i64 {
        if value.is_nan() {
            NOT_A_NUMBER
        } else if value.is_infinite() {
            INFINITE * if value > 0.0 { 1 } else { -1 }
        } else if value.abs() < f64::MIN_POSITIVE {
            0
        } else {
            let key = i64::from(self.buckets.key(value.abs())) + SPAN;
            if value > 0.0 { key } else { -key }
        }
    }

    /// The middle of a bucket.
    fn middle(&self, bucket: i64) -> f64 {
        match bucket {
            NOT_A_NUMBER => f64::NAN,
            INFINITE => f64::INFINITY,
            0 => 0.0,
            _ if bucket == -INFINITE => f64::NEG_INFINITY,
            _ => {
                let key = i32::try_from(bucket.abs() - SPAN).unwrap_or(0);
                self.buckets.value(key).copysign(if bucket > 0 { 1.0 } else { -1.0 })
            }
        }
    }

    fn quantile(&self, row: &Buckets) -> Option<f64> {
        let total = row.counts.values().fold(0_u64, |total, count| total.saturating_add(*count));
        let last = total.checked_sub(1)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a share of a count, which is below 2^53"
        )]
        let rank = ((self.q * last as f64) as u64).min(last);
        let mut seen = 0_u64;
        let bucket = row.counts.iter().find_map(|(bucket, count)| {
            seen = seen.saturating_add(*count);
            (seen > rank).then_some(*bucket)
        })?;
        if bucket == NOT_A_NUMBER {
            return Some(f64::NAN);
        }
        let numbers = total - row.counts.get(&NOT_A_NUMBER).copied().unwrap_or(0);
        Some(match rank {
            0 => row.least,
            _ if rank + 1 == numbers => row.greatest,
            _ => self.middle(bucket).max(row.least).min(row.greatest),
        })
    }
}

impl Buckets {
    fn add(&mut self, bucket: i64, count: u64) {
        let held = self.counts.entry(bucket).or_insert(0);
        *held = held.saturating_add(count);
        if self.counts.len() > BUCKETS
            && let Some((_, count)) = self.counts.pop_first()
            && let Some(mut lowest) = self.counts.first_entry()
        {
            *lowest.get_mut() = lowest.get().saturating_add(count);
        }
    }

    fn widen(&mut self, least: f64, greatest: f64) {
        if least.total_cmp(&self.least).is_lt() {
            self.least = least;
        }
        if greatest.total_cmp(&self.greatest).is_gt() {
            self.greatest = greatest;
        }
    }
}

impl Sketch for ApproxQuantile {
    type Row = Buckets;

    fn empty(&self) -> Buckets {
        Buckets { least: f64::INFINITY, greatest: f64::NEG_INFINITY, counts: BTreeMap::new() }
    }

    fn is_empty(&self, row: &Buckets) -> bool {
        row.counts.is_empty()
    }

    fn read(&self, body: &[u8]) -> Option<Buckets> {
        let (least, body) = body.split_first_chunk()?;
        let (greatest, mut body) = body.split_first_chunk()?;
        let mut counts = BTreeMap::new();
        let mut bucket = 0_i64;
        while !body.is_empty() {
            bucket = bucket.checked_add(varint::take_signed(&mut body)?)?;
            if !(-INFINITE..=NOT_A_NUMBER).contains(&bucket) || counts.len() == BUCKETS {
                return None;
            }
            counts.insert(bucket, varint::take(&mut body)?);
        }
        Some(Buckets { least: f64::from_le_bytes(*least), greatest: f64::from_le_bytes(*greatest), counts })
    }

    fn write(&self, row: &Buckets, out: &mut Vec<u8>) {
        out.extend_from_slice(&row.least.to_le_bytes());
        out.extend_from_slice(&row.greatest.to_le_bytes());
        let mut before = 0;
        for (bucket, count) in &row.counts {
            varint::put_signed(out, bucket - before);
            varint::put(out, *count);
            before = *bucket;
        }
    }

    fn fold(&self, rows: &mut [Buckets], groups: &[u32], column: &ArrayRef) -> Result<(), CallError> {
        let column = widen(column, &DataType::Float64)?;
        let column = state::primitive::<Float64Type>(&column)?;
        for (row, (&group, &value)) in groups.iter().zip(column.values()).enumerate() {
            if column.is_valid(row)
                && let Some(into) = rows.get_mut(group as usize)
            {
                into.add(self.bucket(value), 1);
                if !value.is_nan() {
                    into.widen(value, value);
                }
            }
        }
        Ok(())
    }

    fn merge(&self, into: &mut Buckets, from: Buckets) {
        // From above, so that what is let go is the lowest of both.
        for (bucket, count) in from.counts.into_iter().rev() {
            into.add(bucket, count);
        }
        into.widen(from.least, from.greatest);
    }

    fn evaluate(&self, rows: &[Buckets]) -> ArrayRef {
        Arc::new(rows.iter().map(|row| self.quantile(row)).collect::<Float64Array>())
    }
}
