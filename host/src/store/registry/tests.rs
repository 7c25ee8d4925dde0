//! The registry over a folder that crashes, bad disks and slips have been at.

use super::*;

fn entry(udf: &str, name: Option<&str>, when: Micros) -> Entry {
    Entry { udf: udf.into(), name: name.map(str::to_owned), who: "ann".into(), when, ..Entry::default() }
}

fn registry() -> (tempfile::TempDir, Registry) {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::open(&folder.path().join(FOLDER)).unwrap();
    (folder, registry)
}

fn reopened(folder: &tempfile::TempDir) -> Result<Registry, RegistryError> {
    Registry::open(&folder.path().join(FOLDER))
}

fn files(folder: &tempfile::TempDir) -> usize {
    fs::read_dir(folder.path().join(FOLDER).join("components")).unwrap().count()
}

#[test]
fn what_is_put_in_is_found_by_digest_prefix_and_name_now_and_later() {
    let (folder, registry) = registry();
    let one = registry.put(b"one", entry("distance", Some("v1"), 1)).unwrap();
    let two = registry.put(b"two", Entry { why: "faster".into(), ..entry("distance", None, 2) }).unwrap();
    assert_eq!(one.as_str(), "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed");
    for registry in [registry, reopened(&folder).unwrap()] {
        assert_eq!(registry.get(&one).unwrap(), b"one");
        for text in ["v1", "7692c3", "sha256:7692C3AD", one.as_str()] {
            assert_eq!(registry.resolve("distance", text).unwrap(), one, "{text}");
        }
        assert_eq!(registry.resolve("distance", two.short()).unwrap(), two);
        let versions = registry.versions("distance");
        assert_eq!(versions.iter().map(|version| (version.size, version.when)).collect::<Vec<_>>(), [(3, 1), (3, 2)]);
        assert_eq!(versions[1].why, "faster");
        assert_eq!(registry.versions("other"), []);
        for (udf, text, message) in [
            ("distance", "v2", "UDF distance has no version `v2`; known: 3fc4ccfe7458, v1"),
            ("distance", "7692", "UDF distance has no version `7692`; known: 3fc4ccfe7458, v1"),
            ("distances", "v1", "UDF distances has no versions here; did you mean `distance`?"),
        ] {
            assert_eq!(registry.resolve(udf, text).unwrap_err().to_string(), message);
        }
    }
}

#[test]
fn the_same_bytes_are_in_once_and_a_name_means_one_digest() {
    let (folder, registry) = registry();
    let one = registry.put(b"one", entry("distance", None, 1)).unwrap();
    assert_eq!(registry.put(b"one", entry("distance", None, 2)).unwrap(), one);
    assert_eq!(registry.versions("distance").len(), 1);
    registry.put(b"one", entry("distance", Some("v1"), 3)).unwrap();
    registry.put(b"one", entry("distance", Some("v1"), 4)).unwrap();
    registry.put(b"one", entry("distance", None, 4)).unwrap();
    assert_eq!(registry.versions("distance").len(), 2, "once without a name, once with it");
    registry.put(b"one", entry("speed", Some("v1"), 5)).unwrap();
    registry.put(b"two", entry("speed", Some("v2"), 5)).unwrap();
    let taken = registry.put(b"two", entry("distance", Some("v1"), 6)).unwrap_err();
    assert!(taken.to_string().contains("has a version `v1` already, with digest 7692c3ad3540"), "{taken}");
    assert_eq!((files(&folder), registry.versions("distance").len()), (2, 2));
    for name in ["", "a b", "-x", "../x", "abcdef01", &"x".repeat(65)] {
        let error = registry.put(b"three", entry("distance", Some(name), 7)).unwrap_err();
        assert!(matches!(error, RegistryError::BadEntry(_)), "{name}: {error}");
    }
    let long = Entry { why: "x".repeat(MOST_TEXT + 1), ..entry("distance", None, 7) };
    assert!(matches!(registry.put(b"three", long), Err(RegistryError::BadEntry(_))));
    assert_eq!(files(&folder), 2, "what is refused leaves nothing");
}

#[test]
fn several_digests_of_one_beginning_are_told_apart() {
    let (_folder, registry) = registry();
    // Of 30,000 numbers two have a SHA-256 that begins alike in six digits.
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let (a, b) = (0_u32..)
        .find_map(|number| {
            let digest = Digest::of(&number.to_le_bytes());
            seen.insert(digest.as_str()[..6].to_owned(), number).map(|other| (other, number))
        })
        .unwrap();
    let a = registry.put(&a.to_le_bytes(), entry("distance", None, 1)).unwrap();
    registry.put(&b.to_le_bytes(), entry("distance", None, 1)).unwrap();
    let error = registry.resolve("distance", &a.as_str()[..6]).unwrap_err();
    assert!(error.to_string().contains("is the beginning of 2 digests of UDF distance: "), "{error}");
    assert_eq!(registry.resolve("distance", &a.as_str()[..20]).unwrap(), a);
}

#[test]
fn a_component_in_pieces_is_bounded_and_forgotten_where_it_is_dropped() {
    let (folder, registry) = registry();
    let mut incoming = registry.incoming().unwrap();
    incoming.write(b"o").unwrap();
    incoming.write(b"ne").unwrap();
    assert_eq!((incoming.bytes().unwrap(), incoming.digest()), (b"one".to_vec(), Digest::of(b"one")));
    assert_eq!(files(&folder), 1);
    drop(incoming);
    assert_eq!(files(&folder), 0);
    let mut incoming = registry.incoming().unwrap();
    let piece = vec![0; 64 << 20];
    for _ in 0..4 {
        incoming.write(&piece).unwrap();
    }
    assert_eq!(incoming.write(b"x"), Err(RegistryError::TooLarge { most: MOST_BYTES }));
}

