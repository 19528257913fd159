//! What people order done to a slot, and what they hear of it. Words only.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::beside::LARGEST_BESIDE;
use crate::firmware::{Defect, Facts, Family, HoldReason, ImageKind, Sha256, Slot};

/// What a slot must hold for an order to be carried out: two people never overwrite each other unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expect {
    /// Whatever.
    #[default]
    Any,
    /// No image of this kind.
    Absent,
    /// What it held when this revision was read ([`super::SlotView::revision`]).
    Revision(Sha256),
}

/// What is known of an image before its first byte.
#[derive(Debug, Clone, Copy, Default)]
pub struct Announced {
    /// Its length in bytes.
    pub size: Option<u64>,
    /// Its sum.
    pub sha256: Option<Sha256>,
}

/// What people say of an image, for `<image>.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notes {
    /// A name for people.
    pub title: Option<Box<str>>,
    /// The version, where the bytes have none or a wrong one.
    pub version: Option<Box<str>>,
    /// Free text.
    pub description: Option<Box<str>>,
}

/// How an image is published.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Also over an image for another chip family.
    pub force_family: bool,
    /// What the slot must hold.
    pub expect: Expect,
    /// What people say of it.
    pub notes: Notes,
    /// The text of `<image>.minisig`.
    pub signature: Option<Box<str>>,
}

/// How an image is promoted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Promotion {
    /// The image that is meant; without it, whatever the slot offers.
    pub image: Option<Sha256>,
    /// Also over an image for another chip family.
    pub force_family: bool,
    /// What the slot that gets it must hold.
    pub expect: Expect,
}

/// Which kept image is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// The newest one that is not in the slot now.
    Previous,
    /// This one.
    To(Sha256),
}

/// An image that was published.
#[derive(Debug, Clone)]
pub struct Published {
    /// Where.
    pub slot: Slot,
    /// What it is for.
    pub kind: ImageKind,
    /// Its id.
    pub id: Sha256,
    /// The id of the image that the slot gave before.
    pub before: Option<Sha256>,
    /// The file, relative to the root of the tree.
    pub path: PathBuf,
    /// What its bytes say.
    pub facts: Arc<Facts>,
    /// Files of the kind that stay in the slot and are not given while this one is there.
    pub shadowed: Vec<Box<str>>,
    /// Why no device gets it now; `None` when it is offered.
    pub held: Option<HoldReason>,
    /// The revision of the slot with it.
    pub revision: Option<Sha256>,
}

/// What was deleted.
#[derive(Debug, Clone)]
pub struct Removed {
    /// The files that are gone, relative to the root of the tree.
    pub files: Vec<PathBuf>,
    /// The id of the image that the slot gave before.
    pub before: Option<Sha256>,
}

/// A kept image of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its id.
    pub id: Sha256,
    /// What it is for.
    pub kind: ImageKind,
    /// When it was kept; `None` where nobody wrote that down.
    pub kept: Option<Timestamp>,
    /// Its length in bytes, as far as it is known.
    pub size: Option<u64>,
    /// Whose image it is, as far as it is known.
    pub family: Option<Family>,
    /// Its name for people, in its bytes or in `<image>.toml` at the time.
    pub title: Option<Box<str>>,
    /// Its version, in its bytes or in `<image>.toml` at the time.
    pub version: Option<Box<str>>,
    /// What people wrote about it.
    pub note: Option<Box<str>>,
    /// The slot gives it now.
    pub current: bool,
}

/// Why an order was not carried out. Unless it says otherwise, the slot is as it was.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// More bytes than an image may have.
    #[error("it has more than {limit} bytes, and [tree] largest_image allows no more")]
    TooLarge {
        /// So many are allowed.
        limit: u64,
    },
    /// No image for any device.
    #[error("{sentence}")]
    Invalid {
        /// Where in the file, as far as the format can tell.
        offset: Option<u64>,
        /// What is wrong with it, with the cure.
        sentence: Box<str>,
    },
    /// What came is not what was announced.
    #[error("not all of it came: {announced} announced, {came} came; send it again")]
    NotWhole {
        /// What was said before.
        announced: String,
        /// What there is.
        came: String,
    },
    /// Its nodes would not start again.
    #[error(
        "this image is for {is}, and the one that it replaces is for {was}: choose another slot, or force it if the nodes have changed"
    )]
    WrongFamily {
        /// Of the new image.
        is: Family,
        /// Of the one that it replaces.
        was: Family,
    },
    /// The slot is not what was expected: somebody else was faster.
    #[error("the slot holds something else by now: look at it again, then repeat the order")]
    Changed {
        /// Its revision; `None` when it is empty.
        now: Option<Sha256>,
    },
    /// There is nothing to delete, promote or describe.
    #[error("{slot} holds no {kind} image")]
    Nothing {
        /// The slot.
        slot: Slot,
        /// The kind.
        kind: ImageKind,
    },
    /// No such copy.
    #[error("no copy of that image is kept for {slot}: [state] keep_previous says how many are")]
    NotKept {
        /// The slot.
        slot: Slot,
    },
    /// A text beside the image that nobody would read.
    #[error(
        "title, version and description, or the signature, have more than {limit} bytes: say less"
    )]
    TooLong {
        /// So many are allowed.
        limit: u64,
    },
    /// A folder that the tree does not serve, or that lies elsewhere.
    #[error("{path} {why}", path = path.display())]
    Refused {
        /// The folder, relative to the root of the tree.
        path: PathBuf,
        /// What is wrong with it, with the cure.
        why: &'static str,
    },
    /// No room.
    #[error("no room on the disk of {path}: make room, then repeat the order", path = path.display())]
    DiskFull {
        /// What could not be written.
        path: PathBuf,
    },
    /// The disk does not take it.
    #[error("{path} cannot be changed ({error}): the server's user needs to write there", path = path.display())]
    Unwritable {
        /// What could not be changed.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The root is gone or empty, or the server ends.
    #[error("the tree is not there (is it mounted?); /healthz says more")]
    NoTree,
}

impl PublishError {
    /// An error of the disk.
    pub(super) fn of(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::Unwritable { path, error },
        }
    }
}

impl From<Defect> for PublishError {
    fn from(defect: Defect) -> Self {
        Self::Invalid {
            offset: defect.offset,
            sentence: defect.sentence,
        }
    }
}

impl Notes {
    /// The text of `<image>.toml`; `None` when there is nothing to say.
    ///
    /// # Errors
    /// When it is longer than the tree reads.
    pub(super) fn text(&self) -> Result<Option<String>, PublishError> {
        let fields = [
            ("title", &self.title),
            ("version", &self.version),
            ("description", &self.description),
        ];
        let table: toml::Table = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value.as_deref()?.into())))
            .collect();
        let text = (!table.is_empty()).then(|| table.to_string());
        check_length(text.as_deref())?;
        Ok(text)
    }
}

/// Checks that the tree reads a text beside an image.
pub(super) fn check_length(text: Option<&str>) -> Result<(), PublishError> {
    let limit = LARGEST_BESIDE;
    match text.is_some_and(|text| text.len() as u64 > limit) {
        true => Err(PublishError::TooLong { limit }),
        false => Ok(()),
    }
}
