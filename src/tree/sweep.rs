//! Sweeps: looking at every folder, at first and now and then. Part of the keeper.

use std::path::PathBuf;
use std::time::Instant;

use super::keeper::Keeper;

impl Keeper {
    pub(super) fn sweep_all(&mut self) {
        let watched = self
            .watches
            .as_ref()
            .is_some_and(|watches| watches.trouble().is_none());
        self.next_sweep = Instant::now()
            + if watched {
                self.settings.sweep
            } else {
                self.settings.poll
            };
        if self.root.is_none() {
            return;
        }
        self.sweeping = true;
        self.sweep.clear();
        self.sweep.push(PathBuf::new());
    }

    pub(super) fn swept(&mut self) {
        let trouble = self
            .watches
            .as_ref()
            .and_then(|watches| watches.trouble().map(ToString::to_string));
        self.board.trouble("watching", trouble);
        if self.catalog.complete {
            return;
        }
        self.catalog.complete = true;
        self.changed = true;
        let (mut folders, mut files) = (0_usize, 0_usize);
        self.catalog.visit(|_, folder| {
            folders += 1;
            files += folder.files.len();
        });
        let waiting = self.hasher.waiting();
        tracing::info!(
            folders,
            images = files,
            to_examine = waiting,
            problems = self.problems,
            "the tree is read"
        );
        self.say_progress();
        self.digests.forget();
        if self.settings.live {
            self.digests.rewrite(&self.catalog);
        }
    }

    pub(super) fn say_progress(&self) {
        let waiting = self.hasher.waiting();
        let text = match (self.catalog.complete, waiting) {
            (false, _) => Some("the tree is being read for the first time".to_owned()),
            (true, 0) => None,
            (true, waiting) => Some(format!("{waiting} images wait to be examined")),
        };
        self.board.progress("scan", text);
    }
}
