//! Every hash of one file, in one pass over memory: a chunk stays in the cache while all hashers eat it.

use sha2::Digest;

use super::super::{Md5, Sha256};

const CHUNK: usize = 64 * 1024;

/// Offset of the flash mode in an image's header, which the ESP8266's updater rewrites.
const MODE: usize = 2;

/// Both sums of the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub md5: Md5,
    pub sha256: Sha256,
}

/// The sums of a file and of its beginnings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sums {
    /// Of the whole file.
    pub file: Pair,
    /// Of the file up to each cut, in the order asked for.
    pub cuts: Vec<Pair>,
    /// MD5 up to the end of the image, as it is and with the other flash modes 0 to 3; empty unless asked for.
    pub modes: Vec<Md5>,
}

#[derive(Clone, Default)]
struct Hashers {
    md5: md5::Md5,
    sha256: sha2::Sha256,
}

impl Hashers {
    fn finish(self) -> Pair {
        Pair {
            md5: Md5::from_bytes(self.md5.finalize().into()),
            sha256: Sha256::from_bytes(self.sha256.finalize().into()),
        }
    }
}

impl Sums {
    /// Sums of `bytes` and of its beginnings up to each of `cuts`, which ascend and lie inside.
    pub(super) fn of(bytes: &[u8], cuts: &[usize]) -> Self {
        Self::compute(bytes, cuts, None)
    }

    /// The same for an ESP8266 image that ends at `end`: also the MD5 sums that it has with another flash mode.
    pub(super) fn of_esp8266(bytes: &[u8], end: usize) -> Self {
        Self::compute(bytes, &[end], Some(end))
    }

    fn compute(bytes: &[u8], cuts: &[usize], image_end: Option<usize>) -> Self {
        let mut whole = Hashers::default();
        let mut at_cuts = Vec::with_capacity(cuts.len());
        let mut patched = image_end.map_or_else(Vec::new, |_| patched_beginnings(bytes));
        let mut at = 0;
        let mut cuts = cuts.iter().copied().peekable();
        loop {
            while cuts.next_if_eq(&at).is_some() {
                at_cuts.push(whole.clone().finish());
            }
            if at >= bytes.len() {
                break;
            }
            let stop = cuts.peek().copied().unwrap_or(bytes.len());
            let chunk = &bytes[at..stop.min(at + CHUNK).min(bytes.len())];
            whole.md5.update(chunk);
            whole.sha256.update(chunk);
            if image_end.is_some_and(|end| at < end) {
                // The first chunk of each variant begins with the header that is already in it.
                let rest = &chunk[(MODE + 1).saturating_sub(at).min(chunk.len())..];
                for hasher in &mut patched {
                    hasher.update(rest);
                }
            }
            at += chunk.len();
        }
        let modes = image_end.map_or_else(Vec::new, |_| {
            let unpatched = at_cuts.first().map(|pair: &Pair| pair.md5);
            let patched = patched
                .into_iter()
                .map(|hasher| Md5::from_bytes(hasher.finalize().into()));
            unpatched.into_iter().chain(patched).collect()
        });
        Self {
            file: whole.finish(),
            cuts: at_cuts,
            modes,
        }
    }
}

/// Hashers that have eaten the header up to the flash mode, one for each mode that the file does not have.
fn patched_beginnings(bytes: &[u8]) -> Vec<md5::Md5> {
    let Some(&[first, second, own]) = bytes.first_chunk() else {
        return Vec::new();
    };
    (0..=3)
        .filter(|&mode| mode != own)
        .map(|mode| md5::Md5::new_with_prefix([first, second, mode]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair(bytes: &[u8]) -> Pair {
        Pair {
            md5: Md5::of(bytes),
            sha256: Sha256::of(bytes),
        }
    }

    #[test]
    fn sums_of_beginnings_are_those_of_the_cut_file() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let cuts = [0, 5, CHUNK, CHUNK + 1, 3 * CHUNK, bytes.len()];
        let sums = Sums::of(&bytes, &cuts);
        assert_eq!(sums.file, pair(&bytes));
        assert_eq!(sums.cuts, cuts.map(|cut| pair(&bytes[..cut])));
    }

    proptest! {
        #[test]
        fn each_flash_mode_has_one_sum(
            bytes in prop::collection::vec(any::<u8>(), 3..100),
            mode in 0..6_u8,
            end in 3_usize..100,
        ) {
            let mut bytes = bytes;
            bytes[2] = mode;
            let end = end.min(bytes.len());
            let sums = Sums::of_esp8266(&bytes, end);
            prop_assert_eq!(sums.modes.len(), if mode < 4 { 4 } else { 5 });
            prop_assert_eq!(sums.modes[0], Md5::of(&bytes[..end]));
            for mode in 0..=3 {
                let mut patched = bytes.clone();
                patched[2] = mode;
                prop_assert!(sums.modes.contains(&Md5::of(&patched[..end])));
            }
        }
    }
}
