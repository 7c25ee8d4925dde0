//! Places for chunks, made before they are filled, so that sled writes a chunk once and not five times.
//!
//! ```text
//!   keys of a stage ──▶  filled · filled · filled │ empty · empty · … · empty      AHEAD of them
//!                        written as they are      └ here leaves split
//! ```
//! Sled writes a leaf of more than sixteen values anew as two, and a leaf that has changed ten times anew as one, with
//! all that is in it; so chunks inserted one behind the other are written three times, and those of them that are
//! left twice more as their neighbours are removed. Where a chunk's key is there before the chunk, with nothing in it,
//! leaves split while they are empty; and with an empty piece beside each key no leaf has more than five chunks, whose
//! coming and going is ten changes. 13 MB of chunks, written and removed: 73 MB in sled's log without places, 15 MB with.
//!
//! Not further ahead, and not all at once: sled writes anew what lies in a segment of its log that is half dead, and a
//! leaf as a whole where its first words lie in one. So those are to be where its chunks will be.
//!
//! Always true: a place that is not filled means nothing; it goes with its stage's chunks.

use crate::store::StoreError;
use crate::store::disk::Disk;

/// How many chunks' places are there beyond the one that is filled: more than a leaf's worth of keys, two a chunk.
const AHEAD: u32 = 10;

/// Fewer chunks than this are not worth it.
const FEW: usize = 4;

/// How far the places of a stage's chunks have been made.
#[derive(Debug, Default)]
pub(super) struct Places {
    next: u32,
}

impl Places {
    /// Sees to it that there are places for and behind chunk `number` of some `expected` that are to come at once, of
    /// those whose keys begin with `prefix`.
    pub(super) fn make(
        &mut self,
        disk: &Disk,
        tree: &sled::Tree,
        prefix: &[u8],
        number: u32,
        expected: usize,
    ) -> Result<(), StoreError> {
        if expected < FEW {
            return Ok(());
        }
        self.next = self.next.max(number);
        while self.next < number.saturating_add(AHEAD) {
            disk.place(tree, &[prefix, &self.next.to_be_bytes()].concat())?;
            self.next += 1;
        }
        Ok(())
    }
}

/// Removes what is under keys that begin with `prefix`, chunks before what lies beside them; `removed` hears of each.
pub(super) fn remove(
    disk: &Disk,
    tree: &sled::Tree,
    prefix: &[u8],
    mut removed: impl FnMut(),
) -> Result<(), StoreError> {
    let mut beside = Vec::new();
    for name in tree.scan_prefix(prefix).keys() {
        let name = name.map_err(|error| disk.error(error))?;
        if Disk::is_beside(&name) {
            beside.push(name);
            continue;
        }
        tree.remove(name).map_err(|error| disk.error(error))?;
        removed();
    }
    for name in beside {
        tree.remove(name).map_err(|error| disk.error(error))?;
        removed();
    }
    Ok(())
}
