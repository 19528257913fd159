//! `ota.toml` of the folders: when what one says counts. Part of the keeper.
//!
//! As with images, a change counts when its folder has been quiet for `settle`: a copy under way may be cut in the middle
//! of `hold = true`. Until then what was known before counts, and where nothing was, everything below is held.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::firmware::{Order, Policy, Word};

use super::catalog::Folder;
use super::keeper::Keeper;
use super::problem::Problem;
use super::{beside, hasher};

impl Keeper {
    /// Lets the policy of a folder count that was read there, if the folder is quiet. Says after which time to look
    /// again.
    pub(super) fn govern(&mut self, rel: &Path, folder: &Folder) -> Option<Duration> {
        let read = folder.read_order.as_ref().map(|read| &read.1);
        if folder.order.as_ref() == read {
            return None;
        }
        let since = self.restless.get(rel).and_then(|memory| memory.last_change);
        let calm_for = match (since, &folder.read_order) {
            (Some(since), _) => since.elapsed(),
            (None, Some(read)) => hasher::age(read.0),
            (None, None) => Duration::MAX,
        };
        let settle = self.settings.patience.settle;
        if calm_for >= settle {
            let order = read.cloned();
            self.set_order(rel, order);
            return None;
        }
        if since.is_none() {
            // From now on the clock that cannot be set counts.
            self.restless.entry(rel.to_owned()).or_default().last_change = Some(Instant::now());
        }
        Some(settle.saturating_sub(calm_for))
    }

    /// A policy was found in a folder of which nothing was known: it holds until it is known to be whole.
    pub(super) fn hold_fresh(&mut self, rel: &Path) {
        let Some(folder) = self.catalog.at(rel) else {
            return;
        };
        let (None, Some(read)) = (&folder.order, &folder.read_order) else {
            return;
        };
        let fresh = Order {
            word: Word::Fresh,
            ..Order::clone(&read.1)
        };
        self.set_order(rel, Some(Arc::new(fresh)));
    }

    fn set_order(&mut self, rel: &Path, order: Option<Arc<Order>>) {
        say(rel, order.as_deref());
        match &order {
            Some(order) => self.orders.insert(rel.to_owned(), order.clone()),
            None => self.orders.remove(rel),
        };
        let asked = order.as_deref().and_then(Order::must_contain);
        let before = self
            .catalog
            .at(rel)
            .and_then(|folder| folder.order.as_deref());
        let is_news = asked != before.and_then(Order::must_contain);
        self.catalog.edit(rel, |folder| folder.order = order);
        if is_news {
            self.seek_anew(rel);
        }
        self.catalog.governed = !self.orders.is_empty();
        self.changed = true;
    }

    /// Before the tree is read, a device waits for its slots. What is ordered above them must be known, too.
    pub(super) fn look_at_orders(&mut self, slots: &[PathBuf]) {
        let Some(root) = self.root.clone() else {
            return;
        };
        let above: BTreeSet<&Path> = slots.iter().flat_map(|slot| slot.ancestors()).collect();
        for rel in above {
            if self.catalog.at(rel).is_some_and(|folder| folder.inode != 0) {
                continue;
            }
            let found = beside::read_order(&root, rel);
            if found.is_some() {
                self.catalog
                    .edit(rel, |folder| folder.read_order = found.map(Box::new));
                self.hold_fresh(rel);
                if let Some(folder) = self.catalog.at(rel).cloned()
                    && let Some(after) = self.govern(rel, &folder)
                {
                    self.wake(rel, after);
                }
            }
        }
    }
}

/// What a person should know of the policy that counts in a folder.
pub(super) fn problem(folder: &Folder) -> Option<Problem> {
    let order = folder.order.as_deref()?;
    let Word::Bad(why) = &order.word else {
        return None;
    };
    Some(Problem::new(
        &order.file,
        format!("it is no policy, so nothing is given in its folder and below: {why}"),
        "correct it, or remove it",
    ))
}

fn say(rel: &Path, order: Option<&Order>) {
    let folder = rel.display();
    match order.map(|order| &order.word) {
        None => tracing::info!(%folder, "an ota.toml counts no more"),
        Some(Word::Policy(policy)) => {
            let Policy {
                hold,
                downgrade,
                by_hand,
                must_contain,
            } = policy;
            tracing::info!(%folder, ?hold, ?downgrade, ?by_hand, ?must_contain, "an ota.toml counts");
        }
        // The problem says it; and what is fresh is said when it is known.
        Some(Word::Bad(_) | Word::Fresh) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc;

    use arc_swap::ArcSwap;

    use super::*;
    use crate::firmware::{Brakes, Device, HoldReason};
    use crate::health::Board;
    use crate::tree::hasher::Hasher;
    use crate::tree::{Catalog, Patience, Settings};

    const HOUR: Duration = Duration::from_secs(3600);

    /// A keeper that has read nothing yet, over a tree with these policies.
    fn keeper(dir: &Path, settle: Duration, policies: &[(&str, &str)]) -> Keeper {
        for (folder, text) in policies {
            let folder = dir.join("ota").join(folder);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("ota.toml"), text).unwrap();
        }
        let settings = Settings {
            root: dir.join("ota"),
            state: dir.join("state"),
            patience: Patience {
                settle,
                removal_grace: Duration::ZERO,
                quiet: Duration::ZERO,
            },
            sweep: HOUR,
            poll: HOUR,
            largest_image: 1 << 20,
            memory: 1 << 20,
            keys: Default::default(),
            prefix: None,
            keep_previous: 0,
            live: false,
        };
        let published = Arc::new(ArcSwap::from_pointee(Catalog::default()));
        let mut keeper = Keeper::new(
            settings,
            Hasher::start(1 << 20, |_| {}).unwrap(),
            Arc::default(),
            Arc::new(Board::new()),
            mpsc::channel().0,
            Arc::downgrade(&published),
            tokio::sync::watch::channel(0).0,
        );
        keeper.check_root();
        keeper
    }

    fn held(keeper: &Keeper) -> Option<HoldReason> {
        let device = Device::parse("dev", "lotus", "node", "key").unwrap();
        Brakes::of(&keeper.catalog.orders(&device), None).held
    }

    #[test]
    fn what_is_ordered_above_the_slots_is_known_before_the_tree_is_read() {
        for folder in ["", "dev", "dev/lotus", "dev/+", "dev/lotus/node/key"] {
            let dir = tempfile::tempdir().unwrap();
            let mut keeper = keeper(dir.path(), Duration::ZERO, &[(folder, "hold = true")]);
            let device = Device::parse("dev", "lotus", "node", "key").unwrap();
            let slots = device.slots().map(|slot| slot.words().iter().collect());
            keeper.look_at_orders(&slots);
            assert_eq!(held(&keeper), Some(HoldReason::OnHold), "{folder:?}");
            assert!(!keeper.catalog.complete && !keeper.sweep.is_empty());
        }
    }

    #[test]
    fn a_policy_of_which_nothing_was_known_holds_until_it_is_settled() {
        let dir = tempfile::tempdir().unwrap();
        let mut keeper = keeper(dir.path(), HOUR, &[("dev/lotus", "downgrade = \"never\"")]);
        keeper.look(Path::new("dev/lotus"));
        assert_eq!(held(&keeper), Some(HoldReason::NotSettled));
        keeper.settings.patience.settle = Duration::ZERO;
        keeper.look(Path::new("dev/lotus"));
        assert_eq!(held(&keeper), None);
    }
}
