//! What was in this tree since the server started: every hash that a device may report of it, and since when.
//!
//! Kept as the first eight bytes of each hash, which is plenty to tell images apart.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Instant;

use crate::firmware::{Facts, Md5, RunningImage, Sha256};

/// The memory.
#[derive(Debug, Default)]
pub struct Seen {
    since: RwLock<HashMap<u64, Instant>>,
}

fn key(digest: &[u8]) -> u64 {
    digest
        .iter()
        .take(8)
        .fold(0, |key, byte| key << 8 | u64::from(*byte))
}

impl Seen {
    /// An image is in the tree. What was seen before keeps its time.
    pub fn add(&self, facts: &Facts) {
        let now = Instant::now();
        let mut since = self.since.write().unwrap_or_else(PoisonError::into_inner);
        let of_md5 = facts.identities.md5.iter().map(|sum| key(sum.as_bytes()));
        let of_sha256 = facts.identities.sha256.iter();
        let of_sha256 = of_sha256
            .chain([&facts.sha256])
            .map(|sum| key(sum.as_bytes()));
        for key in of_md5.chain(of_sha256) {
            since.entry(key).or_insert(now);
        }
    }

    /// Since when an image with this id has been known; `None` when it never was in the tree.
    #[must_use]
    pub fn since(&self, id: Sha256) -> Option<Instant> {
        let since = self.since.read().unwrap_or_else(PoisonError::into_inner);
        since.get(&key(id.as_bytes())).copied()
    }

    /// A device that reports this runs, or ran, an image of this tree. `None` when it reports no hash.
    #[must_use]
    pub fn is_known(&self, running: &RunningImage) -> Option<bool> {
        let RunningImage::Hashed { md5, sha256 } = running else {
            return None;
        };
        let since = self.since.read().unwrap_or_else(PoisonError::into_inner);
        let md5 = md5.as_ref().map(Md5::as_bytes).map(|sum| key(sum));
        let sha256 = sha256.as_ref().map(Sha256::as_bytes).map(|sum| key(sum));
        let mut sums = [md5, sha256].into_iter().flatten();
        Some(sums.any(|key| since.contains_key(&key)))
    }
}
