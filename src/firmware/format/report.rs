//! What the bytes of a file are, for people and their programs.

use serde::Serialize;

use super::examine;
use crate::firmware::{Defect, Facts, ImageKind};

/// What `otatree inspect --json` and the API say of a file.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What it was read as.
    pub kind: ImageKind,
    /// What came of it.
    #[serde(flatten)]
    pub finding: Finding,
}

/// What the bytes of a file come to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// An image.
    Facts(Box<Facts>),
    /// None for any device.
    Defect(Defect),
}

impl Report {
    /// Reads the bytes as an image of this kind.
    #[must_use]
    pub fn of(bytes: &[u8], kind: ImageKind) -> Self {
        let finding = match examine(bytes, kind) {
            Ok(facts) => Finding::Facts(Box::new(facts)),
            Err(defect) => Finding::Defect(defect),
        };
        Self { kind, finding }
    }
}
