//! What differs from process to process where nobody sees to it: the order of a map's keys, and where things lie.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use millrace_sdk::prelude::*;

use crate::transforms::Text;

/// What chance said.
#[derive(Output)]
pub struct Said {
    said: String,
}

fn chances_of(text: &str) -> String {
    let words: HashSet<String> = (0..20).map(|number| format!("{} {number}", text.len())).collect();
    let counts: HashMap<usize, usize> = (0..20).map(|number| (number, number)).collect();
    let place: *const HashSet<String> = &raw const words;
    format!("{words:?} {counts:?} {} {place:?}", RandomState::new().hash_one(text))
}

/// Chance, for a text.
#[transform]
pub fn chance(row: Text<'_>) -> Said {
    Said { said: chances_of(row.text.unwrap_or_default()) }
}

/// What chance said last.
#[derive(State, Default, Clone, Debug, PartialEq)]
pub struct Chances {
    said: String,
}

#[aggregate]
impl Aggregate for Chances {
    type Input<'a> = Text<'a>;
    type Output = Said;

    fn update(&mut self, row: Text<'_>) {
        self.said = chances_of(row.text.unwrap_or_default());
    }

    fn merge(&mut self, later: &Self) {
        self.said = chances_of(&(self.said.clone() + &later.said));
    }

    fn evaluate(&self, _window: Window) -> Said {
        Said { said: chances_of(&self.said) }
    }
}
