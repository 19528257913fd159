//! Signatures of dropped images, as minisign makes them. Pure: bytes, a signature's text and keys go in.

use std::fmt;

use minisign_verify::{PublicKey, Signature};
use serde::{Deserialize, Serialize};

use super::Sha256;

/// The public keys of an org. Any of them will do.
#[derive(Clone, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Keys {
    keys: Box<[PublicKey]>,
    print: Sha256,
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}

impl Eq for Keys {}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} of print {})", self.keys.len(), self.print)
    }
}

/// Why a text is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// One of them cannot be read.
    #[error(
        "{0:?} is no public key of minisign: give the second line of its .pub file, which begins with RW"
    )]
    Unreadable(String),
    /// Nobody could sign.
    #[error("public_keys is empty, so no image could be given: name a key, or leave the line out")]
    Empty,
}

impl TryFrom<Vec<String>> for Keys {
    type Error = KeysError;

    fn try_from(texts: Vec<String>) -> Result<Self, KeysError> {
        if texts.is_empty() {
            return Err(KeysError::Empty);
        }
        let parse = |text: &String| {
            PublicKey::from_base64(text.trim()).map_err(|_| KeysError::Unreadable(text.clone()))
        };
        Ok(Self {
            keys: texts.iter().map(parse).collect::<Result<_, _>>()?,
            print: Sha256::of(texts.join("\n").as_bytes()),
        })
    }
}

/// What came of a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Of which signature under which keys: a verdict says nothing about others.
    pub of: Sha256,
    /// Seconds since 1970, as the signer's clock said; 0 where the signature does not say. It is signed, too.
    pub signed_at: u64,
    /// Why it is not valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Box<str>>,
}

impl Keys {
    /// The name of a verdict about a signature under these keys.
    #[must_use]
    pub fn verdict_of(&self, signature: &str) -> Sha256 {
        Sha256::of_pieces(&[self.print.as_bytes(), signature.as_bytes()])
    }

    /// Judges the signature of a whole file.
    #[must_use]
    pub fn judge(&self, bytes: &[u8], signature: &str) -> Seal {
        let (signed_at, fault) = match self.verify(bytes, signature) {
            Ok(signed_at) => (signed_at, None),
            Err(fault) => (0, Some(fault.into())),
        };
        Seal {
            of: self.verdict_of(signature),
            signed_at,
            fault,
        }
    }

    fn verify(&self, bytes: &[u8], signature: &str) -> Result<u64, &'static str> {
        let signature = Signature::decode(signature).map_err(|_| "its .minisig is no signature")?;
        let mut fault = "its .minisig was made with a key that is not in public_keys";
        for key in &self.keys {
            match key.verify(bytes, &signature, true) {
                Ok(()) => return Ok(timestamp(signature.trusted_comment())),
                Err(minisign_verify::Error::UnexpectedKeyId) => {}
                Err(_) => fault = "its .minisig is not for these bytes, or was changed",
            }
        }
        Err(fault)
    }
}

/// `timestamp:` in the comment that minisign signs with the file.
fn timestamp(comment: &str) -> u64 {
    let mut words = comment.split_whitespace();
    let seconds = words.find_map(|word| word.strip_prefix("timestamp:"));
    seconds.and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    /// Of `test`, from the README of minisign-verify.
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1633700835\tfile:test\tprehashed\n\
        wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==";

    fn keys() -> Keys {
        Keys::try_from(vec![KEY.to_owned()]).unwrap()
    }

    #[test]
    fn a_signature_is_for_its_bytes_and_says_when_it_was_made() {
        let seal = keys().judge(b"test", SIGNATURE);
        assert_eq!((seal.fault, seal.signed_at), (None, 1_633_700_835));
        assert!(keys().judge(b"tesT", SIGNATURE).fault.is_some());
        let later = SIGNATURE.replace("1633700835", "1733700835");
        assert!(
            keys().judge(b"test", &later).fault.is_some(),
            "it is signed"
        );
    }

    #[test]
    fn what_is_no_key_is_said() {
        for text in ["", "RWQ", "untrusted comment: minisign public key"] {
            let error = Keys::try_from(vec![text.to_owned()]).unwrap_err();
            assert!(error.to_string().contains("second line of its .pub file"));
        }
        assert_eq!(Keys::try_from(Vec::new()), Err(KeysError::Empty));
    }

    proptest! {
        #[test]
        fn no_text_beside_an_image_makes_it_panic(
            text in "\\PC*", at in 0..SIGNATURE.len(), length in 0..40_usize, by in "\\PC{0,3}",
        ) {
            let end = (at + length).min(SIGNATURE.len());
            let changed = format!("{}{by}{}", &SIGNATURE[..at], &SIGNATURE[end..]);
            for text in [&text, &changed, &SIGNATURE[..at].to_owned()] {
                let seal = keys().judge(b"other bytes", text);
                prop_assert!(seal.fault.is_some());
            }
        }
    }
}
