//! Where a column's value is within an event: `$.outer.inner`, `$.bids[0][0]`, `$.bids[*][1]`.
//!
//! Always true: a path has at most [`MAX_STEPS`] steps and at most one `[*]`, which gives a list with an item for each
//! of the array it stands for.

use std::fmt;

/// How many steps a path may have.
pub const MAX_STEPS: usize = 16;

/// The greatest index of an array: what is before it is read for every event.
const MAX_INDEX: u16 = 999;

/// One step into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into an object's member.
    Member(String),
    /// To the item of an array, counted from 0.
    Index(u16),
    /// To every item of an array.
    Each,
}

/// Steps from an event's root, or from its row where that is unwrapped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(Vec<Step>);

impl Path {
    /// The path to the member of that name, whatever characters it has.
    pub fn member(name: &str) -> Self {
        Self(vec![Step::Member(name.to_owned())])
    }

    /// Reads `$.name`, `$['any name']`, `$[0]` and `$[*]`, one after the other.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.strip_prefix('$').ok_or("a path begins with `$`, as in `$.outer.inner`")?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = step(rest)?;
            steps.push(step);
            rest = after;
        }
        match steps.iter().filter(|step| **step == Step::Each).count() {
            _ if steps.is_empty() => Err("a path leads somewhere, as in `$.outer.inner`".into()),
            _ if steps.len() > MAX_STEPS => Err(format!("a path has at most {MAX_STEPS} steps")),
            0 | 1 => Ok(Self(steps)),
            _ => Err("a path has at most one `[*]`".into()),
        }
    }

    /// Its steps.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether it gives a list of what it finds.
    pub fn gives_list(&self) -> bool {
        self.0.contains(&Step::Each)
    }

    /// This path, and from there on `inner`.
    #[must_use]
    pub fn join(&self, inner: &Self) -> Self {
        Self(self.0.iter().chain(&inner.0).cloned().collect())
    }
}

/// The first step of a text that is not empty, and what follows it.
fn step(text: &str) -> Result<(Step, &str), String> {
    if let Some(rest) = text.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        return match name {
            "" => Err("a member's name is missing after `.`".into()),
            "*" => Err("`.*` is not known: `[*]` goes through an array".into()),
            name => Ok((Step::Member(name.to_owned()), after)),
        };
    }
    let unknown = || format!("`{text}` is no step: use `.name`, `['name']`, `[0]` or `[*]`");
    let rest = text.strip_prefix('[').ok_or_else(unknown)?;
    for quote in ['\'', '"'] {
        if let Some(rest) = rest.strip_prefix(quote) {
            let (name, after) = rest.split_once(quote).ok_or_else(unknown)?;
            let after = after.strip_prefix(']').ok_or_else(unknown)?;
            return Ok((Step::Member(name.to_owned()), after));
        }
    }
    let (index, after) = rest.split_once(']').ok_or_else(unknown)?;
    if index == "*" {
        return Ok((Step::Each, after));
    }
    let digits = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
    match index.parse() {
        Ok(index) if digits && index <= MAX_INDEX => Ok((Step::Index(index), after)),
        _ if digits => Err(format!("an index is at most {MAX_INDEX}")),
        _ => Err(unknown()),
    }
}

impl fmt::Display for Path {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("$")?;
        for step in &self.0 {
            match step {
                Step::Member(name) if name.is_empty() || name.contains(['.', '[']) => write!(out, "['{name}']")?,
                Step::Member(name) => write!(out, ".{name}")?,
                Step::Index(index) => write!(out, "[{index}]")?,
                Step::Each => out.write_str("[*]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_back_as_they_print() {
        for text in ["$.outer.inner", "$.bids[0][0]", "$.bids[*][1]", "$['a.b'].c", "$[3]", "$.größe.x y"] {
            assert_eq!(Path::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Path::parse("$[\"a\"]").unwrap(), Path::member("a"));
        assert!(Path::parse("$.a[*]").unwrap().gives_list());
        assert_eq!(Path::parse("$.a").unwrap().join(&Path::member("b")).to_string(), "$.a.b");
    }

    #[test]
    fn what_is_no_path_is_refused_with_what_to_write() {
        for (text, why) in [
            ("a.b", "begins with `$`"),
            ("$", "leads somewhere"),
            ("$a", "is no step"),
            ("$.a..b", "name is missing"),
            ("$.", "name is missing"),
            ("$.*", "`[*]`"),
            ("$.a[*].b[*]", "at most one"),
            ("$[-1]", "is no step"),
            ("$[", "is no step"),
            ("$['a]", "is no step"),
            ("$['a'x", "is no step"),
            ("$[+1]", "is no step"),
            ("$[1000]", "at most 999"),
            ("$[99999999999]", "at most 999"),
            ("$[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]", "at most 16"),
        ] {
            let error = Path::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
