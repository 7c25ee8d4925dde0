//! Compiled components on disk, so that a restart does not compile again what takes Python's guests ten seconds.
//!
//! A file a component and engine, `DIGEST-ENGINE.cwasm`, little-endian:
//! ```text
//!  0  magic "MRCWASM\0"
//!  8  format version, u32
//! 12  length of the code in bytes, u64
//! 20  SHA-256 of the code, 32 bytes
//! 52  the code, as wasmtime serialises it
//! ```
//! ENGINE is a hash of wasmtime's version, its settings and this machine's target, so an upgrade reads none of the old
//! files. A file appears whole (written beside, then renamed); one that is damaged is compiled anew and replaced.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use wasmtime::component::Component;
use xxhash_rust::xxh3::Xxh3;

const MAGIC: &[u8; 8] = b"MRCWASM\0";
const VERSION: u32 = 1;
const HEADER: usize = 52;

/// Distinguishes the files that this process is writing at the same time.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// The folder of compiled components.
pub(super) struct Cache {
    folder: PathBuf,
    engine: u64,
}

impl Cache {
    /// Opens `folder`, making it where it is not there. It becomes ours alone: nobody else may write what is run here as
    /// native code.
    ///
    /// # Errors
    /// The folder cannot be made, or belongs to someone else.
    pub(super) fn open(folder: PathBuf, engine: &wasmtime::Engine) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        }
        let mut hasher = Xxh3::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { folder, engine: hasher.finish() })
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}-{:016x}.cwasm", self.engine))
    }

    /// The compiled form of the component with `digest`, if it is here and whole.
    pub(super) fn load(&self, engine: &wasmtime::Engine, digest: &str) -> Option<Component> {
        let path = self.path(digest);
        let file = match fs::read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a compiled component cannot be read; compiling it anew");
                return None;
            }
        };
        let component = code(&file)
            .ok_or_else(|| "its checksum does not match".to_owned())
            .and_then(|code| deserialize(engine, code).map_err(|error| format!("{error:#}")));
        component
            .inspect_err(|reason| {
                tracing::warn!(path = %path.display(), reason, "a compiled component is damaged; compiling it anew");
            })
            .ok()
    }

    /// Keeps the compiled form of a component.
    ///
    /// # Errors
    /// The file cannot be written; nothing is lost but time at the next start.
    pub(super) fn store(&self, digest: &str, component: &Component) -> io::Result<()> {
        let code = component.serialize().map_err(io::Error::other)?;
        let path = self.path(digest);
        let beside = path.with_extension(format!("{}-{}", std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed)));
        let written = write(&beside, &code).and_then(|()| fs::rename(&beside, &path));
        if written.is_err() {
            // The error that is returned says more than the one of this clearing up.
            fs::remove_file(&beside).ok();
        }
        written
    }
}

fn write(path: &Path, code: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create_new(path)?;
    file.write_all(MAGIC)?;
    file.write_all(&VERSION.to_le_bytes())?;
    file.write_all(&(code.len() as u64).to_le_bytes())?;
    file.write_all(&Sha256::digest(code))?;
    file.write_all(code)?;
    file.sync_all()
}

/// The code in a file whose header and checksum are right.
fn code(file: &[u8]) -> Option<&[u8]> {
    let (header, code) = file.split_at_checked(HEADER)?;
    let (magic, rest) = header.split_at_checked(MAGIC.len())?;
    let (version, rest) = rest.split_first_chunk()?;
    let (length, checksum) = rest.split_first_chunk()?;
    let right = magic == MAGIC
        && u32::from_le_bytes(*version) == VERSION
        && u64::from_le_bytes(*length) == code.len() as u64
        && Sha256::digest(code).as_slice() == checksum;
    right.then_some(code)
}

#[expect(unsafe_code, reason = "native code is read back only here, under the invariant below")]
fn deserialize(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` must be what wasmtime serialised. It comes from a folder that `Cache::open` made writable for this
    // user alone, in a file with our magic and version whose SHA-256 matches, and only `Cache::store` writes such
    // files. wasmtime itself refuses code of another version or with other settings.
    unsafe { Component::deserialize(engine, code) }
}
