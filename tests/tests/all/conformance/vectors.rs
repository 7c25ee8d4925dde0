//! The events: what is at the edges of every type, then what is drawn from a fixed seed.

use super::cells::{Cell, Row, float, text};

/// Numbers as good as random, the same each time (Marsaglia's xorshift64*).
pub(super) struct Draws(u64);

impl Draws {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 16).unwrap() % end
    }

    /// One of `all`, or now and then a null.
    fn one_of<T: Clone>(&mut self, all: &[T], cell: impl Fn(T) -> Cell) -> Cell {
        if self.below(8) == 0 { Cell::Null } else { cell(all[self.below(all.len())].clone()) }
    }
}

const FLOATS: [f64; 16] = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::MIN_POSITIVE,
    5e-324,
    f64::MAX,
    f64::MIN,
    f64::EPSILON,
    0.1,
    1e16,
    9_007_199_254_740_993.0,
    -3.3,
];

const INTS: [i64; 12] = [
    0,
    -1,
    5,
    i64::MAX,
    i64::MIN,
    1 << 53,
    (1 << 53) + 1,
    -(1 << 53) - 1,
    i32::MAX as i64 + 1,
    i32::MIN as i64 - 1,
    255,
    1_700_000_000_000_000,
];

const TEXTS: [&str; 20] = [
    "",
    " ",
    "a",
    "Hello World",
    "  two  spaces  and\ttab ",
    "ÀÉÎÕÜß ×÷ÞþŸ",
    "ΑΒΓ ΣΑΣ ςάΆΏ",
    "ЀЁЏ АБВЯ абвя ѐџ",
    "İıſK ǅ Ⅷ Ⓐ Ａ",
    "日本語 テキスト",
    "😀 👩\u{200d}👩\u{200d}👧 🏳\u{fe0f}\u{200d}🌈",
    "e\u{301} E\u{301}",
    "\u{0}nul\u{0}inside",
    "\u{feff}bom",
    "\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}",
    "\u{d7ff}\u{e000}",
    "line\nfeed\r\n\u{2028}\u{a0}x",
    "ÀA×B\u{de}C\u{df}D",
    "\"quoted\" \\ {json}",
    "The Quick Brown FOX",
];

const BYTES: [&[u8]; 7] =
    [b"", b"\0", b"\xff\xfe\xc0\xaf", b"text", b"\xed\xa0\x80", b"\x80", &[0, 1, 2, 3, 255, 254, 253, 128, 127]];

pub(super) fn floats(draws: &mut Draws) -> Cell {
    if draws.below(3) == 0 {
        return draws.one_of(&FLOATS, float);
    }
    // As a price would be, of which sums are not exact.
    let cents = draws.below(2_000_000) as f64 - 1_000_000.0;
    float(cents / 100.0)
}

/// Finite ones: what NaN adds up to has a payload that is nobody's.
pub(super) fn finite(draws: &mut Draws) -> Cell {
    if draws.below(8) == 0 { Cell::Null } else { float((draws.below(2_000_000) as f64 - 1e6) / 7.0) }
}

pub(super) fn ints(draws: &mut Draws) -> Cell {
    draws.one_of(&INTS, Cell::Int)
}

/// So many seconds after 1970.
pub(super) fn second(seconds: i64) -> Cell {
    Cell::Time(seconds * 1_000_000)
}

pub(super) fn texts(draws: &mut Draws) -> Cell {
    draws.one_of(&TEXTS, text)
}

/// Of many different ones.
pub(super) fn words(draws: &mut Draws) -> Cell {
    if draws.below(4) == 0 {
        return texts(draws);
    }
    let word = draws.below(400);
    text(format!("merchant {word}"))
}

pub(super) fn lists(draws: &mut Draws, item: impl Fn(&mut Draws) -> Cell) -> Cell {
    match draws.below(6) {
        0 => Cell::Null,
        length => Cell::List((1..length).map(|_| item(draws)).collect()),
    }
}

/// A row for `echo`.
pub(super) fn every(draws: &mut Draws) -> Row {
    vec![
        draws.one_of(&[true, false], Cell::Bool),
        ints(draws),
        floats(draws),
        draws.one_of(&INTS, Cell::Time),
        texts(draws),
        draws.one_of(&BYTES, |bytes| Cell::Bytes(bytes.to_vec())),
        lists(draws, floats),
        lists(draws, texts),
    ]
}

/// A mebibyte of text, in all letters that the suite knows.
pub(super) fn huge() -> Cell {
    let letters = (0x20_u32..0x460).filter_map(char::from_u32).collect::<String>();
    text(letters.repeat((1 << 20) / letters.len() + 1))
}

/// `rows` rows of one column.
pub(super) fn column(seed: u64, rows: usize, mut cell: impl FnMut(&mut Draws) -> Cell) -> Vec<Row> {
    let mut draws = Draws::new(seed);
    (0..rows).map(|_| vec![cell(&mut draws)]).collect()
}

/// Where to cut `rows` rows: from, to.
pub(super) fn cuts(draws: &mut Draws, rows: usize, longest: usize) -> Vec<(usize, usize)> {
    let mut from = 0;
    let mut cuts = Vec::new();
    while from < rows {
        let to = rows.min(from + 1 + draws.below(longest));
        cuts.push((from, to));
        from = to;
    }
    cuts
}
