//! Telling that a dropped file became what a slot offers. The tree knows nothing of people: whoever asks for the news
//! finds out who it was. Part of the keeper.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::firmware::{Image, ImageKind, Sha256};

use super::Tree;
use super::catalog::Candidate;
use super::keeper::{Keeper, Message, place};
use super::read;

/// News that wait for whoever reads them, at most: a flood must not fill the memory.
const WAITING: usize = 1024;

/// A dropped file became what a slot offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The folder, relative to the root.
    pub folder: PathBuf,
    /// Which of its images.
    pub kind: ImageKind,
    /// The user id of the file's owner; `None` when the file was another one by then.
    pub owner: Option<u32>,
    /// What was offered before.
    pub before: Option<Sha256>,
    /// What is offered now.
    pub after: Sha256,
}

/// The way to whoever wants to know.
pub struct Drops {
    to: Sender<Dropped>,
    lost: bool,
}

impl Drops {
    fn new(waiting: usize) -> (Self, Receiver<Dropped>) {
        let (to, from) = channel(waiting);
        (Self { to, lost: false }, from)
    }

    /// Never waits.
    fn tell(&mut self, dropped: Dropped) {
        // Where nobody listens any more, nobody misses it.
        if self.to.try_send(dropped).is_err() && !self.to.is_closed() && !self.lost {
            self.lost = true;
            tracing::warn!(
                "files are dropped faster than the audit log takes them: some are served and not written down; this is said once"
            );
        }
    }
}

impl Tree {
    /// What is dropped from now on, in its order. Who reads too slowly misses some.
    #[must_use]
    pub fn drops(&self) -> Receiver<Dropped> {
        let (drops, from) = Drops::new(WAITING);
        // An error means that the server ends.
        let _ = self.messages.send(Message::Drops(drops));
        from
    }
}

impl Keeper {
    /// An image is offered from now on: if it was dropped since the start, that is told.
    pub(super) fn tell_drop(
        &mut self,
        rel: &Path,
        kind: ImageKind,
        old: &Candidate,
        image: &Image,
    ) {
        if self.drops.is_none() {
            return;
        }
        let memory = self.restless.get(rel);
        let before = match old {
            Candidate::Absent => None,
            Candidate::Offered(offer) => Some(offer.image.facts.id()),
            Candidate::Withheld { .. } => memory
                .and_then(|memory| memory.before[place(kind)].as_ref())
                .and_then(|before| before.id),
        };
        let after = image.facts.id();
        let placed = memory.and_then(|memory| memory.placed[place(kind)]);
        if before == Some(after) || placed == Some(after) || !self.came_since(image) {
            return;
        }
        if let Some(memory) = self.restless.get_mut(rel) {
            // From now on it may be dropped again.
            memory.placed[place(kind)] = None;
        }
        let owner = self.owner(image);
        if let Some(drops) = &mut self.drops {
            drops.tell(Dropped {
                folder: rel.to_owned(),
                kind,
                owner,
                before,
                after,
            });
        }
    }

    /// By its record, which is written when a file is moved here as well.
    fn came_since(&self, image: &Image) -> bool {
        let started = self.started.duration_since(std::time::UNIX_EPOCH);
        let started = started.map_or(0, |since| since.as_nanos());
        // The kernel's clock for files ticks up to 10 ms behind.
        u128::try_from(image.stamp.changed).unwrap_or(0) + 10_000_000 >= started
    }

    fn owner(&self, image: &Image) -> Option<u32> {
        let path = self.root.as_ref()?.path.join(&image.path);
        let meta = fs::metadata(path).ok()?;
        (read::stamp(&meta) == image.stamp).then(|| meta.uid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_waits_for_nobody_and_takes_no_more_than_its_place() {
        let (mut drops, mut from) = Drops::new(2);
        for n in 0..1000_u64 {
            drops.tell(Dropped {
                folder: "dev/key".into(),
                kind: ImageKind::Firmware,
                owner: None,
                before: None,
                after: Sha256::of(&n.to_le_bytes()),
            });
        }
        assert!(drops.lost);
        assert!(from.try_recv().is_ok() && from.try_recv().is_ok());
        assert!(from.try_recv().is_err());
    }
}
