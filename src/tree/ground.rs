//! The root itself: it may be gone, empty, or another tree under the same name. Part of the keeper.

use std::path::Path;

use super::keeper::{Keeper, Message};
use super::read::{self, Root};
use super::watch::Watches;

impl Keeper {
    /// Looks at the root itself: it may be gone, empty, or another one.
    pub(super) fn check_root(&mut self) {
        match Root::find(&self.settings.root) {
            Err(error) => self.shout(format!(
                "the root of the tree {} cannot be read ({error}); what was read before is served on",
                self.settings.root.display()
            )),
            Ok(found) if self.root.as_ref() == Some(&found) => {
                if self.lost && !is_empty(&found) {
                    // It is back, with the watches it had; what happened meanwhile is found by a look.
                    self.found_again();
                    self.sweep_all();
                }
            }
            Ok(found) if self.catalog.complete && is_empty(&found) => self.shout(empty(&self.settings.root)),
            Ok(found) => {
                self.found_again();
                self.adopt(found);
            }
        }
    }

    /// The root is there, is the one that was read, and holds something.
    pub(super) fn root_stands(&self) -> bool {
        Root::find(&self.settings.root)
            .is_ok_and(|found| self.root.as_ref() == Some(&found) && !is_empty(&found))
    }

    pub(super) fn found_again(&mut self) {
        self.lost = false;
        self.board.trouble("tree", None);
    }

    pub(super) fn shout(&mut self, text: String) {
        self.lost = true;
        self.board.trouble("tree", Some(text));
    }

    /// Another tree under the same name: all watches are made anew.
    pub(super) fn adopt(&mut self, root: Root) {
        let messages = self.to_self.clone();
        self.watches = self.settings.live.then(|| {
            Watches::start(&root.path, move |event| {
                // The keeper ends with the last handle of the tree; nobody listens then.
                let _ = messages.send(Message::Event(event));
            })
        });
        self.root = Some(root);
        self.forget_watches();
        self.sweep_all();
    }
}

fn is_empty(root: &Root) -> bool {
    read::read_folder(root, Path::new("")).map_or(true, |reading| reading.folders.is_empty())
}

pub(super) fn empty(root: &Path) -> String {
    format!(
        "the root of the tree {} is suddenly empty (is it mounted?); what was read before is served on",
        root.display()
    )
}
