//! What can be wrong with the database, each with its cure.

use std::path::PathBuf;

use rusqlite::ErrorCode;

/// The database cannot do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened or made.
    #[error(
        "cannot open the database {path}: {reason}; see that the state folder is there and belongs to the server's user"
    )]
    CannotOpen {
        /// The file.
        path: PathBuf,
        /// In the system's words.
        reason: String,
    },
    /// Another process holds it.
    #[error(
        "the database is locked by another process; end the program that has otatree.db open and try again"
    )]
    Locked,
    /// It may be read, but not written.
    #[error(
        "the database is read-only; give the server's user the right to write otatree.db and its folder"
    )]
    ReadOnly,
    /// No space.
    #[error("the disk of the database is full; nothing was changed; free some space and try again")]
    Full,
    /// The file is damaged, or no database.
    #[error(
        "the database is damaged ({0}); put back a copy of otatree.db, or move it away to begin without accounts"
    )]
    Corrupt(String),
    /// A newer otatree wrote it.
    #[error(
        "the database has version {found}, and this otatree knows {known}; nothing was changed; run the newer otatree, or put back the copy otatree.db.v{known}.bak"
    )]
    Newer {
        /// The version of the file.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The writer thread is gone, or the job failed badly.
    #[error("the database did not answer; look into the log and restart the server")]
    Stopped,
    /// Anything else SQLite says.
    #[error("the database refused: {0}; please report it")]
    Refused(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly,
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt(error.to_string())
            }
            _ => Self::Refused(error.to_string()),
        }
    }
}
