use super::*;
use crate::wasm::ComponentError;

#[test]
fn a_component_tells_its_digest_and_names() {
    let bench = component("bench_transform");
    assert_eq!(bench.transforms(), ["row_closure", "row_closure_owned", "vectorised", "passthrough"]);
    assert_eq!(bench.aggregates(), ["mean"]);
    let decayed = component("decayed_sum");
    assert_eq!(decayed.aggregates(), ["decayed_sum"]);
    assert_eq!(decayed.transforms(), [""; 0]);
    assert_ne!(bench.digest(), decayed.digest());
    assert!(bench.digest().bytes().all(|digit| digit.is_ascii_hexdigit()));
}

#[test]
fn what_is_no_component_is_called_what_it_is() {
    let refusal = |bytes: &[u8]| ENGINE.load(bytes).map(|_| ()).unwrap_err();
    for bytes in [&b""[..], b"\0asm", b"#!/bin/sh\necho", b"\x7fELF\x02\x01\x01\0"] {
        assert_eq!(refusal(bytes), ComponentError::NotWasm);
    }
    assert_eq!(refusal(b"\0asm\x01\0\0\0"), ComponentError::CoreModule);
    assert_eq!(
        refusal(b"\0asm\x0d\0\x01\0").to_string(),
        "it exports neither `millrace:feature/transform@0.1.0` nor `millrace:feature/aggregate@0.1.0`, but nothing"
    );
    let whole = bytes("bench_transform");
    let cut = refusal(&whole[..whole.len() / 2]);
    assert!(matches!(&cut, ComponentError::Invalid(reason) if reason.contains("is out of bounds")), "{cut:?}");
}

/// The files of a cache, and how to make an engine that uses it.
fn cached(folder: &std::path::Path) -> Engine {
    Engine::new(EngineOptions { cache: Some(folder.to_owned()), ..EngineOptions::default() }).unwrap()
}

#[test]
fn a_compiled_component_is_kept_and_a_damaged_one_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let files = || std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let bytes = bytes("decayed_sum");
    let digest = cached(folder.path()).load(&bytes).unwrap().digest().to_owned();
    let [file] = files().try_into().unwrap();
    assert!(file.file_name().unwrap().to_str().unwrap().starts_with(&digest));
    let whole = std::fs::read(&file).unwrap();

    // What is there is used: it is not written again.
    let written = |file: &std::path::Path| std::fs::metadata(file).unwrap().modified().unwrap();
    let first = written(&file);
    assert_eq!(cached(folder.path()).load(&bytes).unwrap().aggregates(), ["decayed_sum"]);
    assert_eq!(written(&file), first);

    let mut damaged = vec![Vec::new(), whole[..20].to_vec(), whole[..whole.len() - 1].to_vec(), b"junk".repeat(100)];
    for at in [0, 8, 12, 20, 52, whole.len() / 2, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        damaged.push(flipped);
    }
    for damaged in damaged {
        std::fs::write(&file, damaged).unwrap();
        assert_eq!(cached(folder.path()).load(&bytes).unwrap().aggregates(), ["decayed_sum"]);
        assert!(std::fs::read(&file).unwrap() == whole);
        assert_eq!(files().len(), 1);
    }
}

#[cfg(unix)]
#[test]
fn the_cache_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    cached(folder.path());
    assert_eq!(std::fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = Engine::new(EngineOptions { cache: Some(file), ..EngineOptions::default() });
    assert!(matches!(refused.map(|_| ()), Err(crate::wasm::EngineError::Cache { .. })));
}
