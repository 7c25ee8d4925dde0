//! The keys that a shard knows, numbered densely, so that panes hold numbers and not keys.
//!
//! A slot lives while something refers to it: each pane that holds the key counts one. A slot that nothing refers to is
//! given to the next new key, so memory follows the keys that live and not those that ever were.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::time::Micros;

/// What is kept for each key.
#[derive(Clone, Debug)]
struct Slot {
    hash: u64,
    key: Box<[u8]>,
    references: u32,
    newest: Micros,
}

/// Keys by number and numbers by key.
#[derive(Debug, Default)]
pub(in crate::engine) struct KeyIndex {
    table: HashTable<u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// What the keys take on the heap.
    heap: usize,
}

impl KeyIndex {
    /// How many keys are known.
    pub(in crate::engine) fn len(&self) -> usize {
        self.table.len()
    }

    /// About how many bytes it holds.
    pub(in crate::engine) fn weight(&self) -> usize {
        // A place of the table is a slot's number and a byte of its hash.
        self.slots.capacity() * size_of::<Slot>() + self.table.capacity() * 5 + self.free.capacity() * 4 + self.heap
    }

    /// The slot of a key, made if it is new; a new one has no reference yet. `hash` is the key's, always the same.
    pub(in crate::engine) fn slot(&mut self, hash: u64, key: &[u8]) -> u32 {
        let slots = &mut self.slots;
        let same = |slot: &u32| slots.get(*slot as usize).is_some_and(|s| s.hash == hash && *s.key == *key);
        let rehash = |slot: &u32| slots.get(*slot as usize).map_or(0, |s| s.hash);
        match self.table.entry(hash, same, rehash) {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(vacant) => {
                self.heap += allocated(key.len());
                let fresh = Slot { hash, key: key.into(), references: 0, newest: Micros::MIN };
                let number = match self.free.pop() {
                    Some(number) => {
                        if let Some(slot) = slots.get_mut(number as usize) {
                            *slot = fresh;
                        }
                        number
                    }
                    None => {
                        slots.push(fresh);
                        u32::try_from(slots.len() - 1).expect("a shard holds fewer than 2^32 keys")
                    }
                };
                vacant.insert(number);
                number
            }
        }
    }

    /// The slot of a key that is known.
    pub(in crate::engine) fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let same = |slot: &u32| self.slots.get(*slot as usize).is_some_and(|s| s.hash == hash && *s.key == *key);
        self.table.find(hash, same).copied()
    }

    /// The slots that are in use.
    pub(in crate::engine) fn slots(&self) -> impl Iterator<Item = u32> {
        self.table.iter().copied()
    }

    /// Whether something refers to the slot.
    pub(in crate::engine) fn is_held(&self, slot: u32) -> bool {
        self.slots.get(slot as usize).is_some_and(|slot| slot.references > 0)
    }

    /// The time of the key's newest event.
    pub(in crate::engine) fn newest(&self, slot: u32) -> Micros {
        self.slots.get(slot as usize).map_or(Micros::MIN, |slot| slot.newest)
    }

    /// The bytes of a key; empty for a slot that is not in use.
    pub(in crate::engine) fn key(&self, slot: u32) -> &[u8] {
        self.slots.get(slot as usize).map_or(&[], |slot| &slot.key)
    }

    /// Notes an event of the key, and returns the time of its newest.
    pub(in crate::engine) fn observe(&mut self, slot: u32, time: Micros) -> Micros {
        self.slots.get_mut(slot as usize).map_or(time, |slot| {
            slot.newest = slot.newest.max(time);
            slot.newest
        })
    }

    /// One more pane holds the key.
    pub(in crate::engine) fn retain(&mut self, slot: u32) {
        if let Some(slot) = self.slots.get_mut(slot as usize) {
            slot.references += 1;
        }
    }

    /// One pane fewer holds the key; with the last of them the slot becomes free, and the key is given back.
    pub(in crate::engine) fn release(&mut self, number: u32) -> Option<Box<[u8]>> {
        let slot = self.slots.get_mut(number as usize)?;
        slot.references = slot.references.saturating_sub(1);
        if slot.references > 0 {
            return None;
        }
        let hash = slot.hash;
        let key = std::mem::take(&mut slot.key);
        if let Ok(found) = self.table.find_entry(hash, |other| *other == number) {
            found.remove();
            self.free.push(number);
            self.heap = self.heap.saturating_sub(allocated(key.len()));
        }
        Some(key)
    }
}

/// About what a value of that length takes on the heap.
pub(in crate::engine) fn allocated(length: usize) -> usize {
    length.next_multiple_of(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_live_as_long_as_panes_hold_them() {
        let mut keys = KeyIndex::default();
        // One hash for all: what differs is the key.
        let a = keys.slot(1, b"a");
        let b = keys.slot(1, b"b");
        assert_ne!(a, b);
        keys.retain(a);
        keys.retain(a);
        keys.retain(b);
        keys.release(a);
        assert_eq!(keys.slot(1, b"a"), a);
        keys.release(a);
        assert_eq!(keys.len(), 1);
        let c = keys.slot(1, b"c");
        assert_eq!(c, a, "the free slot is used again");
        assert_eq!((keys.key(b), keys.key(c)), (&b"b"[..], &b"c"[..]));
        assert_eq!(keys.heap, 32);
    }
}
