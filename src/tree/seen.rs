//! What was in this tree since the server started: every hash that a device may report of it.
//!
//! Kept as the first eight bytes of each hash, which is plenty to tell images apart, and small: a tree may hold 100,000.

use std::collections::{HashMap, HashSet};
use std::sync::{PoisonError, RwLock};
use std::time::Instant;

use crate::firmware::{Facts, Family, Md5, RunningImage, Sha256};

#[derive(Debug, Default)]
struct Hashes {
    reported: HashSet<u64>,
    /// Ids of images that came after the first scan, and when.
    came: HashMap<u64, Instant>,
}

/// The memory.
#[derive(Debug, Default)]
pub struct Seen {
    hashes: RwLock<Hashes>,
}

fn key(digest: &[u8]) -> u64 {
    digest
        .iter()
        .take(8)
        .fold(0, |key, byte| key << 8 | u64::from(*byte))
}

impl Seen {
    /// An image is in the tree. `is_new`: it was not there when the tree was read first.
    pub fn add(&self, facts: &Facts, is_new: bool) {
        let mut hashes = self.hashes.write().unwrap_or_else(PoisonError::into_inner);
        let id = key(facts.sha256.as_bytes());
        let of_sha256: &[Sha256] = match facts.family {
            // It reports an MD5 and nothing else.
            Family::Esp8266 => &[],
            Family::Esp32(_) | Family::Unknown => &facts.identities.sha256,
        };
        let md5 = facts.identities.md5.iter().map(|sum| key(sum.as_bytes()));
        let mut is_first = true;
        for key in md5.chain(of_sha256.iter().map(|sum| key(sum.as_bytes()))) {
            is_first &= hashes.reported.insert(key);
        }
        if is_new && is_first {
            hashes.came.insert(id, Instant::now());
        }
    }

    /// An image with this id came into the tree after this moment, and was not there before.
    #[must_use]
    pub fn came_after(&self, id: Sha256, moment: Instant) -> bool {
        let hashes = self.hashes.read().unwrap_or_else(PoisonError::into_inner);
        let came = hashes.came.get(&key(id.as_bytes()));
        came.is_some_and(|came| *came > moment)
    }

    /// A device that reports this runs, or ran, an image of this tree. `None` when it reports no hash.
    #[must_use]
    pub fn is_known(&self, running: &RunningImage) -> Option<bool> {
        let RunningImage::Hashed { md5, sha256 } = running else {
            return None;
        };
        let hashes = self.hashes.read().unwrap_or_else(PoisonError::into_inner);
        let md5 = md5.as_ref().map(Md5::as_bytes).map(|sum| key(sum));
        let sha256 = sha256.as_ref().map(Sha256::as_bytes).map(|sum| key(sum));
        let mut sums = [md5, sha256].into_iter().flatten();
        Some(sums.any(|key| hashes.reported.contains(&key)))
    }
}
