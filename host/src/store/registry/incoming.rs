//! A component on its way in: a file beside the others that nobody knows until it is whole.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{Digest, MOST_BYTES, RegistryError};

/// How the names of unfinished files end: what a crash left of them is removed at the next start.
pub(super) const UNFINISHED: &str = "incoming";

/// A component that comes in pieces; forgotten where it is dropped before it is put in.
#[derive(Debug)]
pub struct Incoming {
    /// The registry's folder, for messages.
    folder: PathBuf,
    path: PathBuf,
    file: File,
    hash: Sha256,
    size: u64,
    kept: bool,
}

impl Incoming {
    pub(super) fn begin(folder: &Path, components: &Path, number: u64) -> Result<Self, RegistryError> {
        let path = components.join(format!("{number}.{UNFINISHED}"));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(|error| RegistryError::unusable(folder, error))?;
        Ok(Self { folder: folder.to_owned(), path, file, hash: Sha256::new(), size: 0, kept: false })
    }

    /// Appends a piece.
    ///
    /// # Errors
    /// It is too much, or the disk fails.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), RegistryError> {
        self.size += piece.len() as u64;
        if self.size > MOST_BYTES {
            return Err(RegistryError::TooLarge { most: MOST_BYTES });
        }
        self.hash.update(piece);
        self.file.write_all(piece).map_err(|error| RegistryError::unusable(&self.folder, error))
    }

    /// How many bytes have come.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The file that it has come into so far.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What has come, read back.
    ///
    /// # Errors
    /// The disk fails.
    pub fn bytes(&self) -> Result<Vec<u8>, RegistryError> {
        fs::read(&self.path).map_err(|error| RegistryError::unusable(&self.folder, error))
    }

    /// The digest of what has come.
    pub fn digest(&self) -> Digest {
        Digest::of_hash(&self.hash.clone().finalize())
    }

    /// Gives it its name, once it is on disk.
    pub(super) fn keep(mut self, path: &Path) -> Result<(), RegistryError> {
        let kept = self.file.sync_all().and_then(|()| fs::rename(&self.path, path));
        kept.map_err(|error| RegistryError::unusable(&self.folder, error))?;
        self.kept = true;
        let synced = path.parent().map_or(Ok(()), |folder| File::open(folder).and_then(|folder| folder.sync_all()));
        synced.map_err(|error| RegistryError::unusable(&self.folder, error))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(%error, "an unfinished component stays until the next start");
        }
    }
}
