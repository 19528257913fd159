//! Sweeps: looking at every folder, at first and now and then. Part of the keeper.

use std::path::PathBuf;
use std::time::Instant;

use super::catalog::Outcome;
use super::keeper::Keeper;

impl Keeper {
    pub(super) fn sweep_all(&mut self) {
        self.next_sweep = Instant::now() + self.settings.poll;
        let Some(root) = self.root.clone() else {
            return;
        };
        self.sweeping = true;
        match &mut self.watches {
            Some(watches) if watches.is_deaf() => self.listen(&root),
            Some(watches) => watches.try_again(),
            None => {}
        }
        self.sweep.clear();
        self.sweep.push(PathBuf::new());
    }

    pub(super) fn swept(&mut self) {
        let trouble = self
            .watches
            .as_ref()
            .and_then(|watches| watches.trouble().map(ToString::to_string));
        self.next_sweep = Instant::now()
            + if trouble.is_none() && self.watches.is_some() {
                self.settings.sweep
            } else {
                self.settings.poll
            };
        self.board.trouble("watching", trouble);
        if self.catalog.complete {
            self.digests.try_again(&self.catalog);
            return;
        }
        // What was read of a tree that is gone says nothing. When the root is back, the first scan begins anew.
        if self.lost {
            return;
        }
        self.catalog.complete = true;
        self.changed = true;
        self.forget_unsought();
        let (mut folders, mut files) = (0_usize, 0_usize);
        let mut pending = Vec::new();
        self.catalog.visit(|rel, folder| {
            folders += 1;
            files += folder.files.len();
            if folder
                .files
                .iter()
                .any(|file| file.outcome == Outcome::Pending)
            {
                pending.push(rel.to_owned());
            }
        });
        // What is known already is published before the long work begins.
        self.publish(true);
        // A device that waits overtakes all of these.
        self.sweeping = true;
        for rel in pending {
            self.judge(&rel);
        }
        self.sweeping = false;
        self.say_progress();
        let waiting = self.hasher.waiting();
        tracing::info!(
            folders,
            images = files,
            to_examine = waiting,
            problems = self.problems,
            "the tree is read"
        );
        let exact = self.digests.forget();
        if self.settings.live {
            self.digests.go_on(exact, &self.catalog);
            // What changed since a folder was read is found by the sweep that watches it.
            self.sweep_all();
        }
    }

    pub(super) fn say_progress(&mut self) {
        let waiting = self.hasher.waiting();
        if self.catalog.complete && waiting == 0 {
            self.examining_all = false;
        }
        let text = match (self.catalog.complete, waiting) {
            (false, _) => Some("the tree is being read for the first time".to_owned()),
            (true, 0) => None,
            (true, waiting) => Some(format!("{waiting} images wait to be examined")),
        };
        self.board.progress("scan", text);
    }
}
