//! Project files: a text is a project, or there is a reason why not.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use millrace::config::read_text;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(wrong) = read_text("fuzz.toml", text.to_owned(), Path::new("/nowhere"), &|_| Some("7".into()), &[]) {
        assert!(!wrong.is_empty(), "an error says what is wrong");
        assert!(wrong.to_string().lines().all(|line| !line.is_empty()));
    }
});
