//! Looking at one folder: watch first (after the first scan), then read, then judge. Part of the keeper.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::catalog::{Candidate, Folder, Known, Outcome};
use super::ground;
use super::keeper::{KINDS, Keeper};
use super::problem::Problem;
use super::read::{self, ReadError, Reading};

/// A folder that could not be read is tried again after this time.
const RETRY: Duration = Duration::from_secs(10);

/// A folder that could be read and not watched is looked at again after this time.
const SOON: Duration = Duration::from_secs(1);

impl Keeper {
    /// Watches a folder, reads it, and takes what it holds into the catalogue.
    pub(super) fn look(&mut self, rel: &Path) {
        let Some(root) = self.root.clone() else {
            return;
        };
        if self.still.contains(rel) {
            // Half of an order is no picture; there is a look when it is over. The first scan is not over before that.
            if !self.catalog.complete && self.sweeping {
                self.sweep.insert(0, rel.to_owned());
            }
            return;
        }
        let known = self
            .catalog
            .at(rel)
            .map(|folder| (folder.inode, folder.watched));
        let mut watched = known.is_some_and(|(_, watched)| watched);
        if !watched {
            watched = self.watch(&root, rel);
        }
        let mut reading = read::read_folder(&root, rel);
        if let (Some((inode, true)), Ok(now)) = (known, &reading)
            && inode != now.inode
            && inode != 0
        {
            // Another folder under the same name: the watch is still on the old one.
            self.let_go(rel);
            watched = self.watch(&root, rel);
            reading = read::read_folder(&root, rel);
        }
        if reading.is_ok() && !watched && self.can_watch() {
            // It came back between the two: the next look watches it.
            self.wake(rel, SOON);
        }
        match reading {
            Ok(reading) => self.accept(rel, reading, watched),
            // A folder of a tree that is gone, swapped or unmounted as a whole was not removed.
            Err(ReadError::Gone) if !self.root_stands() => self.lose_root(rel),
            Err(ReadError::Gone) => self.vanish(rel),
            Err(ReadError::Failed(error)) => self.unreadable(rel, &error),
        }
    }

    fn unreadable(&mut self, rel: &Path, error: &std::io::Error) {
        if rel.as_os_str().is_empty() {
            self.shout(format!(
                "the root of the tree cannot be read ({error}); what was read before is served on"
            ));
            return;
        }
        let problem = Problem::new(
            rel,
            format!("this folder cannot be read ({error}); what was read before is served on"),
            "make it readable for the server's user",
        );
        if self.catalog.at(rel).is_none_or(|folder| folder.inode == 0) {
            // Never read: nothing less specific may be given instead of what it may hold.
            self.catalog.edit(rel, |folder| folder.unread = true);
            self.changed = true;
        }
        self.set_problems(rel, Arc::new([problem]), None);
        self.wake(rel, RETRY);
    }

    fn accept(&mut self, rel: &Path, reading: Reading, watched: bool) {
        if rel.as_os_str().is_empty() {
            let known = self
                .catalog
                .at(rel)
                .is_some_and(|root| !root.children.is_empty());
            if known && reading.folders.is_empty() {
                self.shout(ground::empty(&self.settings.root));
                return;
            }
            if self.lost {
                // It is back, and what was watched of it is another matter.
                self.check_root();
                return;
            }
        }
        let before = self.catalog.at(rel).cloned().unwrap_or_default();
        let first = before.inode == 0;
        let Reading {
            inode,
            files,
            folders,
            linked,
            order,
            problems,
            drafts,
        } = reading;
        self.tidy(&self.settings.root.join(rel), &drafts);
        self.links.files(rel, linked);
        self.accept_folders(rel, &before, &folders);

        let files = self.accept_files(rel, &before, files);
        let same = files.len() == before.files.len()
            && files.iter().zip(&before.files).all(|(new, old)| {
                (&new.name, new.stamp, &new.beside, new.renamed)
                    == (&old.name, old.stamp, &old.beside, old.renamed)
            });
        // What comes back after it was gone has to be quiet like anything that changed.
        let order = order.map(Box::new);
        let same_order = before.read_order == order;
        if !(same && same_order) && (!first || self.restless.contains_key(rel)) {
            self.touch(rel);
        }
        let read_problems: Arc<[Problem]> = problems.into();
        if first
            || !same
            || !same_order
            || before.unread
            || before.watched != watched
            || before.inode != inode
            || before.read_problems != read_problems
        {
            let files: Box<[Known]> = files.into();
            self.catalog.edit(rel, |folder| {
                folder.inode = inode;
                folder.watched = watched;
                folder.unread = false;
                folder.files = files;
                folder.read_problems = read_problems;
                folder.read_order = order;
            });
            self.changed = true;
        }
        if first {
            self.hold_fresh(rel);
        }
        self.judge(rel);
    }

