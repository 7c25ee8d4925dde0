//! Events as they are, with places of keys and headers that may lie outside the batch.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace::engine::decode::Format;
use millrace::engine::decode::raw::RawDecoder;
use millrace::record::Beside;
use millrace_fuzz::{batch, decode};

fuzz_target!(|data: &[u8]| {
    let spans = || {
        data.chunks(3).map(|piece| match piece {
            [start, end, some] => (some % 2 == 0).then_some((u32::from(*start), u32::from(*end))),
            _ => Some((u32::MAX, 0)),
        })
    };
    let beside = Beside {
        topic: Some("topic".into()),
        keys: spans().collect(),
        headers: spans().collect(),
        ..Beside::default()
    };
    decode(RawDecoder::fields(), Format::Raw, &batch(data, beside));
});
