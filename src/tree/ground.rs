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
                    // It is back. The kernel has dropped the watches of a file system that was unmounted, and says so
                    // to nobody; what happened meanwhile is found by a look.
                    self.found_again();
                    self.adopt(found);
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

    /// A folder could not be read because the root is gone or empty: it is said, and the sweep is over.
    pub(super) fn lose_root(&mut self, rel: &Path) {
        self.check_root();
        if self.root_stands() {
            // It was away for a moment only, or is another one by now.
            self.enqueue(rel);
            return;
        }
        if !self.lost {
            self.shout(empty(&self.settings.root));
        }
        self.sweep.clear();
    }

    pub(super) fn found_again(&mut self) {
        self.lost = false;
        self.board.trouble("tree", None);
    }

    pub(super) fn shout(&mut self, text: String) {
        self.lost = true;
        self.board.trouble("tree", Some(text));
        // Who waits for the tree may want to give up.
        self.wake_waiters();
    }

    /// Another tree under the same name: all watches are made anew.
    pub(super) fn adopt(&mut self, root: Root) {
        self.listen(&root);
        self.root = Some(root);
        self.sweep_all();
    }

    /// Listens anew, with no folder watched yet.
    pub(super) fn listen(&mut self, root: &Root) {
        let messages = self.to_self.clone();
        self.watches = self.settings.live.then(|| {
            Watches::start(&root.path, move |event| {
                // The keeper ends with the last handle of the tree; nobody listens then.
                let _ = messages.send(Message::Event(event));
            })
        });
        self.forget_watches();
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::{Arc, mpsc};
    use std::time::{Duration, Instant};

    use arc_swap::ArcSwap;
    use tempfile::TempDir;

    use super::*;
    use crate::health::Board;
    use crate::tree::hasher::Hasher;
    use crate::tree::{Catalog, Patience, Settings, Tree};

    fn settings(dir: &TempDir) -> Settings {
        Settings {
            root: dir.path().join("ota"),
            state: dir.path().join("state"),
            patience: Patience {
                settle: Duration::ZERO,
                removal_grace: Duration::ZERO,
                quiet: Duration::ZERO,
            },
            sweep: Duration::from_secs(86_400),
            poll: Duration::from_secs(86_400),
            largest_image: 1 << 20,
            memory: 1 << 20,
            keys: Default::default(),
            prefix: None,
            keep_previous: 0,
            live: false,
        }
    }

    /// A tree of many folders, and a keeper that has read some of them.
    fn in_the_middle(dir: &TempDir) -> (Keeper, Arc<ArcSwap<Catalog>>, Arc<Board>) {
        for n in 0..100 {
            fs::create_dir_all(dir.path().join(format!("ota/dev/lotus/n{n}"))).unwrap();
        }
        let published = Arc::new(ArcSwap::from_pointee(Catalog::default()));
        let board = Arc::new(Board::new());
        let mut keeper = Keeper::new(
            settings(dir),
            Hasher::start(1 << 20, |_| {}).unwrap(),
            Arc::default(),
            board.clone(),
            mpsc::channel().0,
            Arc::downgrade(&published),
            tokio::sync::watch::channel(0).0,
        );
        keeper.check_root();
        for _ in 0..3 {
            keeper.work();
        }
        assert!(!keeper.sweep.is_empty() && !keeper.catalog.complete);
        (keeper, published, board)
    }

    fn work_to_the_end(keeper: &mut Keeper) {
        let end = Instant::now() + Duration::from_secs(20);
        while !keeper.sweep.is_empty() || !keeper.queue.is_empty() || keeper.sweeping {
            assert!(Instant::now() < end, "it never ends");
            keeper.work();
        }
    }

    fn assert_not_read(keeper: &mut Keeper, board: &Board, text: &str) {
        work_to_the_end(keeper);
        assert!(!keeper.catalog.complete, "a failed scan is no scan");
        assert!(board.now()["tree"].contains(text), "{:?}", board.now());
        keeper.check_root();
        work_to_the_end(keeper);
        assert!(!keeper.catalog.complete && board.now().contains_key("tree"));
    }

    fn assert_read(keeper: &mut Keeper, board: &Board) {
        keeper.check_root();
        work_to_the_end(keeper);
        assert!(keeper.catalog.complete && !board.now().contains_key("tree"));
        let lotus = keeper.catalog.at(Path::new("dev/lotus")).unwrap();
        assert_eq!(lotus.children.len(), 100);
    }

    #[test]
    fn a_root_that_vanishes_in_the_middle_of_the_first_scan_leaves_it_open() {
        let dir = tempfile::tempdir().unwrap();
        let (mut keeper, _published, board) = in_the_middle(&dir);
        let (root, away) = (dir.path().join("ota"), dir.path().join("away"));
        fs::rename(&root, &away).unwrap();
        assert_not_read(&mut keeper, &board, "cannot be read");
        fs::rename(&away, &root).unwrap();
        assert_read(&mut keeper, &board);
    }

    #[test]
    fn a_root_that_is_emptied_in_the_middle_of_the_first_scan_leaves_it_open() {
        let dir = tempfile::tempdir().unwrap();
        let (mut keeper, _published, board) = in_the_middle(&dir);
        let (org, away) = (dir.path().join("ota/dev"), dir.path().join("away"));
        fs::rename(&org, &away).unwrap();
        assert_not_read(&mut keeper, &board, "is suddenly empty");
        fs::rename(&away, &org).unwrap();
        assert_read(&mut keeper, &board);
    }

    #[test]
    fn a_root_that_is_unmounted_in_the_middle_of_the_first_scan_leaves_it_open() {
        let dir = tempfile::tempdir().unwrap();
        let (mut keeper, _published, board) = in_the_middle(&dir);
        let (root, away) = (dir.path().join("ota"), dir.path().join("away"));
        fs::rename(&root, &away).unwrap();
        // The mount point below it.
        fs::create_dir(&root).unwrap();
        assert_not_read(&mut keeper, &board, "is suddenly empty");
        fs::remove_dir(&root).unwrap();
        fs::rename(&away, &root).unwrap();
        assert_read(&mut keeper, &board);
    }

    #[test]
    fn a_root_that_was_removed_takes_all_watches_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let (mut keeper, _published, _board) = in_the_middle(&dir);
        work_to_the_end(&mut keeper);
        let lotus = Path::new("dev/lotus");
        keeper.catalog.edit(lotus, |folder| folder.watched = true);
        let root = keeper.root.as_ref().unwrap().path.to_path_buf();
        let removed = notify::EventKind::Remove(notify::event::RemoveKind::Folder);
        keeper.hear_event(&notify::Event::new(removed).add_path(root));
        assert!(!keeper.catalog.at(lotus).unwrap().watched);
        assert!(!keeper.sweep.is_empty(), "all is watched anew");
    }

    #[test]
    fn a_root_that_is_back_is_watched_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (mut keeper, _published, board) = in_the_middle(&dir);
        work_to_the_end(&mut keeper);
        let lotus = Path::new("dev/lotus");
        keeper.catalog.edit(lotus, |folder| folder.watched = true);
        let (root, away) = (dir.path().join("ota"), dir.path().join("away"));
        fs::rename(&root, &away).unwrap();
        keeper.check_root();
        assert!(board.now().contains_key("tree"));
        fs::rename(&away, &root).unwrap();
        keeper.check_root();
        assert!(!keeper.catalog.at(lotus).unwrap().watched);
        assert_read(&mut keeper, &board);
    }

    #[test]
    fn a_look_at_a_root_that_is_back_watches_it_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (mut keeper, _published, board) = in_the_middle(&dir);
        work_to_the_end(&mut keeper);
        let (root, away) = (dir.path().join("ota"), dir.path().join("away"));
        fs::rename(&root, &away).unwrap();
        keeper.check_root();
        fs::rename(&away, &root).unwrap();
        keeper
            .catalog
            .edit(Path::new("dev/lotus"), |folder| folder.watched = true);
        keeper.look(Path::new(""));
        assert!(!board.now().contains_key("tree"));
        let lotus = keeper.catalog.at(Path::new("dev/lotus")).unwrap();
        assert!(!lotus.watched, "what it was is watched, not what it is");
        assert_eq!(keeper.sweep, [Path::new("")]);
    }

    #[test]
    fn an_empty_root_at_the_start_is_a_tree_without_images() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("ota")).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let catalog = runtime.block_on(Tree::read_once(settings(&dir))).unwrap();
        assert!(catalog.complete);
    }

    #[test]
    fn what_reads_a_tree_once_hears_that_it_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("ota")).unwrap();
        let board = Arc::new(Board::new());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let tree = Tree::start(
            Settings {
                root: dir.path().join("none"),
                ..settings(&dir)
            },
            &board,
        );
        let end = tree.unwrap().first_scan(&board);
        let end =
            runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), end).await });
        assert!(
            end.unwrap()
                .unwrap_err()
                .to_string()
                .contains("cannot be read")
        );
    }
}
