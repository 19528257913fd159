//! What the bytes of a file are, without publishing it.

use bytes::Bytes;

use super::{Office, OfficeError};
use crate::firmware::ImageKind;
use crate::firmware::format::Report;

impl Office {
    /// Reads the bytes as an image of this kind. Nothing is written, and nobody's business is told.
    ///
    /// # Errors
    /// When no thread can do it.
    pub async fn inspect(&self, bytes: Bytes, kind: ImageKind) -> Result<Report, OfficeError> {
        self.apart(move |_| Ok(Report::of(&bytes, kind))).await
    }
}
