//! JSON, as it is and within an envelope.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace::engine::decode::{Format, Path};
use millrace::record::Beside;
use millrace_fuzz::{batch, decode, fields};

fuzz_target!(|data: &[u8]| {
    let batch = batch(data, Beside::default());
    decode(fields(), Format::Json { row: Path::default() }, &batch);
    decode(fields(), Format::Json { row: Path::parse("$.value").expect("a path") }, &batch);
});