#[test]
fn what_a_crash_leaves_is_removed() {
    let (folder, registry) = registry();
    let one = registry.put(b"one", entry("distance", Some("v1"), 1)).unwrap();
    std::mem::forget(registry.incoming().unwrap());
    let journal = folder.path().join(FOLDER).join(journal::NAME);
    let whole = fs::read(&journal).unwrap();
    registry.put(b"two", entry("distance", Some("v2"), 2)).unwrap();
    let more = fs::read(&journal).unwrap();
    drop(registry);
    for length in (whole.len()..more.len()).step_by(29).chain([more.len() - 1]) {
        fs::write(&journal, &more[..length]).unwrap();
        let registry = reopened(&folder).unwrap();
        assert_eq!(registry.versions("distance").len(), 1, "{length}");
        assert_eq!(fs::read(&journal).unwrap(), whole);
    }
    assert_eq!(files(&folder), 2, "no unfinished one; the second is there, and nobody knows it");
    let registry = reopened(&folder).unwrap();
    let two = registry.put(b"two", entry("distance", Some("v2"), 3)).unwrap();
    assert_eq!(fs::read(&journal).unwrap().len(), more.len(), "a line after a cut one is where it was");
    assert_eq!(registry.collect(&[one].into(), 4, 4).unwrap(), [two]);
    // A header that a crash left in part never counted.
    for length in [0, 1, 8, 40] {
        fs::write(&journal, &whole[..length]).unwrap();
        assert_eq!(reopened(&folder).unwrap().all_versions(), []);
    }
}

#[test]
fn damage_is_an_error_and_a_component_put_in_again_is_mended() {
    let (folder, registry) = registry();
    let one = registry.put(b"one", entry("distance", Some("v1"), 1)).unwrap();
    let path = folder.path().join(FOLDER).join("components").join(format!("{one}.wasm"));
    for damage in [&b"ones"[..], b"on", b""] {
        fs::write(&path, damage).unwrap();
        let error = registry.get(&one).unwrap_err().to_string();
        assert!(error.contains("is not what its name says: put the component in once more"), "{error}");
    }
    fs::remove_file(&path).unwrap();
    assert!(registry.get(&one).unwrap_err().to_string().contains("is missing"));
    registry.put(b"one", entry("distance", None, 2)).unwrap();
    assert_eq!(registry.get(&one).unwrap(), b"one");
    assert!(matches!(registry.get(&Digest::of(b"x")), Err(RegistryError::Unknown(_))));
    registry.put(b"two", entry("distance", Some("v2"), 2)).unwrap();
    let journal = folder.path().join(FOLDER).join(journal::NAME);
    let bytes = fs::read(&journal).unwrap();
    let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for at in [0, second, second + 20] {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        fs::write(&journal, &bytes).unwrap();
        let error = reopened(&folder).err().unwrap().to_string();
        assert!(error.contains("holds damaged data: line"), "{error}");
    }
}

#[test]
fn activations_are_kept_in_order_and_once() {
    let (folder, registry) = registry();
    let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
    let activation = |digest: &Digest, from: Option<&Digest>, epoch| Activation {
        udf: "distance".into(),
        digest: digest.clone(),
        from: from.cloned(),
        epoch,
        who: "ann".into(),
        when: 7,
        why: "faster".into(),
    };
    let all = [activation(&one, None, 3), activation(&two, Some(&one), 4), activation(&one, Some(&two), 9)];
    for activation in &all {
        registry.activated(activation.clone()).unwrap();
        registry.activated(activation.clone()).unwrap();
    }
    assert_eq!(registry.activations(), all);
    assert_eq!(reopened(&folder).unwrap().activations(), all);
}

#[test]
fn what_nothing_refers_to_is_collected_once_it_is_old() {
    let (folder, registry) = registry();
    let one = registry.put(b"one", entry("distance", Some("v1"), 10)).unwrap();
    let two = registry.put(b"two", entry("distance", Some("v2"), 20)).unwrap();
    let three = registry.put(b"three", entry("distance", Some("v3"), 30)).unwrap();
    assert_eq!(registry.collect(&BTreeSet::from([one.clone()]), 30, 40).unwrap(), std::slice::from_ref(&two));
    assert_eq!(registry.collect(&BTreeSet::from([one.clone()]), 30, 40).unwrap(), []);
    let mut again = reopened(&folder).unwrap();
    assert_eq!(again.versions("distance").iter().map(|known| &known.digest).collect::<Vec<_>>(), [&one, &three]);
    assert!(again.resolve("distance", "v2").is_err() && again.get(&two).is_err());
    // Its name stays its own, and put in again it is there.
    assert!(matches!(again.put(b"four", entry("distance", Some("v2"), 50)), Err(RegistryError::NameTaken { .. })));
    again.put(b"two", entry("distance", Some("v2"), 50)).unwrap();
    for _ in 0..2 {
        assert_eq!(again.resolve("distance", "v2").unwrap(), two);
        assert_eq!(again.versions("distance").len(), 3);
        again = reopened(&folder).unwrap();
    }
}

#[test]
fn many_put_in_at_once() {
    let (folder, registry) = registry();
    std::thread::scope(|scope| {
        for number in 0..8_u32 {
            let registry = registry.clone();
            scope.spawn(move || {
                let name = format!("v{number}");
                registry.put(&number.to_le_bytes(), entry("distance", Some(&name), 1)).unwrap();
                registry.put(b"all", entry("distance", Some("all"), 1)).unwrap();
            });
        }
    });
    assert_eq!((registry.versions("distance").len(), files(&folder)), (9, 9));
    assert_eq!(reopened(&folder).unwrap().versions("distance"), registry.versions("distance"));
}
