//! The fields that the stores' own formats are made of: little-endian numbers, and texts of a length of 32 bits.
//!
//! Numbers are read by [`bytes::Buf`]'s `try_get` family; a text or a run of bytes that says more than there is reads
//! as none.

use bytes::Buf;

/// Appends a text; one of 4 GiB does not exist in any format here, and is cut.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

/// Appends bytes after their length.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend(bytes.iter().take(length as usize));
}

/// Takes bytes after their length.
pub(super) fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = bytes.try_get_u32_le().ok()? as usize;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// Takes a text.
pub(super) fn take_text(bytes: &mut &[u8]) -> Option<String> {
    take_bytes(bytes).and_then(|text| std::str::from_utf8(text).ok()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_and_short_ones_do_not() {
        let mut out = Vec::new();
        put_text(&mut out, "käse");
        put_text(&mut out, "");
        let mut rest = out.as_slice();
        assert_eq!(take_text(&mut rest).as_deref(), Some("käse"));
        assert_eq!(take_text(&mut rest).as_deref(), Some(""));
        assert_eq!(take_text(&mut rest), None);
        assert_eq!(take_text(&mut &out[..6]), None);
    }
}
