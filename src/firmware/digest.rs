//! Digests: bytes that print and parse as hex, never strings.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is not the hex form of a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found} characters, {expected} hex digits expected")]
pub struct ParseDigestError {
    expected: usize,
    found: usize,
}

fn from_hex<const N: usize>(text: &[u8]) -> Result<[u8; N], ParseDigestError> {
    let wrong = || ParseDigestError {
        expected: 2 * N,
        found: text.len(),
    };
    if text.len() != 2 * N {
        return Err(wrong());
    }
    let nibble = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        b'A'..=b'F' => Some(c - b'A' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let (Some(high), Some(low)) = (nibble(pair[0]), nibble(pair[1])) else {
            return Err(wrong());
        };
        *byte = high << 4 | low;
    }
    Ok(bytes)
}

fn to_hex(bytes: &[u8], out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $hasher:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// The digest of `bytes`.
            #[must_use]
            pub fn of(bytes: &[u8]) -> Self {
                Self(<$hasher as sha2::Digest>::digest(bytes).into())
            }

            /// The digest of several pieces, as if they were one.
            #[must_use]
            pub fn of_pieces(pieces: &[&[u8]]) -> Self {
                let mut hasher = <$hasher as sha2::Digest>::new();
                for piece in pieces {
                    sha2::Digest::update(&mut hasher, piece);
                }
                Self(sha2::Digest::finalize(hasher).into())
            }

            /// From its raw bytes, as they stand in an image.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// Reads hex digits of either case, as they stand in a header.
            ///
            /// # Errors
            /// When the text has another length or a character that is no hex digit.
            pub fn parse(text: &[u8]) -> Result<Self, ParseDigestError> {
                from_hex(text).map(Self)
            }

            /// The raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// Lower-case hex digits in ASCII, without an allocation.
            #[must_use]
            pub fn hex(&self) -> [u8; 2 * $bytes] {
                let mut out = [0; 2 * $bytes];
                to_hex(&self.0, &mut out);
                out
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(std::str::from_utf8(&self.hex()).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(text: &str) -> Result<Self, ParseDigestError> {
                Self::parse(text.as_bytes())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

digest!(
    /// An MD5 sum: what Arduino updaters report of their flash and check of a download.
    Md5, 16, md5::Md5
);
digest!(
    /// A SHA-256 sum. That of the whole file is the id of an image.
    Sha256, 32, sha2::Sha256
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn digests_are_those_of_the_standard_tools() {
        assert_eq!(
            Md5::of(b"abc").to_string(),
            "900150983cd24fb0d6963f7d28e17f72"
        );
        assert_eq!(
            Sha256::of(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(Md5::of_pieces(&[b"a", b"", b"bc"]), Md5::of(b"abc"));
    }

    #[test]
    fn a_digest_of_another_length_is_refused() {
        for text in ["", "00", &"0".repeat(31), &"0".repeat(33), &"g".repeat(32)] {
            assert!(text.parse::<Md5>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn hex_of_either_case_reads_back(bytes: [u8; 32]) {
            let digest = Sha256::from_bytes(bytes);
            let text = digest.to_string();
            prop_assert_eq!(text.parse::<Sha256>().unwrap(), digest);
            prop_assert_eq!(text.to_uppercase().parse::<Sha256>().unwrap(), digest);
        }
    }
}
