//! Whose state it is: a file beside the database, read before anything else is opened, so that what is refused is not
//! touched.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::path::Path;

use super::format::{self, Header};
use crate::engine::key::KEY_GROUPS;
use crate::store::StoreError;

/// Makes sure that the folder is this project's, before anything in it is opened; a new one becomes it. Returns the
/// state's id.
pub(super) fn check(folder: &Path, project: &str) -> Result<u64, StoreError> {
    if let Some(id) = read(folder, project)? {
        return Ok(id);
    }
    // The keys of a new hasher are the system's random numbers.
    let id = RandomState::new().hash_one(project);
    let header = Header { project: project.to_owned(), key_groups: KEY_GROUPS, id };
    write(folder, &format::encode_header(&header).unwrap_or_default()).map_err(|error| StoreError::Refused {
        store: format!("the state in {}", folder.display()),
        cause: format!("its header: {error}"),
    })?;
    Ok(id)
}

/// The id of the state in the folder, which is this project's; none where there is no state yet. Nothing is touched.
pub(super) fn read(folder: &Path, project: &str) -> Result<Option<u64>, StoreError> {
    let store = format!("the state in {}", folder.display());
    let refused = |cause: String| StoreError::Refused { store: store.clone(), cause };
    let failed = |error: std::io::Error| refused(format!("its header: {error}"));
    let path = folder.join("header");
    match std::fs::read(&path) {
        Ok(header) => {
            let header = format::decode_header(&header).map_err(|error| {
                let cause = format!("its header: {error}; if a newer Millrace wrote it, use that one");
                StoreError::Damaged { store: store.clone(), cause }
            })?;
            let Header { project: owner, key_groups, id } = header;
            if owner != project {
                return Err(refused(format!("it is project {owner}'s, not {project}'s: name another data-dir")));
            }
            if key_groups != KEY_GROUPS {
                let cause = format!("its keys are in {key_groups} groups, where this Millrace has {KEY_GROUPS}");
                return Err(refused(cause));
            }
            Ok(Some(id))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if folder.join("db").exists() {
                let cause = "it has no header, so whose it is cannot be told: restore the file, or delete the folder";
                return Err(refused(cause.into()));
            }
            Ok(None)
        }
        Err(error) => Err(failed(error)),
    }
}

/// The folder's own name is synced when the database in it is opened.
fn write(folder: &Path, header: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let draft = folder.join("header.new");
    let mut file = File::create(&draft)?;
    file.write_all(header)?;
    file.sync_all()?;
    std::fs::rename(&draft, folder.join("header"))?;
    File::open(folder)?.sync_all()
}
