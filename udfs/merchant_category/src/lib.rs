//! `merchant_category`: what a merchant's name, as card networks write it, says about the kind of business.
//!
//! `name: utf8?` → `category: utf8`. The name is read word by word, in lower case, digits and marks left out, so that
//! `"  SHELL OIL #5744-12 "`, `"Shell"` and `"shell oil"` are one. The first word that the table knows gives the
//! category; no name, or none that is known, is [`OTHER`]. Nothing is allocated.

mod keywords;

use keywords::category_of;
use millrace_sdk::prelude::*;

/// The category of a merchant that the table does not know.
pub const OTHER: &str = "other";

/// A transaction's merchant.
#[derive(Input)]
pub struct Merchant<'a> {
    name: Option<&'a str>,
}

/// What kind of business it is.
#[derive(Output)]
pub struct Category {
    category: &'static str,
}

/// Cleans and classifies a merchant's name.
#[transform]
pub fn merchant_category(row: Merchant<'_>) -> Category {
    Category { category: row.name.map_or(OTHER, classify) }
}

millrace_sdk::export! { transforms: [merchant_category] }

/// The category of a name.
pub fn classify(name: &str) -> &'static str {
    let mut word = Word::default();
    let mut rest = name;
    loop {
        // ASCII by the table, byte by byte; whatever else by Unicode's.
        let ascii = rest.bytes().take_while(u8::is_ascii);
        let mut read = 0;
        for byte in ascii {
            read += 1;
            match ASCII.get(usize::from(byte)).copied().unwrap_or(END) {
                END => {
                    if let Some(category) = word.take() {
                        return category;
                    }
                }
                NOTHING => {}
                letter => word.push(letter),
            }
        }
        let mut after = rest.get(read..).unwrap_or_default().chars();
        match after.next() {
            None => return word.take().unwrap_or(OTHER),
            Some('’') => {}
            Some(letter) if letter.is_alphabetic() => letter.to_lowercase().for_each(|lower| word.push_letter(lower)),
            Some(_) => {
                if let Some(category) = word.take() {
                    return category;
                }
            }
        }
        rest = after.as_str();
    }
}

/// Ends a word.
const END: u8 = 0;
/// Part of the word, or of none: "7-Eleven", "Wal-Mart", "Macy's", "ROSSMANN1234".
const NOTHING: u8 = 1;

/// What each byte of ASCII is to a word: a letter in lower case, [`NOTHING`] or [`END`].
const ASCII: [u8; 128] = {
    let mut table = [END; 128];
    let mut byte = 0_u8;
    while byte < 128 {
        #[expect(clippy::indexing_slicing, reason = "the table has a place for each, and the compiler has looked")]
        if byte.is_ascii_alphabetic() {
            table[byte as usize] = byte.to_ascii_lowercase();
        } else if byte.is_ascii_digit() || byte == b'\'' || byte == b'-' {
            table[byte as usize] = NOTHING;
        }
        byte += 1;
    }
    table
};

/// A word in the making. One longer than every keyword is none of them, so its letters need not be kept.
#[derive(Default)]
struct Word {
    letters: [u8; keywords::LONGEST],
    len: usize,
}

impl Word {
    #[inline]
    fn push(&mut self, letter: u8) {
        if let Some(place) = self.letters.get_mut(self.len) {
            *place = letter;
        }
        self.len += 1;
    }

    fn push_letter(&mut self, letter: char) {
        letter.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| self.push(byte));
    }

    /// The category of the word so far; the next begins.
    #[inline]
    fn take(&mut self) -> Option<&'static str> {
        let len = std::mem::take(&mut self.len);
        category_of(self.letters.get(..len)?)
    }
}

#[cfg(test)]
mod tests;
