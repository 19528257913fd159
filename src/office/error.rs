//! Why something was not done, without a word of any protocol.

use crate::firmware::{Md5, Org, Slot};
use crate::people::{Denied, PeopleError};
use crate::store::StoreError;
use crate::tree::PublishError;

/// What kind of answer an error is: each door has its own numbers for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Nobody knows who asks.
    NotSignedIn,
    /// It is known who asks, and they may not.
    Denied,
    /// It is not there.
    NotFound,
    /// It cannot be done as things are.
    Conflict,
    /// The slot is not as it was expected to be.
    Changed,
    /// What was sent cannot be meant.
    Invalid,
    /// More bytes than are taken.
    TooLarge,
    /// Come back after so many seconds.
    SlowDown(i64),
    /// The disk is full.
    DiskFull,
    /// The server cannot do it now.
    Unavailable,
    /// A fault of the server.
    Failed,
}

/// Why something was not done; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OfficeError {
    /// Accounts cannot be read, so nobody may do anything.
    #[error("accounts cannot be read, and devices are served on: {0}")]
    Closed(String),
    /// No credential, or none that is good.
    #[error("this needs a good token, or a session: sign in again")]
    NotSignedIn,
    /// There is nothing to sign out of.
    #[error("this is no session: a token is ended by DELETE /tokens/{{id}}")]
    NoSession,
    /// People's business.
    #[error(transparent)]
    People(#[from] PeopleError),
    /// No folder of that name.
    #[error("there is no org {0}; an owner of the server makes it")]
    NoSuchOrg(Org),
    /// The folder is there already.
    #[error("there is an org {0} already")]
    OrgExists(Org),
    /// No folder of that name in the org.
    #[error("there is no slot {0}; a publish makes it")]
    NoSuchSlot(Slot),
    /// There is nothing to release.
    #[error(
        "nobody holds just that: a hold is released where it was ordered, and one of an ota.toml in that file"
    )]
    NotHeld,
    /// The tree's business.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Other bytes came than were sent.
    #[error("x-md5 says {announced}, and what came has {came}; send it again")]
    OtherSum {
        /// What was said before.
        announced: Md5,
        /// What there is.
        came: Md5,
    },
    /// Somebody was there since.
    #[error("it was changed since by somebody else, and stays as it is")]
    ChangedSince,
    /// It was done.
    #[error("it was done, and could not be written into the audit log: {0}")]
    Unrecorded(String),
    /// The disk is full.
    #[error("the disk of the tree is full; nothing was changed; free some space and try again")]
    DiskFull,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl From<Denied> for OfficeError {
    fn from(denied: Denied) -> Self {
        Self::People(denied.into())
    }
}

impl OfficeError {
    /// A word for programs, the same for ever.
    #[must_use]
    pub const fn slug(&self) -> &'static str {
        match self {
            Self::Closed(_) => "accounts-unavailable",
            Self::NotSignedIn => "not-signed-in",
            Self::NoSession => "no-session",
            Self::NoSuchOrg(_) => "no-such-org",
            Self::OrgExists(_) => "org-exists",
            Self::NoSuchSlot(_) => "no-such-slot",
            Self::NotHeld => "not-held",
            Self::OtherSum { .. } => "not-whole",
            Self::ChangedSince => "changed",
            Self::Unrecorded(_) => "unrecorded",
            Self::DiskFull => "disk-full",
            Self::Failed(_) => "failed",
            Self::Publish(error) => match error {
                PublishError::TooLarge { .. } => "too-large",
                PublishError::Invalid { .. } => "no-image",
                PublishError::TooLong { .. } => "too-long",
                PublishError::NotWhole { .. } => "not-whole",
                PublishError::WrongFamily { .. } => "wrong-family",
                PublishError::Changed { .. } => "changed",
                PublishError::Nothing { .. } => "nothing-there",
                PublishError::NotKept { .. } => "not-kept",
                PublishError::Refused { .. } => "refused",
                PublishError::DiskFull { .. } => "disk-full",
                PublishError::Unwritable { .. } => "unwritable",
                PublishError::NoTree => "no-tree",
            },
            Self::People(error) => match error {
                PeopleError::Store(StoreError::Full) => "disk-full",
                PeopleError::Store(_) | PeopleError::Unreadable(_) => "accounts-unavailable",
                PeopleError::Denied(_) => "denied",
                PeopleError::WrongLogin => "wrong-login",
                PeopleError::SlowDown(_) => "slow-down",
                PeopleError::PasswordLength(_) => "password-length",
                PeopleError::UserExists(_) => "user-exists",
                PeopleError::NoSuchUser(_) => "no-such-user",
                PeopleError::NoSuchToken(_) => "no-such-token",
                PeopleError::LastOwner(_) => "last-owner",
                PeopleError::DeadLink => "dead-link",
                PeopleError::NoRandomness | PeopleError::Hashing(_) => "failed",
            },
        }
    }

    /// At which byte an image breaks, where that is known.
    #[must_use]
    pub const fn offset(&self) -> Option<u64> {
        match self {
            Self::Publish(PublishError::Invalid { offset, .. }) => *offset,
            _ => None,
        }
    }

    /// What kind of answer it is.
    #[must_use]
    pub fn meaning(&self) -> Meaning {
        match self {
            Self::Closed(_) => Meaning::Unavailable,
            Self::NotSignedIn => Meaning::NotSignedIn,
            Self::NoSuchOrg(_) => Meaning::NotFound,
            Self::OrgExists(_) | Self::NoSession => Meaning::Conflict,
            Self::NoSuchSlot(_) | Self::NotHeld => Meaning::NotFound,
            Self::OtherSum { .. } => Meaning::Invalid,
            Self::ChangedSince => Meaning::Changed,
            Self::DiskFull => Meaning::DiskFull,
            Self::Failed(_) | Self::Unrecorded(_) => Meaning::Failed,
            Self::Publish(error) => match error {
                PublishError::TooLarge { .. } => Meaning::TooLarge,
                PublishError::Invalid { .. }
                | PublishError::TooLong { .. }
                | PublishError::NotWhole { .. } => Meaning::Invalid,
                PublishError::WrongFamily { .. } | PublishError::Refused { .. } => {
                    Meaning::Conflict
                }
                PublishError::Changed { .. } => Meaning::Changed,
                PublishError::Nothing { .. } | PublishError::NotKept { .. } => Meaning::NotFound,
                PublishError::DiskFull { .. } => Meaning::DiskFull,
                PublishError::Unwritable { .. } => Meaning::Failed,
                PublishError::NoTree => Meaning::Unavailable,
            },
            Self::People(error) => match error {
                PeopleError::Store(StoreError::Full) => Meaning::DiskFull,
                PeopleError::Store(_) | PeopleError::Unreadable(_) => Meaning::Unavailable,
                PeopleError::Denied(_) | PeopleError::DeadLink => Meaning::Denied,
                PeopleError::WrongLogin => Meaning::NotSignedIn,
                PeopleError::SlowDown(wait) => Meaning::SlowDown(wait.seconds()),
                PeopleError::PasswordLength(_) => Meaning::Invalid,
                PeopleError::UserExists(_) | PeopleError::LastOwner(_) => Meaning::Conflict,
                PeopleError::NoSuchUser(_) | PeopleError::NoSuchToken(_) => Meaning::NotFound,
                PeopleError::NoRandomness | PeopleError::Hashing(_) => Meaning::Failed,
            },
        }
    }
}
