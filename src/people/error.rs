//! Why people's business was refused.

use super::limiter::Wait;
use crate::firmware::Org;
use crate::people::{Role, TokenId, UserName};
use crate::store::StoreError;

/// Why something was not done; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeopleError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The actor may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Unknown user or wrong password: nobody learns which.
    #[error("the name or the password is wrong")]
    WrongLogin,
    /// Too many failures before.
    #[error("too many failed logins; try again in {} s", .0.seconds())]
    SlowDown(Wait),
    /// Fewer than 8 or more than 1024 bytes.
    #[error("a password has 8 to 1024 bytes; this one has {0}")]
    PasswordLength(usize),
    /// The name is taken.
    #[error("there is a user {0} already; choose another name")]
    UserExists(UserName),
    /// No such user.
    #[error("there is no user {0}; `otatree user list` shows them all")]
    NoSuchUser(UserName),
    /// No such token.
    #[error("there is no token {0}; `otatree token list` shows them all")]
    NoSuchToken(TokenId),
    /// Somebody has to rule the server.
    #[error("{0} is the last owner; make another one first")]
    LastOwner(UserName),
    /// The link for the first owner is used, too old or wrong.
    #[error("this link is used, too old or wrong; make an owner with `otatree user add --owner`")]
    DeadLink,
    /// The system gives no random bytes.
    #[error("no random bytes from the system: see that getrandom works here")]
    NoRandomness,
    /// A stored value cannot be read.
    #[error("the database holds {0}, which this otatree cannot read; run the newer otatree")]
    Unreadable(String),
    /// argon2 failed.
    #[error("the password could not be hashed: {0}")]
    Hashing(String),
}

impl From<rusqlite::Error> for PeopleError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What an actor may not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Another role is needed.
    #[error("this needs the role {needed} in the org {org}; ask its admin")]
    Role {
        /// The least role.
        needed: Role,
        /// Where.
        org: Org,
    },
    /// The token is for one project.
    #[error("this token is for the project {0} only; use another token")]
    OtherProject(crate::firmware::Project),
    /// Only an owner of the server may.
    #[error("this needs an owner of the server")]
    Owner,
    /// Not with a token.
    #[error("this is for a person who has signed in, not for a token")]
    NotByToken,
}
