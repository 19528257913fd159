//! The counter for people: every call takes an [`Actor`], asks what they may, does it, and leaves a line in the audit log.
//!
//! | file | what lives there |
//! |---|---|
//! | `signing` | who a credential stands for; signing in and out; the first owner |
//! | `users`, `tokens`, `devices`, `history` | people's business, and the audit log |
//! | `orgs` | orgs, which are folders of the tree |
//! | `slots`, `upload` | what is in a slot, and what is ordered done to it; an image on its way into one |
//! | `holds` | the emergency brake |
//! | `inspect` | what a file is |
//! | `drops` | what was dropped into the tree is written down, too |
//! | `undo` | a token is revoked, with what it did |
//! | `error` | why something was not done |
//!
//! Doors for people see this room and no room below it, so their words are passed on from here.

mod devices;
mod drops;
mod error;
mod history;
mod holds;
mod inspect;
mod orgs;
mod signing;
mod slots;
mod tokens;
mod undo;
mod upload;
mod users;

use std::path::PathBuf;
use std::sync::Arc;

pub use devices::DeviceRules;
pub use error::{Meaning, OfficeError};
pub use holds::Range;
pub use orgs::OrgView;
pub use undo::Undone;
pub use upload::Upload;

pub use crate::people::{
    Action, Actor, Entry, Event, Filter, NewToken, Role, Secret, TokenId, TokenView, UserName,
    UserView, Who,
};

pub use crate::tree::{
    Announced, Back, Candidate, Expect, Hold, Known, Notes, Outcome, Promotion, Published, Removed,
    Rules, SlotView, Version,
};

use crate::people::People;
use crate::tree::Tree;

/// What people do is done here; clones share it.
#[derive(Clone)]
pub struct Office(Arc<Inner>);

struct Inner {
    people: Result<People, String>,
    tree: Tree,
    root: PathBuf,
    largest: u64,
}

impl Office {
    /// Over the people, or the sentence why nobody is known; and over the tree with its root, where no image has more bytes
    /// than `largest`.
    #[must_use]
    pub fn new(people: Result<People, String>, tree: Tree, root: PathBuf, largest: u64) -> Self {
        Self(Arc::new(Inner {
            people,
            tree,
            root,
            largest,
        }))
    }

    fn people(&self) -> Result<&People, OfficeError> {
        let closed = |why: &String| OfficeError::Closed(why.clone());
        self.0.people.as_ref().map_err(closed)
    }

    /// Does what reads or writes files on a thread that may wait.
    async fn apart<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Inner) -> Result<T, OfficeError> + Send + 'static,
    ) -> Result<T, OfficeError> {
        let inner = self.0.clone();
        tokio::task::spawn_blocking(move || job(&inner))
            .await
            .map_err(|error| OfficeError::Failed(error.to_string()))?
    }
}
