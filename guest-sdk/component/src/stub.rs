//! WASI as far as a language's runtime cannot start without it, and nothing behind it: the clock stands still at its
//! second second (Go takes 0 for a broken one), random numbers are always the same, what is written is gone, and there are
//! no files. What would wait for something traps.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The module that it stands in for.
pub(crate) const MODULE: &str = "wasi_snapshot_preview1";

/// Each function with its parameters and what it does; all return 0 for success but those that say otherwise. 8 is EBADF.
const FUNCTIONS: [(&str, &str); 19] = [
    ("args_get", "(param i32 i32) (result i32) (i32.const 0)"),
    ("args_sizes_get", COUNTS),
    ("clock_res_get", "(param i32 i32) (result i32) (i64.store (local.get 1) (i64.const 1000)) (i32.const 0)"),
    ("clock_time_get", "(param i32 i64 i32) (result i32) (i64.store (local.get 2) (i64.const 1000000000)) (i32.const 0)"),
    ("environ_get", "(param i32 i32) (result i32) (i32.const 0)"),
    ("environ_sizes_get", COUNTS),
    ("fd_close", "(param i32) (result i32) (i32.const 8)"),
    ("fd_fdstat_get", "(param i32 i32) (result i32) (i32.const 8)"),
    ("fd_fdstat_set_flags", "(param i32 i32) (result i32) (i32.const 8)"),
    ("fd_filestat_get", "(param i32 i32) (result i32) (i32.const 8)"),
    ("fd_prestat_get", "(param i32 i32) (result i32) (i32.const 8)"),
    ("fd_prestat_dir_name", "(param i32 i32 i32) (result i32) (i32.const 8)"),
    ("fd_read", "(param i32 i32 i32 i32) (result i32) (i32.const 8)"),
    ("fd_seek", "(param i32 i64 i32 i32) (result i32) (i32.const 8)"),
    (
        "fd_write",
        "(param $fd i32) (param $pieces i32) (param $count i32) (param $written i32) (result i32) (local $sum i32)
         (block $done
            (loop $next
                (br_if $done (i32.eqz (local.get $count)))
                (local.set $sum (i32.add (local.get $sum) (i32.load offset=4 (local.get $pieces))))
                (local.set $pieces (i32.add (local.get $pieces) (i32.const 8)))
                (local.set $count (i32.sub (local.get $count) (i32.const 1)))
                (br $next)))
         (i32.store (local.get $written) (local.get $sum))
         (i32.const 0)",
    ),
    ("poll_oneoff", "(param i32 i32 i32 i32) (result i32) unreachable"),
    ("proc_exit", "(param i32) unreachable"),
    (
        "random_get",
        "(param $to i32) (param $count i32) (result i32)
         (block $done
            (loop $next
                (br_if $done (i32.eqz (local.get $count)))
                (i32.store8 (local.get $to) (i32.const 42))
                (local.set $to (i32.add (local.get $to) (i32.const 1)))
                (local.set $count (i32.sub (local.get $count) (i32.const 1)))
                (br $next)))
         (i32.const 0)",
    ),
    ("sched_yield", "(result i32) (i32.const 0)"),
];

/// No arguments, no environment.
const COUNTS: &str = "(param i32 i32) (result i32)
    (i32.store (local.get 0) (i32.const 0)) (i32.store (local.get 1) (i32.const 0)) (i32.const 0)";

/// The stub, with these functions.
///
/// # Errors
/// One of them is not here.
pub(crate) fn module(wanted: &BTreeSet<String>) -> Result<Vec<u8>, String> {
    let mut text = String::from(r#"(module (import "env" "memory" (memory 0))"#);
    for name in wanted {
        let Some((_, body)) = FUNCTIONS.iter().find(|(known, _)| known == name) else {
            return Err(format!("it calls `{name}` of WASI, and a UDF has no files, no network and no processes"));
        };
        // Writing to a String does not fail.
        write!(text, r#" (func (export "{name}") {body})"#).ok();
    }
    text.push(')');
    wat::parse_str(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_is_valid() {
        let all = FUNCTIONS.iter().map(|(name, _)| (*name).to_owned()).collect();
        let module = module(&all).unwrap();
        wasmparser::validate(&module).unwrap();
    }
}
