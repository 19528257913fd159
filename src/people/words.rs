//! The words of people: names, roles, ids. Each is checked once.

use std::fmt;
use std::str::FromStr;

use crate::firmware::{NodeId, ParseWordError};

/// The name of a user: 1 to 64 of `[A-Za-z0-9._-]`, kept in lower case, so that no two differ in case only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(String);

impl UserName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = ParseWordError;

    fn from_str(text: &str) -> Result<Self, ParseWordError> {
        // The rule is that of a word of a path.
        let word: NodeId = text.parse()?;
        Ok(Self(word.as_str().to_ascii_lowercase()))
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The public half of a token: 16 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(String);

impl TokenId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is no [`TokenId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a token: 16 hex digits, as `token list` shows them")]
pub struct ParseTokenIdError;

impl FromStr for TokenId {
    type Err = ParseTokenIdError;

    fn from_str(text: &str) -> Result<Self, ParseTokenIdError> {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 16 || !text.bytes().all(hex) {
            return Err(ParseTokenIdError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What somebody may do in an org; each role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Sees slots, images and history.
    Viewer,
    /// Also publishes, deletes, rolls back.
    Publisher,
    /// Also gives roles and tokens, and rules the org's devices.
    Admin,
}

impl Role {
    /// The word for it in the database, the API and on the command line.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Publisher => "publisher",
            Self::Admin => "admin",
        }
    }
}

/// A text that is no [`Role`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a role: viewer, publisher or admin")]
pub struct ParseRoleError;

impl FromStr for Role {
    type Err = ParseRoleError;

    fn from_str(text: &str) -> Result<Self, ParseRoleError> {
        [Self::Viewer, Self::Publisher, Self::Admin]
            .into_iter()
            .find(|role| role.slug() == text)
            .ok_or(ParseRoleError)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_in_any_case_and_never_a_path() {
        assert_eq!("Ada".parse::<UserName>(), "ada".parse::<UserName>());
        for bad in ["", "..", "a/b", "a b", "é", &"x".repeat(65)] {
            assert!(bad.parse::<UserName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_role_includes_those_below_it() {
        assert!(Role::Admin > Role::Publisher && Role::Publisher > Role::Viewer);
        for role in [Role::Viewer, Role::Publisher, Role::Admin] {
            assert_eq!(role.slug().parse(), Ok(role));
        }
        assert!("owner".parse::<Role>().is_err());
    }
}
