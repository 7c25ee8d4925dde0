//! The registry: versions of UDFs as components by their SHA-256, and who put them in and activated them, when and why.
//!
//! ```text
//! registry/
//!   components/DIGEST.wasm      a component; appears whole, never changes
//!   components/N.incoming       one on its way in; what a crash left is removed at the next start
//!   journal                     what was put in, activated, removed: `journal` has its bytes
//! ```
//! Always true: a component is on disk before the journal names it; its bytes are verified whenever they are read; a
//! name means one digest within its UDF for good; what the journal says is never changed. One process at a time has a
//! registry open: whoever holds the data folder.
//!
//! The calls that write wait for the disk: not for threads that serve requests.

mod digest;
mod error;
mod incoming;
mod journal;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use serde::{Deserialize, Serialize};

pub use digest::{Digest, NoDigest};
pub use error::RegistryError;
pub use incoming::Incoming;

use crate::suggest::suggestion;
use crate::time::Micros;
use digest::is_hex;
use journal::{Journal, Line};

/// The registry's folder within the data folder.
pub const FOLDER: &str = "registry";

/// The longest component.
pub const MOST_BYTES: u64 = 256 << 20;

/// The fewest digits that may stand for a digest.
const FEWEST_DIGITS: usize = 6;

/// The longest name, and the longest of the other texts, in bytes.
const MOST_NAME: usize = 64;
const MOST_TEXT: usize = 16 << 10;

/// What is said of a component that is put in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The UDF that it is meant for, as the project names it.
    pub udf: String,
    /// A name for this version; unique within the UDF.
    pub name: Option<String>,
    /// Who puts it in.
    pub who: String,
    /// When.
    pub when: Micros,
    /// Why.
    pub why: String,
    /// What it takes and gives, for people.
    pub signature: String,
    /// What it is allowed, for people.
    pub limits: String,
}

/// A version of a UDF.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its component's digest.
    pub digest: Digest,
    /// The UDF.
    pub udf: String,
    /// Its name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who put it in.
    pub who: String,
    /// When.
    pub when: Micros,
    /// Why.
    pub why: String,
    /// The component's length in bytes.
    pub size: u64,
    /// What it takes and gives, for people.
    pub signature: String,
    /// What it is allowed, for people.
    pub limits: String,
}

/// A version became the one that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// The UDF.
    pub udf: String,
    /// The version that runs from there on.
    pub digest: Digest,
    /// The one that ran before, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Digest>,
    /// The epoch at whose barrier it took over.
    pub epoch: u64,
    /// Who wanted it.
    pub who: String,
    /// When.
    pub when: Micros,
    /// Why.
    pub why: String,
}

/// A registry; clones are the same one.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    components: PathBuf,
    /// Held while something is written; before `known`.
    journal: Mutex<Journal>,
    known: RwLock<Known>,
    /// Numbers of the components on their way in.
    incoming: AtomicU64,
}

/// What the journal says.
#[derive(Default)]
struct Known {
    versions: Vec<Version>,
    activations: Vec<Activation>,
    /// The digests that were put in and not removed since, and when they were last put in.
    present: BTreeMap<Digest, Micros>,
}

impl Known {
    fn take(&mut self, line: Line) {
        match line {
            Line::Put(version) => {
                self.present.insert(version.digest.clone(), version.when);
                // Said again of what was removed, it is there once.
                self.versions.retain(|known| !is_same(known, &version));
                self.versions.push(version);
            }
            Line::Activated(activation) => self.activations.push(activation),
            Line::Removed { digest, .. } => {
                self.present.remove(&digest);
            }
        }
    }

    /// The versions of a UDF that are there, the oldest first.
    fn of<'a>(&'a self, udf: &'a str) -> impl Iterator<Item = &'a Version> {
        self.there().filter(move |version| version.udf == udf)
    }

    fn there(&self) -> impl Iterator<Item = &Version> {
        self.versions.iter().filter(|version| self.present.contains_key(&version.digest))
    }
}

fn is_same(one: &Version, other: &Version) -> bool {
    one.digest == other.digest && one.udf == other.udf && one.name == other.name
}

