//! What a guest returned, as Arrow arrays: refused, or whole, and the same again after another way there and back.
#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use millrace::wasm::fuzzing::round_trip;

const KINDS: [&str; 11] = [
    "boolean",
    "int32",
    "int64",
    "float32",
    "float64",
    "timestamp",
    "utf8",
    "binary",
    "list<utf8>",
    "list<boolean>",
    "list<list<int64>>",
];

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    let Ok(kind) = input.choose(&KINDS) else { return };
    let Ok(rows) = input.int_in_range(0..=40_u32) else { return };
    let Ok(count) = input.int_in_range(0..=6_usize) else { return };
    let mut buffers: Vec<Vec<u8>> = Vec::new();
    for _ in 0..count {
        let Ok(length) = input.int_in_range(0..=400_usize) else { return };
        let length = length.min(input.len());
        let Ok(bytes) = input.bytes(length) else { return };
        buffers.push(bytes.to_vec());
    }
    round_trip(kind, rows, buffers);
});
