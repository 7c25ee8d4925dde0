//! CSV, whose first piece is the heading of the others.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use millrace::engine::decode::Format;
use millrace::record::Beside;
use millrace_fuzz::{batch, decode, field};

fuzz_target!(|data: &[u8]| {
    let fields = || {
        let kinds = ["utf8", "timestamp", "int64", "int32", "float64", "float32", "boolean", "binary"];
        kinds.map(|kind| field(kind, kind, "")).to_vec()
    };
    let heading = data.split(|byte| *byte == 0x1e).next().unwrap_or_default();
    for heading in [&b""[..], b"utf8,binary,boolean,float32,float64,int32,int64,timestamp,more", heading] {
        let beside = Beside { heading: Bytes::copy_from_slice(heading), lines: vec![1], ..Beside::default() };
        decode(fields(), Format::Csv { delimiter: b',', heading: true }, &batch(data, beside));
    }
});