impl Registry {
    /// Opens the registry in `folder`, made where there is none. The caller holds the data folder.
    ///
    /// # Errors
    /// The folder cannot be used, or its journal is damaged.
    pub fn open(folder: &Path) -> Result<Self, RegistryError> {
        let unusable = |error: io::Error| RegistryError::unusable(folder, error);
        let components = folder.join("components");
        fs::create_dir_all(&components).map_err(unusable)?;
        for file in fs::read_dir(&components).map_err(unusable)? {
            let path = file.map_err(unusable)?.path();
            if path.extension().is_some_and(|extension| extension == incoming::UNFINISHED) {
                fs::remove_file(&path).map_err(unusable)?;
            }
        }
        let (journal, lines) = Journal::open(folder)?;
        if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(unusable)?;
        }
        let mut known = Known::default();
        lines.into_iter().for_each(|line| known.take(line));
        Ok(Self(Arc::new(Inner {
            folder: folder.to_owned(),
            components,
            journal: Mutex::new(journal),
            known: RwLock::new(known),
            incoming: AtomicU64::new(0),
        })))
    }

    /// Begins to take in a component that comes in pieces: [`Registry::keep`] puts it in.
    ///
    /// # Errors
    /// The disk fails.
    pub fn incoming(&self) -> Result<Incoming, RegistryError> {
        let number = self.0.incoming.fetch_add(1, Ordering::Relaxed);
        Incoming::begin(&self.0.folder, &self.0.components, number)
    }

    /// Puts a component in. The same bytes under the same UDF and name, or under no name, are in already: nothing happens.
    ///
    /// # Errors
    /// It is too long, its name is another's or is none, or the disk fails: nothing was put in.
    pub fn put(&self, bytes: &[u8], entry: Entry) -> Result<Digest, RegistryError> {
        let mut incoming = self.incoming()?;
        incoming.write(bytes)?;
        self.keep(incoming, entry)
    }

    /// Puts in what has come, as [`Registry::put`] does.
    ///
    /// # Errors
    /// Likewise.
    pub fn keep(&self, incoming: Incoming, entry: Entry) -> Result<Digest, RegistryError> {
        check(&entry)?;
        let (digest, size) = (incoming.digest(), incoming.size());
        // Nobody else puts anything in between the look at the names and the line in the journal.
        let mut journal = self.0.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let Entry { udf, name, who, when, why, signature, limits } = entry;
        let version = Version { digest: digest.clone(), udf, name, who, when, why, size, signature, limits };
        if let Some(name) = &version.name {
            self.name_is_free(&version.udf, name, &digest)?;
        }
        let path = self.path(&digest);
        // Under its digest a component is what it was, unless the disk has damaged it: then this one is better.
        if self.read(&digest).is_err() {
            incoming.keep(&path)?;
        }
        let known = self.known();
        let again = known
            .of(&version.udf)
            .any(|known| known.digest == digest && (version.name.is_none() || version.name == known.name));
        drop(known);
        if !again {
            self.append(&mut journal, Line::Put(version))?;
        }
        Ok(digest)
    }

    /// A component's bytes, verified.
    ///
    /// # Errors
    /// It is not here, or is damaged.
    pub fn get(&self, digest: &Digest) -> Result<Vec<u8>, RegistryError> {
        if !self.known().present.contains_key(digest) {
            return Err(RegistryError::Unknown(format!("the registry holds no component of digest {digest}")));
        }
        self.read(digest)
    }

    fn read(&self, digest: &Digest) -> Result<Vec<u8>, RegistryError> {
        let path = self.path(digest);
        let damaged = |cause: &str| {
            let cause = format!("{} {cause}: put the component in once more", path.display());
            RegistryError::damaged(&self.0.folder, cause)
        };
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes)) {
            Ok(_) if Digest::of(&bytes) == *digest => Ok(bytes),
            Ok(_) => Err(damaged("is not what its name says")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(damaged("is missing")),
            Err(error) => Err(RegistryError::unusable(&self.0.folder, error)),
        }
    }

    /// The version of a UDF that is meant: a name, a digest, or at least six digits of one that begin no other's.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub fn resolve(&self, udf: &str, text: &str) -> Result<Digest, RegistryError> {
        let known = self.known();
        if let Some(version) = known.of(udf).find(|version| version.name.as_deref() == Some(text)) {
            return Ok(version.digest.clone());
        }
        let digits = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
        if digits.len() >= FEWEST_DIGITS && is_hex(&digits) {
            let begin = |version: &&Version| version.digest.as_str().starts_with(&digits);
            let digests: BTreeSet<Digest> = known.of(udf).filter(begin).map(|version| version.digest.clone()).collect();
            let mut digests: Vec<Digest> = digests.into_iter().collect();
            match digests.len() {
                0 => {}
                1 => return digests.pop().ok_or_else(|| unknown(&known, udf, text)),
                _ => return Err(RegistryError::Ambiguous { udf: udf.into(), text: text.into(), digests }),
            }
        }
        Err(unknown(&known, udf, text))
    }

    /// The versions of a UDF that are here, the oldest first.
    pub fn versions(&self, udf: &str) -> Vec<Version> {
        self.known().of(udf).cloned().collect()
    }

    /// The versions of all UDFs that are here, the oldest first.
    pub fn all_versions(&self) -> Vec<Version> {
        self.known().there().cloned().collect()
    }

    /// Writes down that a version became the one that runs; said twice it is there once.
    ///
    /// # Errors
    /// Its texts are too long, or the disk fails.
    pub fn activated(&self, activation: Activation) -> Result<(), RegistryError> {
        check_texts([&activation.udf, &activation.who, &activation.why])?;
        let mut journal = self.0.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &Activation| {
            (&known.udf, &known.digest, known.epoch) == (&activation.udf, &activation.digest, activation.epoch)
        };
        if self.known().activations.iter().any(same) {
            return Ok(());
        }
        self.append(&mut journal, Line::Activated(activation))
    }

    /// What was activated, the oldest first.
    pub fn activations(&self) -> Vec<Activation> {
        self.known().activations.clone()
    }

    /// Removes the components that nothing refers to and that were last put in before `older_than`; `when` is the present.
    /// Their lines, and what was activated, stay in the journal.
    ///
    /// # Errors
    /// The disk fails.
    pub fn collect(
        &self,
        referenced: &BTreeSet<Digest>,
        older_than: Micros,
        when: Micros,
    ) -> Result<Vec<Digest>, RegistryError> {
        let unusable = |error: io::Error| RegistryError::unusable(&self.0.folder, error);
        let mut journal = self.0.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let mut removed = Vec::new();
        for file in fs::read_dir(&self.0.components).map_err(unusable)? {
            let path = file.map_err(unusable)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".wasm"));
            let Some(digest) = name.and_then(|name| Digest::parse(name).ok()) else { continue };
            // One that the journal does not name was on its way in when the process was killed.
            let put = self.known().present.get(&digest).copied();
            if referenced.contains(&digest) || put.is_some_and(|put| put >= older_than) {
                continue;
            }
            if put.is_some() {
                self.append(&mut journal, Line::Removed { digest: digest.clone(), when })?;
            }
            fs::remove_file(&path).map_err(unusable)?;
            removed.push(digest);
        }
        removed.sort();
        Ok(removed)
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.0.components.join(format!("{digest}.wasm"))
    }

    /// Writes a line, and knows it from then on.
    fn append(&self, journal: &mut Journal, line: Line) -> Result<(), RegistryError> {
        journal.append(&line).map_err(|error| RegistryError::unusable(&self.0.folder, error))?;
        self.0.known.write().unwrap_or_else(PoisonError::into_inner).take(line);
        Ok(())
    }

    /// A name stays with its digest, even where that was removed.
    fn name_is_free(&self, udf: &str, name: &str, digest: &Digest) -> Result<(), RegistryError> {
        let known = self.known();
        let holder = known.versions.iter().find(|known| known.udf == udf && known.name.as_deref() == Some(name));
        match holder.filter(|holder| holder.digest != *digest) {
            None => Ok(()),
            Some(holder) => Err(RegistryError::NameTaken {
                udf: udf.to_owned(),
                name: name.to_owned(),
                digest: holder.digest.clone(),
            }),
        }
    }
}

