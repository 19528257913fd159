//! The four words of a request, checked once at the edge.
//!
//! A word is safe as one path segment: 1 to 64 of `[A-Za-z0-9._-]`, no leading dot. `+`, `..`, `/` and NUL cannot be
//! written as one, so a word from the network can be looked up but never escapes the tree.

use std::fmt;
use std::str::FromStr;

use smol_str::SmolStr;

/// Longest word, in bytes.
const LONGEST: usize = 64;

/// First path words that belong to the server itself, so no org can have them.
pub const RESERVED_ORGS: [&str; 9] = [
    "api",
    "rest",
    "files",
    "ota_update",
    "ota_list",
    "healthz",
    "readyz",
    "metrics",
    "assets",
];

/// The folder name that every slot keeps for other doors, so no word can be it.
const RESERVED_EVERYWHERE: &str = "software";

/// Why a text is not a word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseWordError {
    /// Nothing between two slashes.
    #[error("a word is empty")]
    Empty,
    /// More than 64 bytes.
    #[error("a word has {0} bytes, {LONGEST} are allowed")]
    TooLong(usize),
    /// A hidden name, `.` or `..`.
    #[error("{0:?} begins with a dot")]
    LeadingDot(String),
    /// A byte outside `[A-Za-z0-9._-]`.
    #[error(
        "{word:?} has the byte {byte:#04x} at {at}; letters, digits, '.', '_' and '-' are allowed"
    )]
    BadByte {
        /// The whole text.
        word: String,
        /// The first offending byte.
        byte: u8,
        /// Its offset in bytes.
        at: usize,
    },
    /// A name that the server keeps for itself.
    #[error("{0:?} is reserved")]
    Reserved(String),
}

/// `[A-Za-z0-9._-]`, as a table: every poll checks some fifty bytes.
const ALLOWED: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte: u8 = 0;
    while byte < 128 {
        allowed[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        byte += 1;
    }
    allowed
};

fn check(text: &str) -> Result<(), ParseWordError> {
    if text.is_empty() {
        return Err(ParseWordError::Empty);
    }
    if text.len() > LONGEST {
        return Err(ParseWordError::TooLong(text.len()));
    }
    if text.starts_with('.') {
        return Err(ParseWordError::LeadingDot(text.to_owned()));
    }
    if let Some(at) = text.bytes().position(|byte| !ALLOWED[usize::from(byte)]) {
        let byte = text.as_bytes()[at];
        return Err(ParseWordError::BadByte {
            word: text.to_owned(),
            byte,
            at,
        });
    }
    if text == RESERVED_EVERYWHERE {
        return Err(ParseWordError::Reserved(text.to_owned()));
    }
    Ok(())
}

fn check_org(text: &str) -> Result<(), ParseWordError> {
    check(text)?;
    if RESERVED_ORGS.contains(&text) {
        return Err(ParseWordError::Reserved(text.to_owned()));
    }
    Ok(())
}

macro_rules! word {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(SmolStr);

        impl $name {
            /// The word as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseWordError;

            fn from_str(text: &str) -> Result<Self, ParseWordError> {
                $check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

word!(
    /// The organisation: first folder of the tree. Case-sensitive; never one of [`RESERVED_ORGS`].
    Org, check_org
);
word!(
    /// A project of an organisation. Case-sensitive.
    Project, check
);
word!(
    /// The name of one node, such as `esp8266-85ea2b`. Case-sensitive.
    NodeId, check
);
word!(
    /// The kind of build, such as `sht30_d1_mini`: what the device publishes as its OTA key. Case-sensitive.
    OtaKey, check
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_of_real_devices_are_words() {
        for word in [
            "sht30_d1_mini",
            "esp8266-85ea2b",
            "climate_ttgo-lora32-v21",
            "a",
            "A.b-c_9",
            &"x".repeat(64),
        ] {
            assert_eq!(word.parse::<NodeId>().unwrap().as_str(), word);
        }
    }

    #[test]
    fn what_could_leave_the_tree_is_no_word() {
        for text in [
            "",
            ".",
            "..",
            ".git",
            "+",
            "a/b",
            "a\\b",
            "a b",
            "a\0",
            "a%2e",
            "é",
            "~a",
            "a#",
            &"x".repeat(65),
        ] {
            assert!(text.parse::<OtaKey>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn reserved_words_are_refused_where_they_would_clash() {
        assert!("software".parse::<Project>().is_err());
        assert!("software".parse::<NodeId>().is_err());
        for org in RESERVED_ORGS {
            assert!(org.parse::<Org>().is_err());
            assert!(org.parse::<Project>().is_ok());
        }
    }

    #[test]
    fn the_error_names_the_byte() {
        let error = "dev kit".parse::<Org>().unwrap_err().to_string();
        assert!(error.contains("0x20 at 3"), "{error}");
    }

    proptest! {
        #[test]
        fn a_word_is_always_one_visible_path_segment(text in "\\PC{0,80}") {
            if let Ok(word) = text.parse::<Org>() {
                let path = std::path::Path::new(word.as_str());
                prop_assert_eq!(path.components().count(), 1);
                prop_assert!(matches!(path.components().next(), Some(std::path::Component::Normal(_))));
                prop_assert!(!word.as_str().starts_with('.'));
            }
        }

        #[test]
        fn every_text_of_the_pattern_is_a_word(text in "[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}") {
            prop_assume!(text != "software");
            prop_assert!(text.parse::<NodeId>().is_ok());
        }
    }
}
