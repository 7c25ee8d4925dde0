//! Cuts bytes into lines: of a file, of a pushed body, of a WebSocket frame that holds several.
//!
//! Always true: a line has neither its newline nor a carriage return before it; lines of white space alone are left out.

use std::ops::Range;

use bytes::Bytes;
use memchr::memchr_iter;

/// Where the lines of `data` are. The last needs no newline.
pub fn ranges(data: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    memchr_iter(b'\n', data).chain(std::iter::once(data.len())).filter_map(move |end| {
        let range = trim(data, start..end);
        start = end + 1;
        range
    })
}

/// The lines of `data`, sharing its bytes.
pub fn of(data: &Bytes) -> impl Iterator<Item = Bytes> {
    ranges(data).map(|range| data.slice(range))
}

/// Without a carriage return at the end; none for a blank line.
fn trim(data: &[u8], mut range: Range<usize>) -> Option<Range<usize>> {
    let line = data.get(range.clone())?;
    if line.last() == Some(&b'\r') {
        range.end -= 1;
    }
    // Almost every line begins with a brace, so the scan ends at once.
    line.iter().any(|byte| !byte.is_ascii_whitespace()).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_and_blank_ones_left_out() {
        let cut = |text: &'static str| of(&Bytes::from(text)).collect::<Vec<_>>();
        assert_eq!(cut("a\nb\n"), ["a", "b"]);
        assert_eq!(cut("\n\r\n  \na\r\n\n b"), ["a", " b"]);
        assert_eq!(cut("last"), ["last"]);
        assert!(cut("").is_empty());
        assert!(cut("\n\n").is_empty());
    }
}
