//! Notifications: which folder each is a hint to look at, and who watches which. Part of the keeper.

use std::path::{Path, PathBuf};
use std::time::Instant;

use notify::EventKind;
use notify::event::{CreateKind, ModifyKind, RenameMode};

use crate::disk;

use super::keeper::Keeper;
use super::names;
use super::read::{self, Root};

impl Keeper {
    pub(super) fn hear_event(&mut self, event: &notify::Event) {
        if event.need_rescan() {
            tracing::warn!(
                "more changes at once than the kernel could report; the whole tree is looked at again"
            );
            self.forget_watches();
            self.sweep_all();
            return;
        }
        let Some(root) = &self.root else { return };
        let paths: Vec<PathBuf> = event
            .paths
            .iter()
            .filter_map(|path| path.strip_prefix(&root.path).ok().map(Path::to_owned))
            .collect();
        for (at, rel) in paths.iter().enumerate() {
            self.hear_path(event.kind, at, rel);
        }
    }

    pub(super) fn hear_path(&mut self, kind: EventKind, at: usize, rel: &Path) {
        let Some(parent) = rel.parent() else {
            self.next_root = Instant::now();
            if matches!(kind, EventKind::Remove(_)) {
                // notify lets go of all that lies below with it, also of what came back under its name by now.
                self.forget_watches();
                self.sweep_all();
            }
            return;
        };
        let leaves = matches!(
            kind,
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From))
        ) || (matches!(kind, EventKind::Modify(ModifyKind::Name(RenameMode::Both)))
            && at == 0);
        let arrives = matches!(
            kind,
            EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both))
        ) && !leaves;
        if self.catalog.at(rel).is_some() {
            // The watch follows the inode, so a folder that was moved must be let go before it is met elsewhere, and
            // one that is new under an old name must be watched anew.
            if leaves || arrives || matches!(kind, EventKind::Create(CreateKind::Folder)) {
                self.let_go(rel);
            }
            self.enqueue(rel);
        }
        if self.catalog.at(parent).is_none() {
            // It was not read yet, and will be; or it is none of ours, and only links lead to it.
            self.enqueue_seers(parent);
            return;
        }
        if rel
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(disk::is_draft)
        {
            // Somebody publishes: what that comes to is told, and until then the folder has its rest.
            return;
        }
        self.touch(parent);
        if let Some(name) = rel.file_name().and_then(|name| name.to_str())
            && !names::is_invisible(name)
            && let Some(restless) = self.restless.get_mut(parent)
        {
            if arrives {
                restless.renamed.insert(name.into());
            } else {
                restless.renamed.remove(name);
            }
        }
        self.enqueue(parent);
    }

    /// A change was seen in a folder: it is not quiet.
    pub(super) fn touch(&mut self, rel: &Path) {
        let now = Instant::now();
        self.restless.entry(rel.to_owned()).or_default().last_change = Some(now);
    }

    /// Puts a folder, and those that see it through a link, on the list.
    pub(super) fn enqueue(&mut self, rel: &Path) {
        if self.queued.insert(rel.to_owned()) {
            self.queue.push_back(rel.to_owned());
        }
        self.enqueue_seers(rel);
    }

    fn enqueue_seers(&mut self, rel: &Path) {
        for seer in self.links.seers(rel) {
            if self.queued.insert(seer.clone()) {
                self.queue.push_back(seer.clone());
            }
        }
    }

    /// Every folder that is read should be watched.
    pub(super) fn can_watch(&self) -> bool {
        let watches = self.watches.as_ref();
        self.catalog.complete && watches.is_some_and(|watches| watches.trouble().is_none())
    }

    pub(super) fn watch(&mut self, root: &Root, rel: &Path) -> bool {
        // The first scan only reads: devices wait for it. The second one follows at once, and watches before it reads.
        if !self.catalog.complete {
            return false;
        }
        // One inode has one watch and one name: that of the place a link leads to.
        let behind = read::behind_link(root, rel);
        let path = root.path.join(behind.as_deref().unwrap_or(rel));
        let unseen = self.links.lies(rel, behind.clone());
        self.unwatch_unseen(unseen);
        let watched = self
            .watches
            .as_mut()
            .is_some_and(|watches| watches.watch(&path));
        let now = read::behind_link(root, rel);
        if now == behind {
            return watched;
        }
        // It became a link, or is none any more, in this very moment: what is watched may be the target under a wrong
        // name. Both are watched and read anew.
        if behind.is_none()
            && let Some(watches) = &mut self.watches
        {
            watches.unwatch(&path);
        }
        if let Some(target) = now {
            self.let_go(&target);
            self.enqueue(&target);
        }
        self.enqueue(rel);
        false
    }

    /// A folder is gone: what only its links led to is not watched any more.
    pub(super) fn forget_links(&mut self, rel: &Path) {
        let unseen = self.links.forget(rel);
        self.unwatch_unseen(unseen);
    }

    fn unwatch_unseen(&mut self, unseen: Vec<PathBuf>) {
        let (Some(root), Some(watches)) = (&self.root, &mut self.watches) else {
            return;
        };
        for target in unseen {
            if self.catalog.at(&target).is_none() {
                watches.unwatch(&root.path.join(target));
            }
        }
    }

    /// Gives up the watch of a folder and of all below it.
    pub(super) fn let_go(&mut self, rel: &Path) {
        let Some(root) = self.root.clone() else {
            return;
        };
        let Some(folder) = self.catalog.at(rel).cloned() else {
            return;
        };
        let mut below = vec![(rel.to_owned(), folder)];
        while let Some((rel, folder)) = below.pop() {
            if folder.watched {
                if let Some(watches) = &mut self.watches {
                    watches.unwatch(&root.path.join(&rel));
                }
                self.catalog.edit(&rel, |folder| folder.watched = false);
            }
            below.extend(
                folder
                    .children
                    .iter()
                    .map(|(name, child)| (rel.join(name.as_ref()), child.clone())),
            );
        }
    }

    /// After a new watcher was made nothing is watched.
    pub(super) fn forget_watches(&mut self) {
        let mut all = Vec::new();
        self.catalog.visit(|rel, folder| {
            if folder.watched {
                all.push(rel.to_owned());
            }
        });
        for rel in all {
            self.catalog.edit(&rel, |folder| folder.watched = false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;
    use std::time::Duration;

    use notify::event::Flag;

    use super::*;
    use crate::health::Board;
    use crate::tree::{Catalog, Message, Patience, Settings, Tree};

    const NEVER: Duration = Duration::from_secs(86_400);

    async fn wait_for(tree: &Tree, done: impl Fn(&Catalog) -> bool) {
        let mut changes = tree.changes();
        let wait = async {
            while !done(&tree.catalog()) {
                changes.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
        assert!(waited.is_ok(), "it never came true");
    }

    #[tokio::test]
    async fn notifications_that_were_lost_lead_to_a_look_at_everything() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("ota");
        fs::create_dir_all(root.join("dev/key")).unwrap();
        // Nothing is watched and no sweep comes by itself.
        let settings = Settings {
            root: root.clone(),
            state: dir.path().join("state"),
            patience: Patience {
                settle: Duration::ZERO,
                removal_grace: Duration::ZERO,
                quiet: Duration::ZERO,
            },
            sweep: NEVER,
            poll: NEVER,
            largest_image: 1 << 20,
            memory: 1 << 20,
            keys: Default::default(),
            prefix: None,
            keep_previous: 0,
            live: false,
        };
        let tree = Tree::start(settings, &Arc::new(Board::new())).unwrap();
        wait_for(&tree, |catalog| catalog.complete).await;
        fs::create_dir(root.join("dev/other")).unwrap();
        let lost = notify::Event::new(EventKind::Other).set_flag(Flag::Rescan);
        tree.messages.send(Message::Event(Ok(lost))).unwrap();
        wait_for(&tree, |catalog| {
            catalog.at(Path::new("dev/other")).is_some()
        })
        .await;
    }
}
