//! Secrets: made from 32 random bytes, shown once, kept as SHA-256, compared in constant time.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use super::{PeopleError, TokenId};
use crate::firmware::Sha256;

/// A secret in clear. It neither prints nor compares; [`Secret::reveal`] is the one way out.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes a text that somebody sent or typed.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, to be shown once or checked.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// 32 random bytes, as 43 characters that need no quoting anywhere.
    pub(super) fn generate() -> Result<Self, PeopleError> {
        let mut bytes = [0; 32];
        fill(&mut bytes)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    pub(super) fn digest(&self) -> Sha256 {
        Sha256::of(self.0.as_bytes())
    }
}

fn fill(bytes: &mut [u8]) -> Result<(), PeopleError> {
    getrandom::fill(bytes).map_err(|_| PeopleError::NoRandomness)
}

/// Equality that takes the same time wherever the two differ.
pub(super) fn same(one: &Sha256, other: &Sha256) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// What every token begins with, so that scanners for leaked secrets know it.
const PREFIX: &str = "otatree_";

/// A new token: `otatree_<id>_<secret>`, with its id and what is stored of its secret.
pub(super) fn new_token() -> Result<(TokenId, Sha256, Secret), PeopleError> {
    let mut bytes = [0; 8];
    fill(&mut bytes)?;
    let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let id: TokenId = id.parse().map_err(|_| PeopleError::NoRandomness)?;
    let secret = Secret::generate()?;
    let whole = Secret(format!("{PREFIX}{id}_{}", secret.0));
    Ok((id, secret.digest(), whole))
}

/// Id and stored form of a token that somebody shows.
pub(super) fn read_token(text: &str) -> Option<(TokenId, Sha256)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    Some((id.parse().ok()?, Sha256::of(secret.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_new_token_reads_as_its_id_and_digest() {
        let (id, digest, whole) = new_token().unwrap();
        let (read, shown) = read_token(whole.reveal()).unwrap();
        assert_eq!((read, shown), (id, digest));
        assert_eq!(whole.reveal().len(), 8 + 16 + 1 + 43);
        assert_ne!(new_token().unwrap().2.reveal(), whole.reveal());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_of_tokens_fall(text in "\\PC{0,100}") {
            prop_assert!(read_token(&text).is_none());
        }
    }
}
