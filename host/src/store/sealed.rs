//! The frame of every value that must be noticed when it is not as it was written.
//!
//! ```text
//!  0  4  magic                         numbers are little-endian
//!  4  2  version
//!  6  2  zero
//!  8  4  length of the body, n
//! 12  4  CRC-32 (IEEE) of bytes 0..12 and of the body
//! 16  n  body, and nothing after it
//! ```

use bytes::Buf;

/// Where the CRC is.
const CRC: usize = 12;

/// Where the body begins.
pub(super) const BODY: usize = 16;

/// Why bytes are not what was sealed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    /// The end is missing, as a crash leaves it.
    #[error("its end is missing")]
    Short,
    /// Anything else.
    #[error("{0}")]
    Damaged(String),
}

/// Something other than the end is wrong.
pub(super) fn damaged(why: impl Into<String>) -> Unreadable {
    Unreadable::Damaged(why.into())
}

/// Begins a value in `out`, replacing what it held: the body is to follow.
pub(super) fn begin(out: &mut Vec<u8>, magic: [u8; 4], version: u16) {
    out.clear();
    out.extend_from_slice(&magic);
    out.extend_from_slice(&version.to_le_bytes());
    out.resize(BODY, 0);
}

/// Ends the value that [`begin`] began, once its body is there. None where the body exceeds 4 GiB.
pub(super) fn finish(out: &mut [u8]) -> Option<()> {
    let length = u32::try_from(out.len().checked_sub(BODY)?).ok()?;
    out.get_mut(CRC - 4..CRC)?.copy_from_slice(&length.to_le_bytes());
    let crc = checksum(out)?;
    out.get_mut(CRC..BODY)?.copy_from_slice(&crc.to_le_bytes());
    Some(())
}

fn checksum(value: &[u8]) -> Option<u32> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(value.get(..CRC)?);
    hasher.update(value.get(BODY..)?);
    Some(hasher.finalize())
}

/// The body of a value, verified.
pub(super) fn open(value: &[u8], magic: [u8; 4], version: u16) -> Result<&[u8], Unreadable> {
    let Some((mut frame, body)) = value.split_at_checked(BODY) else { return Err(Unreadable::Short) };
    if !frame.starts_with(&magic) {
        return Err(damaged(format!("it does not start with {}", magic.escape_ascii())));
    }
    frame.advance(magic.len());
    let found = frame.get_u16_le();
    if found != version {
        return Err(damaged(format!("it has version {found}; this Millrace reads version {version}")));
    }
    frame.advance(2);
    let (length, crc) = (frame.get_u32_le() as usize, frame.get_u32_le());
    if body.len() < length {
        return Err(Unreadable::Short);
    }
    if body.len() > length {
        return Err(damaged("something follows it"));
    }
    if checksum(value) != Some(crc) {
        return Err(damaged("its CRC is not that of its bytes"));
    }
    Ok(body)
}

/// Gives a value the CRC of its bytes, as whoever wrote them with intent would.
#[cfg(test)]
pub(super) fn reseal(value: &mut [u8]) {
    let crc = checksum(value).unwrap();
    value[CRC..BODY].copy_from_slice(&crc.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_and_any_length_is_noticed() {
        let mut value = Vec::new();
        begin(&mut value, *b"TEST", 3);
        value.extend_from_slice(b"the body");
        finish(&mut value).unwrap();
        assert_eq!(open(&value, *b"TEST", 3), Ok(b"the body".as_slice()));
        for at in 0..value.len() {
            for bit in 0..8 {
                let mut value = value.clone();
                value[at] ^= 1 << bit;
                assert!(open(&value, *b"TEST", 3).is_err(), "bit {bit} of byte {at}");
            }
        }
        for length in 0..value.len() {
            assert_eq!(open(&value[..length], *b"TEST", 3), Err(Unreadable::Short));
        }
        value.push(0);
        assert!(matches!(open(&value, *b"TEST", 3), Err(Unreadable::Damaged(_))));
        assert!(open(&value, *b"TEST", 4).unwrap_err().to_string().contains("reads version 4"));
    }
}
