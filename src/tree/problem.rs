//! One thing wrong in the tree, with the cure. Always a list: a person wants to know all of them.

use std::fmt;
use std::path::Path;

use serde::Serialize;

/// What is wrong, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// File or folder, relative to the root of the tree.
    pub path: Box<Path>,
    /// What is wrong: lower-case, without a full stop.
    pub what: Box<str>,
    /// What to do: lower-case, without a full stop; empty where `what` says it.
    pub cure: Box<str>,
}

impl Problem {
    /// A problem of one file or folder.
    #[must_use]
    pub fn new(path: impl AsRef<Path>, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            path: path.as_ref().into(),
            what: what.into().into(),
            cure: cure.into().into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)?;
        if !self.cure.is_empty() {
            write!(f, "; {}", self.cure)?;
        }
        Ok(())
    }
}