fn unknown(known: &Known, udf: &str, text: &str) -> RegistryError {
    let versions: Vec<&Version> = known.of(udf).collect();
    RegistryError::Unknown(if versions.is_empty() {
        let udfs: BTreeSet<&str> = known.there().map(|version| version.udf.as_str()).collect();
        match udfs.is_empty() {
            true => format!("UDF {udf} has no versions here: upload one"),
            false => format!("UDF {udf} has no versions here{}", suggestion(udf, udfs)),
        }
    } else {
        let names = versions.iter().map(|version| version.name.as_deref().unwrap_or_else(|| version.digest.short()));
        let names: BTreeSet<&str> = names.collect();
        format!("UDF {udf} has no version `{text}`{}", suggestion(text, names))
    })
}

/// Whether an entry can be kept.
fn check(entry: &Entry) -> Result<(), RegistryError> {
    check_texts([&entry.udf, &entry.who, &entry.why, &entry.signature, &entry.limits])?;
    let Some(name) = &entry.name else { return Ok(()) };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let bad = |what: &str| Err(RegistryError::BadEntry(format!("a version's name {what}, such as `v2` or `2026-05`")));
    if name.is_empty() || name.len() > MOST_NAME {
        return bad(&format!("has 1 to {MOST_NAME} characters"));
    }
    if !name.bytes().all(is_plain) || !name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return bad("consists of letters, digits, `-`, `_` and `.`, and begins with a letter or digit");
    }
    if name.len() >= FEWEST_DIGITS && is_hex(name) {
        return bad("must not look like the beginning of a digest");
    }
    Ok(())
}

fn check_texts<const N: usize>(texts: [&String; N]) -> Result<(), RegistryError> {
    match texts.iter().find(|text| text.len() > MOST_TEXT) {
        None => Ok(()),
        Some(long) => {
            let message = format!("a text of {} bytes is too long: at most {MOST_TEXT} are kept", long.len());
            Err(RegistryError::BadEntry(message))
        }
    }
}
