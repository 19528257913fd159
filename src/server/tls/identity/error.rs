//! What can go wrong with the private root, and what is made under it.

use std::io;
use std::path::PathBuf;

/// Why there is no private identity to serve under.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The folder or a file in it cannot be read.
    #[error("cannot read {}: let the server's user read it, and nobody else", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder or a file in it cannot be written.
    #[error("cannot write {}: let the server's user write there, and see that the disk has room", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A part of the root is lost or damaged. It is never replaced: devices trust it.
    #[error("{} is {fault}, and devices may trust this root: put the file back from a backup (or, when no device trusts it yet, remove the folder {})", path.display(), path.parent().unwrap_or(path).display())]
    Root {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: RootFault,
    },
    /// Making a key or a certificate failed.
    #[error(
        "a private certificate could not be made: see that the names in [tls] are plain host names"
    )]
    Issue(#[source] rcgen::Error),
    /// The system gives no random bytes.
    #[error("no random bytes from the system: see that getrandom works here")]
    Random,
}

/// What is wrong with a part of the private root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RootFault {
    /// The file is not there.
    #[error("missing")]
    Missing,
    /// The file is not what it should be.
    #[error("damaged")]
    Damaged,
    /// The key is not that of the certificate.
    #[error("not the key of root.pem")]
    OtherKey,
    /// Its time is over.
    #[error("expired")]
    Expired,
}

/// Why a leaf was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeafReason {
    /// There was none, or it was damaged, or of another root.
    Missing,
    /// Its key was lost: devices that pinned the key must be told.
    KeyLost,
    /// Less than 30 days were left, or the clock went back before its first day.
    Dates,
    /// These names or addresses are new.
    Names(Vec<String>),
}

/// What was made under `state/identity/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The root is new: it must go into the sketches.
    pub root: bool,
    /// Why there is a new leaf.
    pub leaf: LeafReason,
}
