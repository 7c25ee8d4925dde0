//! One transform or aggregate a fault, written on the bare contract where the SDK would not allow it.
//!
//! All take a column `value: utf8`. A fault shows only in a call that has a row `poison` in it, so that the host must
//! find that row; with the option `{ when = "always" }` it shows in every call. [`catalogue`] lists them.

pub mod catalogue;

#[cfg(target_family = "wasm")]
mod aggregate;
#[cfg(target_family = "wasm")]
mod bindings;
#[cfg(target_family = "wasm")]
mod columns;
#[cfg(target_family = "wasm")]
mod crash;
#[cfg(target_family = "wasm")]
mod transform;

#[cfg(target_family = "wasm")]
struct Faults;

#[cfg(test)]
mod tests {
    use super::catalogue::{AGGREGATES, TRANSFORMS};

    #[test]
    fn every_fault_stands_in_the_readme() {
        let readme = include_str!("../../README.md");
        let names = TRANSFORMS.iter().chain(AGGREGATES);
        let missing: Vec<_> = names.filter(|name| !readme.contains(&format!("| `{name}` |"))).collect();
        assert!(missing.is_empty(), "not in README.md: {missing:?}");
    }
}
