//! What links lead to: a change in a folder is also a change for those that see it through a link. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// What one folder sees through links.
#[derive(Debug, Default)]
struct Sight {
    /// Where it lies itself, when the way to it is a link.
    lies: Option<PathBuf>,
    /// Folders with files that links in it point to.
    files: BTreeSet<PathBuf>,
}

impl Sight {
    fn sees(&self, target: &Path) -> bool {
        self.lies.as_deref() == Some(target) || self.files.contains(target)
    }

    fn targets(&self) -> BTreeSet<PathBuf> {
        self.lies.iter().chain(&self.files).cloned().collect()
    }
}

/// All links of the tree, in both directions. Paths are relative to the root.
#[derive(Debug, Default)]
pub struct Links {
    sights: BTreeMap<PathBuf, Sight>,
    seers: HashMap<PathBuf, BTreeSet<PathBuf>>,
}

impl Links {
    /// The folders that see this one through a link.
    pub fn seers(&self, target: &Path) -> impl Iterator<Item = &PathBuf> {
        self.seers.get(target).into_iter().flatten()
    }

    /// A folder lies elsewhere than its path says, or does not any more (`None`). Gives what nobody sees any more.
    pub fn lies(&mut self, folder: &Path, target: Option<PathBuf>) -> Vec<PathBuf> {
        if target.is_none() && !self.sights.contains_key(folder) {
            return Vec::new();
        }
        self.change(folder, |sight| sight.lies = target)
    }

    /// A folder holds links to files in these folders, and to no others.
    pub fn files(&mut self, folder: &Path, targets: BTreeSet<PathBuf>) {
        if !targets.is_empty() || self.sights.contains_key(folder) {
            // Where a file is, is watched because of its folder or not at all: there is nothing to let go.
            self.change(folder, |sight| sight.files = targets);
        }
    }

    /// A folder is gone, with all below it. Gives what nobody sees any more.
    pub fn forget(&mut self, folder: &Path) -> Vec<PathBuf> {
        let below = self.sights.range(folder.to_owned()..);
        let gone: Vec<PathBuf> = below
            .map(|(seer, _)| seer.clone())
            .take_while(|seer| seer.starts_with(folder))
            .collect();
        let mut unseen = Vec::new();
        for seer in gone {
            unseen.extend(self.change(&seer, |sight| *sight = Sight::default()));
        }
        unseen
    }

    fn change(&mut self, seer: &Path, change: impl FnOnce(&mut Sight)) -> Vec<PathBuf> {
        let sight = self.sights.entry(seer.to_owned()).or_default();
        let before = sight.targets();
        change(sight);
        for target in sight.targets() {
            let seers = self.seers.entry(target).or_default();
            seers.insert(seer.to_owned());
        }
        let mut unseen = Vec::new();
        for target in before.into_iter().filter(|target| !sight.sees(target)) {
            let Some(seers) = self.seers.get_mut(&target) else {
                continue;
            };
            seers.remove(seer);
            if seers.is_empty() {
                self.seers.remove(&target);
                unseen.push(target);
            }
        }
        if sight.lies.is_none() && sight.files.is_empty() {
            self.sights.remove(seer);
        }
        unseen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> PathBuf {
        text.into()
    }

    fn paths(texts: &[&str]) -> BTreeSet<PathBuf> {
        texts.iter().map(PathBuf::from).collect()
    }

    fn seers(links: &Links, target: &str) -> BTreeSet<PathBuf> {
        links.seers(Path::new(target)).cloned().collect()
    }

    #[test]
    fn who_sees_a_folder_hears_of_it_until_the_last_link_is_gone() {
        let mut links = Links::default();
        assert!(
            links
                .lies(Path::new("dev/rose"), Some(path("dev/lotus")))
                .is_empty()
        );
        links.files(Path::new("dev/rose"), paths(&["dev/lotus", "dev/tulip"]));
        links.lies(Path::new("dev/aster"), Some(path("dev/lotus")));
        assert_eq!(
            seers(&links, "dev/lotus"),
            paths(&["dev/aster", "dev/rose"])
        );
        assert_eq!(seers(&links, "dev/tulip"), paths(&["dev/rose"]));
        // The link is a folder by now, but a file in it still points there.
        assert!(links.lies(Path::new("dev/rose"), None).is_empty());
        assert_eq!(
            seers(&links, "dev/lotus"),
            paths(&["dev/aster", "dev/rose"])
        );
        links.files(Path::new("dev/rose"), paths(&["dev/tulip"]));
        assert_eq!(seers(&links, "dev/lotus"), paths(&["dev/aster"]));
        // It points elsewhere.
        let unseen = links.lies(Path::new("dev/aster"), Some(path("dev/tulip")));
        assert_eq!(unseen, [path("dev/lotus")]);
        assert!(links.forget(Path::new("dev/rose")).is_empty());
        assert_eq!(links.forget(Path::new("dev/aster")), [path("dev/tulip")]);
        assert!(links.sights.is_empty() && links.seers.is_empty());
    }

    #[test]
    fn a_folder_that_is_gone_takes_all_below_it_and_nothing_else() {
        let mut links = Links::default();
        for n in 0..100 {
            let seer = format!("dev/rose/n{n}");
            links.lies(Path::new(&seer), Some(format!("dev/lotus/n{n}").into()));
        }
        links.lies(Path::new("dev/rose"), Some(path("dev/lotus")));
        links.lies(Path::new("dev/rose.2"), Some(path("dev/lotus")));
        links.lies(Path::new("dev/r"), Some(path("dev/lotus")));
        assert_eq!(links.forget(Path::new("dev/rose")).len(), 100);
        assert_eq!(seers(&links, "dev/lotus"), paths(&["dev/r", "dev/rose.2"]));
        assert_eq!((links.sights.len(), links.seers.len()), (2, 1));
    }

    #[test]
    fn what_has_no_link_costs_nothing() {
        let mut links = Links::default();
        assert!(links.lies(Path::new("dev/lotus"), None).is_empty());
        links.files(Path::new("dev/lotus"), BTreeSet::new());
        assert!(links.forget(Path::new("dev")).is_empty());
        assert!(links.sights.is_empty() && links.seers.is_empty());
    }
}