    fn accept_folders(&mut self, rel: &Path, before: &Folder, folders: &[(Box<str>, u64)]) {
        // Those that left first: a folder that was renamed must be let go before it is watched under its new name.
        let there = |name: &str| {
            folders
                .binary_search_by(|(other, _)| (**other).cmp(name))
                .is_ok()
        };
        let left: Vec<PathBuf> = before
            .children
            .iter()
            .filter(|(name, _)| !there(name))
            .map(|(name, _)| rel.join(name.as_ref()))
            .collect();
        for child in left {
            self.vanish(&child);
        }
        for (name, inode) in folders {
            let child = rel.join(&**name);
            if self.sweeping {
                self.enqueue_sweep(child);
            } else if before
                .children
                .get(name)
                .is_none_or(|old| old.inode != *inode || !old.watched)
            {
                self.enqueue(&child);
            }
        }
    }

    fn accept_files(&mut self, rel: &Path, before: &Folder, files: Vec<read::Seen>) -> Vec<Known> {
        let renamed = self
            .restless
            .get(rel)
            .map(|restless| restless.renamed.clone())
            .unwrap_or_default();
        files
            .into_iter()
            .map(|seen| {
                let read::Seen {
                    name,
                    kind,
                    rank,
                    stamp,
                    beside,
                } = seen;
                let old = before
                    .files
                    .iter()
                    .find(|old| old.name == name && old.stamp == stamp && old.kind == kind);
                let (outcome, racy) = match old {
                    // What could not be read may be readable now.
                    Some(Known {
                        outcome: Outcome::Unreadable(_),
                        ..
                    }) => (Outcome::Pending, false),
                    Some(old) => (old.outcome.clone(), old.racy),
                    None => self.found_out(rel, &name, kind, stamp),
                };
                if old.is_none()
                    && let Outcome::Sound(facts) = &outcome
                {
                    self.seen.add(facts, false);
                }
                let renamed = renamed.contains(&name) || old.is_some_and(|old| old.renamed);
                Known {
                    name,
                    kind,
                    rank,
                    stamp,
                    outcome,
                    racy,
                    renamed,
                    beside,
                }
            })
            .collect()
    }

    /// A folder is not there any more: its images are removed, each after its grace, and then the folder is.
    fn vanish(&mut self, rel: &Path) {
        let Some(folder) = self.catalog.at(rel).cloned() else {
            return;
        };
        if rel.as_os_str().is_empty() {
            return;
        }
        if folder.inode != 0 || folder.unread {
            self.let_go(rel);
            self.forget_links(rel);
            self.touch(rel);
            self.catalog.edit(rel, |folder| {
                folder.inode = 0;
                folder.unread = false;
                folder.files = Box::default();
                folder.read_problems = Arc::default();
                folder.read_order = None;
            });
            self.changed = true;
        }
        let children: Vec<PathBuf> = folder
            .children
            .iter()
            .map(|(name, _)| rel.join(name.as_ref()))
            .collect();
        for child in children {
            self.vanish(&child);
        }
        self.judge(rel);
        self.drop_if_over(rel);
    }

    /// Takes a vanished folder out when nothing is left to wait for, and then its parents.
    pub(super) fn drop_if_over(&mut self, rel: &Path) {
        let mut rel = rel.to_owned();
        while !rel.as_os_str().is_empty()
            && let Some(folder) = self.catalog.at(&rel)
        {
            let absent = KINDS
                .iter()
                .all(|kind| *folder.candidate(*kind) == Candidate::Absent);
            let governs = folder.order.is_some();
            let stays = folder.inode != 0 || folder.unread || !folder.children.is_empty();
            if stays || governs || !absent {
                return;
            }
            self.catalog.remove(&rel);
            self.restless.remove(&rel);
            self.changed = true;
            rel.pop();
        }
    }
}
