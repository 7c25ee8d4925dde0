//! The transforms.

use millrace_sdk::prelude::*;

/// A number, or none.
#[derive(Input)]
pub struct Number {
    value: Option<f64>,
}

/// A number, or none.
#[derive(Output)]
pub struct Scaled {
    value: Option<f64>,
}

/// What numbers are multiplied by.
#[options(default)]
pub struct Factor {
    factor: f64,
}

impl Default for Factor {
    fn default() -> Self {
        Self { factor: 2.0 }
    }
}

/// Multiplies by the factor.
#[transform]
pub fn multiply(row: Number, o: &Factor) -> Scaled {
    Scaled { value: row.value.map(|value| value * o.factor) }
}

/// A text, or none.
#[derive(Input)]
pub struct Text<'a> {
    pub(crate) text: Option<&'a str>,
}

/// A text, or none.
#[derive(Output)]
pub struct Lowered {
    text: Option<String>,
}

/// Lower case, of the letters that the suite speaks of.
#[transform]
pub fn lower(row: Text<'_>) -> Lowered {
    Lowered { text: row.text.map(|text| text.chars().map(lowered).collect()) }
}

/// The lower case of the letters that the suite speaks of, and of no others.
fn lowered(letter: char) -> char {
    let code = u32::from(letter);
    let lower = match code {
        0xD7 | 0x3A2 => code,
        0x41..=0x5A | 0xC0..=0xDE | 0x391..=0x3A9 | 0x410..=0x42F => code + 32,
        0x400..=0x40F => code + 80,
        _ => code,
    };
    char::from_u32(lower).unwrap_or(letter)
}

/// What numbers have to be above.
#[options(default)]
#[derive(Default)]
pub struct Above {
    above: f64,
}

/// Keeps what is above.
#[transform]
pub fn filter(row: Number, o: &Above) -> Option<Scaled> {
    row.value.is_some_and(|value| value > o.above).then_some(Scaled { value: row.value })
}

/// A word of a text.
#[derive(Output)]
pub struct Word<'a> {
    word: &'a str,
    position: i64,
}

/// A row a word.
#[transform]
pub fn flat_map<'a>(row: Text<'a>) -> Vec<Word<'a>> {
    let words = row.text.unwrap_or_default().split(' ').filter(|word| !word.is_empty());
    (0..).zip(words).map(|(position, word)| Word { word, position }).collect()
}

/// A list of numbers, or none.
#[derive(Input)]
pub struct Items<'a> {
    items: Option<List<'a, Option<f64>>>,
}

/// An item of a list.
#[derive(Output)]
pub struct Item {
    item: Option<f64>,
}

/// A row an item.
#[transform]
pub fn explode(row: Items<'_>) -> Result<Vec<Item>, Reject> {
    let items = row.items.ok_or(Reject::new("no list"))?;
    Ok(items.iter().map(|item| Item { item }).collect())
}

/// A column of every type.
#[derive(Input)]
pub struct Every<'a> {
    b: Option<bool>,
    i: Option<i64>,
    f: Option<f64>,
    t: Option<Timestamp>,
    s: Option<&'a str>,
    z: Option<&'a [u8]>,
    lf: Option<Vec<Option<f64>>>,
    ls: Option<Vec<Option<&'a str>>>,
}

/// The same.
#[derive(Output)]
pub struct Echo<'a> {
    b2: Option<bool>,
    i2: Option<i64>,
    f2: Option<f64>,
    t2: Option<Timestamp>,
    s2: Option<&'a str>,
    z2: Option<&'a [u8]>,
    lf2: Option<Vec<Option<f64>>>,
    ls2: Option<Vec<Option<&'a str>>>,
}

/// All types there and back.
#[transform]
pub fn echo<'a>(row: Every<'a>) -> Echo<'a> {
    let Every { b, i, f, t, s, z, lf, ls } = row;
    Echo { b2: b, i2: i, f2: f, t2: t, s2: s, z2: z, lf2: lf, ls2: ls }
}

/// A whole number, or none.
#[derive(Input)]
pub struct Whole {
    value: Option<i64>,
}

/// The same.
#[derive(Output)]
pub struct Unchanged {
    value: Option<i64>,
}

/// Fails at 1, refuses 2.
#[transform]
#[expect(clippy::panic, reason = "to fail is what it is there for")]
pub fn fail(row: Whole) -> Result<Unchanged, Reject> {
    match row.value {
        Some(1) => panic!("one is not welcome"),
        Some(2) => Err(Reject::new("two is refused")),
        value => Ok(Unchanged { value }),
    }
}
