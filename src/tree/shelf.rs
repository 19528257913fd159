//! A map from folder names that is cheap to copy after a small change.
//!
//! The catalogue is a picture that is replaced, never edited under a reader. A project may hold 100,000 node folders, and
//! one changed file must not copy them all: the names are spread over shards of about 64, and a copy shares all
//! shards but the one that changed.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::Arc;

/// Names per shard above which the shards are doubled.
const FULL: usize = 96;

type Names = BuildHasherDefault<NameHasher>;
type Shard<T> = HashMap<Arc<str>, T, Names>;

/// A hash of names that costs a few nanoseconds. Names come from the disk only, so nobody from outside can choose them
/// to collide; the network merely asks for them.
#[derive(Debug, Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = (self.0.rotate_left(23) ^ u64::from_le_bytes(word)).wrapping_mul(SPREAD);
        }
    }

    fn finish(&self) -> u64 {
        // Multiplication moves what is known upwards only; this brings it down.
        let folded = (self.0 ^ (self.0 >> 32)).wrapping_mul(SPREAD);
        folded ^ (folded >> 29)
    }
}

/// An odd number without a pattern: 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// The map. Iteration has no order.
#[derive(Debug, Clone)]
pub struct Shelf<T> {
    /// Empty, or a power of two.
    shards: Vec<Arc<Shard<T>>>,
    length: usize,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self {
            shards: Vec::new(),
            length: 0,
        }
    }
}

impl<T: Clone> Shelf<T> {
    /// Number of names.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// No name at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn place(&self, name: &str) -> usize {
        let hash = Names::default().hash_one(name);
        // The map inside uses the low and the highest bits; these are neither.
        usize::try_from(hash >> 32 & 0xFF_FFFF).unwrap_or_default() & (self.shards.len() - 1)
    }

    /// The entry under this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&T> {
        if self.shards.is_empty() {
            return None;
        }
        self.shards[self.place(name)].get(name)
    }

    /// The entry under this name for a change; shares nothing with older copies afterwards.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut T> {
        self.get(name)?;
        let place = self.place(name);
        Arc::make_mut(&mut self.shards[place]).get_mut(name)
    }

    /// The entry under this name, made if it is not there.
    pub fn entry(&mut self, name: &str, make: impl FnOnce() -> T) -> &mut T {
        if self.get(name).is_none() {
            if self.length >= self.shards.len() * FULL {
                self.grow();
            }
            self.length += 1;
        }
        let place = self.place(name);
        let shard = Arc::make_mut(&mut self.shards[place]);
        if !shard.contains_key(name) {
            shard.insert(name.into(), make());
        }
        shard.get_mut(name).expect("it was inserted above")
    }

    /// Takes an entry out.
    pub fn remove(&mut self, name: &str) -> Option<T> {
        self.get(name)?;
        self.length -= 1;
        let place = self.place(name);
        Arc::make_mut(&mut self.shards[place]).remove(name)
    }

    /// All names with their entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &T)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    fn grow(&mut self) {
        let shards = (self.shards.len() * 2).max(1);
        let old = std::mem::take(&mut self.shards);
        let mut new: Vec<Shard<T>> = (0..shards).map(|_| Shard::default()).collect();
        self.shards = (0..shards).map(|_| Arc::new(Shard::default())).collect();
        for shard in old {
            for (name, value) in shard.iter() {
                new[self.place(name)].insert(name.clone(), value.clone());
            }
        }
        self.shards = new.into_iter().map(Arc::new).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_copy_does_not_see_later_changes() {
        let mut shelf = Shelf::default();
        for n in 0..1000 {
            *shelf.entry(&format!("n{n}"), || 0) = n;
        }
        let before = shelf.clone();
        *shelf.get_mut("n7").unwrap() = -1;
        shelf.remove("n8");
        assert_eq!(
            (before.get("n7"), before.get("n8"), before.len()),
            (Some(&7), Some(&8), 1000)
        );
        assert_eq!(
            (shelf.get("n7"), shelf.get("n8"), shelf.len()),
            (Some(&-1), None, 999)
        );
    }

    #[test]
    fn a_change_copies_one_shard_of_many() {
        let mut shelf = Shelf::default();
        for n in 0..10_000 {
            shelf.entry(&format!("n{n}"), || n);
        }
        let before = shelf.clone();
        *shelf.get_mut("n77").unwrap() = 0;
        let copied = before
            .shards
            .iter()
            .zip(&shelf.shards)
            .filter(|(a, b)| !Arc::ptr_eq(a, b))
            .count();
        assert_eq!(copied, 1);
        assert!(shelf.shards.len() >= 64);
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in proptest::collection::vec((0u8..3, 0u16..400), 0..1200)) {
            let (mut shelf, mut model) = (Shelf::default(), BTreeMap::new());
            for (step, n) in steps {
                let name = format!("node{n}");
                match step {
                    0 | 1 => {
                        *shelf.entry(&name, || 0) += 1;
                        *model.entry(name).or_insert(0) += 1;
                    }
                    _ => prop_assert_eq!(shelf.remove(&name), model.remove(&name)),
                }
            }
            prop_assert_eq!(shelf.len(), model.len());
            let all: BTreeMap<String, i32> = shelf.iter().map(|(name, n)| (name.to_string(), *n)).collect();
            prop_assert_eq!(all, model);
        }
    }
}
