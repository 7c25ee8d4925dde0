//! `packed_readings`: the readings of a device's packed payload, as sensors and gateways send them.
//!
//! `payload: binary?` → `device: int64, at: timestamp, value: float64`, a row for each reading. A payload is readings of
//! 24 bytes, one after the other, numbers little-endian:
//! ```text
//!  0  8  device, i64
//!  8  8  time, microseconds since 1970, i64
//! 16  8  value, f64; NaN: the device had nothing to say, and there is no row
//! ```
//! An empty payload, or none, gives no row; one of another length is refused.

use millrace_sdk::prelude::*;

/// How long a reading is.
pub const READING: usize = 24;

/// An event.
#[derive(Input)]
pub struct Packed<'a> {
    payload: Option<&'a [u8]>,
}

/// One reading of it.
#[derive(Output)]
pub struct Reading {
    device: i64,
    at: Timestamp,
    value: f64,
}

/// Takes a payload apart.
#[transform]
pub fn packed_readings(row: Packed<'_>) -> Result<Vec<Reading>, Reject> {
    let payload = row.payload.unwrap_or_default();
    let (readings, rest) = payload.as_chunks::<READING>();
    if !rest.is_empty() {
        let length = payload.len();
        return Err(Reject::new(format!("{length} bytes, which is no multiple of {READING}: not whole readings")));
    }
    Ok(readings.iter().map(read).filter(|reading| !reading.value.is_nan()).collect())
}

fn read(bytes: &[u8; READING]) -> Reading {
    let [device, at, value] = [0, 8, 16].map(|from| {
        let mut number = [0; 8];
        number.iter_mut().zip(bytes.iter().skip(from)).for_each(|(to, byte)| *to = *byte);
        number
    });
    Reading {
        device: i64::from_le_bytes(device),
        at: Timestamp::from_micros(i64::from_le_bytes(at)),
        value: f64::from_le_bytes(value),
    }
}

millrace_sdk::export! { transforms: [packed_readings] }

#[cfg(test)]
mod tests;
