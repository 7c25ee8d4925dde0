//! Which slice a key belongs to: the low bits of its hash, above those that make its key group.
//!
//! Extendible hashing (Fagin et al., 1979): a slice is named by as many bits as it needs, so that one of them is cut in
//! two without touching the others.

use crate::engine::key::KEY_GROUPS;

/// No slice is named by more bits.
pub(super) const MOST_BITS: u32 = 16;

/// The slices of a hash's low bits.
#[derive(Debug)]
pub(super) struct Directory {
    bits: u32,
    /// By the low bits.
    slices: Vec<u32>,
    /// Of each slice how many bits name it, and which.
    names: Vec<(u32, u32)>,
}

impl Directory {
    /// `2^bits` slices, alike.
    pub(super) fn new(bits: u32) -> Self {
        let slices: Vec<u32> = (0..1 << bits.min(MOST_BITS)).collect();
        Self {
            bits: bits.min(MOST_BITS),
            names: slices.iter().map(|name| (bits.min(MOST_BITS), *name)).collect(),
            slices,
        }
    }

    /// How many slices there are.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// The slice of a key with this hash.
    pub(super) fn slice(&self, hash: u64) -> usize {
        let bits = hash / u64::from(KEY_GROUPS) % (1 << self.bits);
        usize::try_from(bits).ok().and_then(|bits| self.slices.get(bits)).map_or(0, |slice| *slice as usize)
    }

    /// Cuts a slice in two: itself, and one more, whose number is the last; false where it is as small as it gets.
    pub(super) fn split(&mut self, slice: usize) -> bool {
        let more = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        let Some((bits, name)) = self.names.get_mut(slice) else { return false };
        if *bits == MOST_BITS {
            return false;
        }
        let (known, other) = (*bits, *name | 1 << *bits);
        *bits += 1;
        self.names.push((known + 1, other));
        if known == self.bits {
            self.slices.extend_from_within(..);
            self.bits += 1;
        }
        for (at, slice) in (0_u32..).zip(&mut self.slices) {
            if at % (1 << (known + 1)) == other {
                *slice = more;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_cut_in_two_and_the_others_stay() {
        let mut directory = Directory::new(1);
        let hashes: Vec<u64> = (0..4_096_u64).map(|at| at.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
        let slices =
            |directory: &Directory| -> Vec<usize> { hashes.iter().map(|hash| directory.slice(*hash)).collect() };
        for cut in [1, 1, 0, 3] {
            let before = slices(&directory);
            assert!(directory.split(cut));
            let more = directory.len() - 1;
            for (before, now) in before.into_iter().zip(slices(&directory)) {
                assert!(now == before || (before == cut && now == more), "{before} became {now}");
            }
            let of = |slice: usize| slices(&directory).into_iter().filter(|own| *own == slice).count();
            assert!(of(cut).abs_diff(of(more)) < of(cut) / 2, "about half each: {} and {}", of(cut), of(more));
        }
        assert_eq!(directory.len(), 6);
        let mut smallest = Directory::new(MOST_BITS);
        assert!(!smallest.split(0));
    }
}
