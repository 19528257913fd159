//! What was dropped into the tree, written down with the name of who dropped it.

use jiff::Timestamp;
use tokio::task::spawn_blocking;

use super::slots::event;
use super::{Action, Office};
use crate::firmware::Slot;

/// The name of a user of this system; the number of one who has none.
fn name(owner: u32) -> String {
    uzers::get_user_by_uid(owner).map_or_else(
        || owner.to_string(),
        |user| user.name().to_string_lossy().into_owned(),
    )
}

impl Office {
    /// Writes down what is dropped, until the tree ends. Without people there is no audit log.
    pub async fn record_drops(self) {
        let Ok(people) = self.people() else { return };
        let mut drops = self.0.tree.drops();
        let mut failing = false;
        while let Some(dropped) = drops.recv().await {
            // A folder that no device can ask for is no slot.
            let Ok(slot) = Slot::parse(&dropped.folder.to_string_lossy()) else {
                continue;
            };
            // The names may come over the network.
            let owner = match dropped.owner {
                Some(owner) => spawn_blocking(move || name(owner)).await.ok(),
                None => None,
            };
            let owner = owner.unwrap_or_else(|| "unknown".to_owned());
            let (before, after) = (dropped.before, Some(dropped.after));
            let event = event(Action::Drop, &slot, dropped.kind, before, after);
            let done = people.record_file(&owner, event, Timestamp::now()).await;
            if let (Err(error), false) = (&done, failing) {
                tracing::warn!(%slot, %error, "a dropped file is served and cannot be written into the audit log");
            }
            failing = done.is_err();
        }
    }
}
