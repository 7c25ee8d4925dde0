//! Texts as times, in every format; the first line may be a pattern of its own.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace::engine::decode::TimeFormat;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (first, rest) = text.split_once('\n').unwrap_or((text, text));
    for name in ["epoch-seconds", "epoch-millis", "epoch-micros", "iso", "%d.%m.%Y %H:%M:%S%.f %z", first] {
        let Ok(format) = TimeFormat::parse_config(name) else { continue };
        // Whether it reads does not matter, that it ends does.
        drop(format.parse(rest));
        if let Ok(format) = format.with_zone(first) {
            drop(format.parse(rest));
        }
    }
});
