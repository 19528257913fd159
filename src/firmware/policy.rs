//! `ota.toml`: what a person orders for a folder and all below it, as it is written.

use std::fmt;

use serde::{Deserialize, Deserializer};

/// The name of the file.
pub const POLICY_FILE: &str = "ota.toml";

/// More texts than anybody means; each is looked for in every image.
const MOST_TEXTS: usize = 64;

/// May a device be given an older version than the one it runs?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Downgrade {
    /// It may: the tree says what a node runs.
    Allow,
    /// Never, as far as both versions can be compared.
    Never,
}

/// What becomes of a node that was flashed by hand with what never was in the tree?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ByHand {
    /// It is updated like all others.
    Update,
    /// It keeps what it runs until an image appears that is newer.
    Hold,
}

impl fmt::Display for Downgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Never => "never",
        })
    }
}

impl fmt::Display for ByHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Update => "update",
            Self::Hold => "hold",
        })
    }
}

/// Texts to look for.
pub type Texts = Box<[Box<str>]>;

/// What one `ota.toml` says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Nothing is given; the text is for people, and empty where none was given. `hold = false` says nothing.
    #[serde(default, deserialize_with = "hold")]
    pub hold: Option<Box<str>>,
    /// Older versions.
    #[serde(default)]
    pub downgrade: Option<Downgrade>,
    /// Nodes that were flashed by hand.
    #[serde(default)]
    pub by_hand: Option<ByHand>,
    /// Texts that an app must contain. An empty list asks for none, not even for the door's prefix.
    #[serde(default, deserialize_with = "texts")]
    pub must_contain: Option<Texts>,
}

/// Why a text is no policy: where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct PolicyError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// One line.
    pub what: Box<str>,
}

impl Policy {
    /// Reads the text of an `ota.toml`.
    ///
    /// # Errors
    /// When it is not TOML, or has a key or a value that cannot be.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let before = text.get(..at).unwrap_or_default();
            PolicyError {
                line: before.matches('\n').count() + 1,
                column: before.chars().rev().take_while(|c| *c != '\n').count() + 1,
                what: error.message().trim().replace('\n', " ").into(),
            }
        })
    }
}

fn hold<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<str>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "hold is true, false or a reason in quotes")]
    enum Hold {
        Yes(bool),
        Reason(Box<str>),
    }
    Ok(match Hold::deserialize(deserializer)? {
        Hold::Yes(yes) => yes.then(Box::default),
        Hold::Reason(reason) => Some(reason),
    })
}

fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Texts>, D::Error> {
    let texts: Texts = Deserialize::deserialize(deserializer)?;
    if texts.iter().any(|text| text.is_empty()) {
        return Err(serde::de::Error::custom(
            "must_contain has an empty text, which every image contains; write the text that is meant",
        ));
    }
    if texts.len() > MOST_TEXTS {
        return Err(serde::de::Error::custom(format!(
            "must_contain has {} texts; at most {MOST_TEXTS} are allowed",
            texts.len()
        )));
    }
    Ok(Some(texts))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Policy {
        Policy::parse(text).unwrap()
    }

    fn error(text: &str) -> String {
        Policy::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn every_key_is_read() {
        assert_eq!(parse(""), Policy::default());
        assert_eq!(parse("hold = true").hold.as_deref(), Some(""));
        assert_eq!(parse("hold = \"recall\"").hold.as_deref(), Some("recall"));
        assert_eq!(parse("hold = false").hold, None);
        assert_eq!(
            parse("downgrade = \"never\"").downgrade,
            Some(Downgrade::Never)
        );
        assert_eq!(parse("by_hand = \"update\"").by_hand, Some(ByHand::Update));
        let texts = parse("must_contain = [\"ota_update\", \"v2\"]").must_contain;
        assert_eq!(texts.unwrap().len(), 2);
        assert_eq!(parse("must_contain = []").must_contain.unwrap().len(), 0);
    }

    #[test]
    fn what_is_wrong_is_said_with_line_and_column() {
        for (text, place, word) in [
            ("\nhodl = true", "line 2, column 1: ", "hold"),
            ("hold = 1", "line 1, column 8: ", "reason in quotes"),
            (
                "hold = true\nhold = false",
                "line 2, column 1: ",
                "duplicate",
            ),
            ("hold = \"x", "line 1, column ", "string"),
            ("downgrade = \"no\"", "line 1, column 13: ", "never"),
            ("by_hand = true", "line 1, column 11: ", "string"),
            ("must_contain = \"x\"", "line 1, column 16: ", "sequence"),
            ("must_contain = [\"\"]", "line 1, column 16: ", "empty text"),
            ("[lotus]\nhold = true", "line 1, column 2: ", "lotus"),
        ] {
            let said = error(text);
            assert!(
                said.starts_with(place) && said.contains(word),
                "{text:?}: {said}"
            );
            assert!(!said.contains('\n'), "{said}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", cut in any::<prop::sample::Index>()) {
            let _ = Policy::parse(&text);
            let keys = format!("hold = \"{text}\"\nby_hand = \"hold\"\nmust_contain = [\"{text}\"]\n");
            let end = (0..=cut.index(keys.len() + 1)).rev().find(|at| keys.is_char_boundary(*at));
            if let Some(Err(error)) = end.and_then(|end| keys.get(..end)).map(Policy::parse) {
                prop_assert!(error.line > 0 && error.column > 0 && !error.what.is_empty());
            }
        }
    }
}
