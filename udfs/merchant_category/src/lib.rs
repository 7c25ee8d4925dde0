//! `merchant_category`: what a merchant's name, as card networks write it, says about the kind of business.
//!
//! `name: utf8?` → `category: utf8`. The name is read word by word, in lower case, digits and marks left out, so that
//! `"  SHELL OIL #5744-12 "`, `"Shell"` and `"shell oil"` are one. The first word that the table knows gives the category;
//! no name, or none that is known, is [`OTHER`]. Nothing is allocated.

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
    for letter in name.chars() {
        match letter {
            'a'..='z' => word.push(letter),
            'A'..='Z' => word.push(letter.to_ascii_lowercase()),
            // "7-Eleven", "Wal-Mart", "Macy's", "ROSSMANN1234": part of the word, or of none.
            '0'..='9' | '\'' | '’' | '-' => {}
            _ if letter.is_alphabetic() => letter.to_lowercase().for_each(|lower| word.push(lower)),
            _ => {
                if let Some(category) = word.take().and_then(category_of) {
                    return category;
                }
            }
        }
    }
    word.take().and_then(category_of).unwrap_or(OTHER)
}

/// A word in the making. One longer than every keyword is none of them, so its letters need not be kept.
#[derive(Default)]
struct Word {
    letters: [u8; keywords::LONGEST],
    len: usize,
}

impl Word {
    fn push(&mut self, letter: char) {
        if let Some(place) = self.letters.get_mut(self.len..self.len + letter.len_utf8()) {
            letter.encode_utf8(place);
        }
        self.len = (self.len + letter.len_utf8()).min(keywords::LONGEST + 1);
    }

    /// The word so far, if it is one and not too long; the next begins.
    fn take(&mut self) -> Option<&str> {
        let len = std::mem::take(&mut self.len);
        self.letters.get(..len).filter(|word| !word.is_empty()).and_then(|word| std::str::from_utf8(word).ok())
    }
}

#[cfg(test)]
mod tests;
