//! The immutable picture of the tree: slot → candidate. Readers take an `Arc` and never wait.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::firmware::{
    Defect, Device, Facts, Found, HoldReason, ImageKind, Offer, Order, Sha256, SlotPath, Stamp,
};

use super::holds::Holds;
use super::judge::Sealing;
use super::problem::Problem;
use super::shelf::Shelf;

/// What a slot has of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Candidate {
    /// No file of this kind: the search goes on.
    #[default]
    Absent,
    /// There is one, and it is not given: the search ends here.
    Withheld {
        /// Why.
        reason: HoldReason,
        /// Its name; `None` when it was removed a moment ago.
        file: Option<Box<str>>,
    },
    /// This one is given: the search ends here.
    Offered(Offer),
}

/// What the examination of a file came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Not examined yet.
    Pending,
    /// An image.
    Sound(Arc<Facts>),
    /// Not an image for any device.
    Defective(Arc<Defect>),
    /// It could not be read; the sentence says why.
    Unreadable(Arc<str>),
}

/// A candidate file as it was last read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its name in the folder.
    pub name: Box<str>,
    /// What it is for.
    pub kind: ImageKind,
    /// The lowest rank wins.
    pub rank: u8,
    /// Which file it is.
    pub stamp: Stamp,
    /// What its bytes say.
    pub outcome: Outcome,
    /// It was examined so shortly after a change that the same stamp may stand for other bytes: look again.
    pub racy: bool,
    /// Evidence from outside its bytes that it is whole: renamed into place.
    pub renamed: bool,
    /// The sums beside it, and what people say of it.
    pub beside: Option<Box<Beside>>,
}

/// What small files beside an image say of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Beside {
    /// `<image>.md5`
    pub md5: Option<crate::firmware::Md5>,
    /// `<image>.sha256`
    pub sha256: Option<Sha256>,
    /// `<image>.minisig`: its signature.
    pub signature: Option<Box<str>>,
    /// `<image>.toml`: a name for people.
    pub title: Option<Box<str>>,
    /// `<image>.toml`: the version, where the bytes have none or a wrong one.
    pub version: Option<Box<str>>,
    /// `<image>.toml`: free text.
    pub description: Option<Box<str>>,
}

/// One folder of the tree.
#[derive(Debug, Clone, Default)]
pub struct Folder {
    /// Inode of the folder when it was last read; 0 before that.
    pub inode: u64,
    /// The app of this slot.
    pub firmware: Candidate,
    /// The filesystem image of this slot.
    pub filesystem: Candidate,
    /// The candidate files, as last read.
    pub files: Box<[Known]>,
    /// What its `ota.toml` says, as far as it counts by now.
    pub order: Option<Arc<Order>>,
    /// What its `ota.toml` said when it was last read, and which file it was.
    pub read_order: Option<Box<(Stamp, Arc<Order>)>>,
    /// What its org asks of signatures; `None` where it has no keys.
    pub sealing: Option<Arc<Sealing>>,
    /// What is wrong with what was read here.
    pub read_problems: Arc<[Problem]>,
    /// What is wrong here, all of it.
    pub problems: Arc<[Problem]>,
    /// It is there and could not be read yet: nobody knows what it holds.
    pub unread: bool,
    /// Its changes are reported by the kernel.
    pub watched: bool,
    /// The folders in it.
    pub children: Shelf<Arc<Folder>>,
}

impl Folder {
    /// What the slot has of this kind.
    #[must_use]
    pub const fn candidate(&self, kind: ImageKind) -> &Candidate {
        match kind {
            ImageKind::Firmware => &self.firmware,
            ImageKind::Filesystem => &self.filesystem,
        }
    }

    /// The same, to change it.
    pub(super) const fn candidate_mut(&mut self, kind: ImageKind) -> &mut Candidate {
        match kind {
            ImageKind::Firmware => &mut self.firmware,
            ImageKind::Filesystem => &mut self.filesystem,
        }
    }
}

/// The picture of the tree at one moment. A copy is cheap.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    root: Arc<Folder>,
    /// Every folder was read at least once.
    pub complete: bool,
    /// Some folder has a policy.
    pub governed: bool,
    /// What people hold beside that.
    pub(super) holds: Arc<Holds>,
}

/// One of the seven slots as a search saw it.
#[derive(Debug)]
pub struct Tried<'a> {
    /// Where.
    pub slot: SlotPath<'a>,
    /// What was there; `None` when the folder does not exist, or nobody knows whether it does.
    pub folder: Option<&'a Arc<Folder>>,
    /// It, or a folder on the way to it, could not be read.
    pub unread: bool,
}

impl<'a> Tried<'a> {
    /// What the slot has of this kind, as far as it could be read.
    #[must_use]
    pub fn candidate(&self, kind: ImageKind) -> &'a Candidate {
        self.folder
            .map_or(&Candidate::Absent, |folder| folder.candidate(kind))
    }

    /// The search for an image of this kind ends here.
    #[must_use]
    pub fn ends(&self, kind: ImageKind) -> bool {
        self.unread || *self.candidate(kind) != Candidate::Absent
    }
}

impl Catalog {
    pub(super) const fn root(&self) -> &Arc<Folder> {
        &self.root
    }

    /// The folder at this path below the root.
    pub fn folder<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Option<&Arc<Folder>> {
        words
            .into_iter()
            .try_fold(&self.root, |folder, word| folder.children.get(word))
    }

    /// The folder at this relative path.
    #[must_use]
    pub fn at(&self, path: &Path) -> Option<&Arc<Folder>> {
        path.components().try_fold(&self.root, |folder, part| {
            folder.children.get(part.as_os_str().to_str()?)
        })
    }

    /// The seven slots of a device, most specific first, with what is there.
    pub fn search<'a>(&'a self, device: &'a Device) -> impl Iterator<Item = Tried<'a>> {
        device.slots().into_iter().map(|slot| self.reach(slot))
    }

    pub(super) fn reach<'a>(&'a self, slot: SlotPath<'a>) -> Tried<'a> {
        let mut folder = &self.root;
        for word in slot.words() {
            let Some(child) = folder.children.get(word) else {
                return Tried {
                    slot,
                    folder: None,
                    unread: folder.unread,
                };
            };
            folder = child;
        }
        Tried {
            slot,
            folder: Some(folder),
            unread: folder.unread,
        }
    }

    /// What a device finds: the first slot that holds any candidate of this kind ends the search. So does a folder on
    /// the way that could not be read: what it holds may be meant for this very device.
    #[must_use]
    pub fn find(&self, device: &Device, kind: ImageKind) -> Found {
        for tried in self.search(device) {
            match tried.candidate(kind) {
                Candidate::Absent if tried.unread => {
                    return Found::Withheld(HoldReason::Unreadable);
                }
                Candidate::Absent => {}
                Candidate::Withheld { reason, .. } => return Found::Withheld(*reason),
                Candidate::Offered(offer) => return Found::Offered(offer.clone()),
            }
        }
        Found::Nothing
    }

    /// Every folder with its path, parents before children, in no other order.
    pub fn visit(&self, mut see: impl FnMut(&Path, &Folder)) {
        fn go(path: &mut PathBuf, folder: &Folder, see: &mut impl FnMut(&Path, &Folder)) {
            see(path, folder);
            for (name, child) in folder.children.iter() {
                path.push(name.as_ref());
                go(path, child, see);
                path.pop();
            }
        }
        go(&mut PathBuf::new(), &self.root, &mut see);
    }

    /// No file waits to be examined.
    #[must_use]
    pub fn is_examined(&self) -> bool {
        let mut examined = true;
        self.visit(|_, folder| {
            examined &= folder
                .files
                .iter()
                .all(|file| file.outcome != Outcome::Pending)
        });
        examined
    }

    /// All problems of the tree, by path.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut all = Vec::new();
        self.visit(|_, folder| all.extend_from_slice(&folder.problems));
        all.sort();
        all
    }

    /// Changes one folder, made with its parents where it is not there. Older copies of the catalogue are untouched.
    pub(super) fn edit<R>(&mut self, path: &Path, change: impl FnOnce(&mut Folder) -> R) -> R {
        let mut folder = Arc::make_mut(&mut self.root);
        for part in path.components() {
            let name = part.as_os_str().to_string_lossy();
            folder = Arc::make_mut(folder.children.entry(&name, Arc::default));
        }
        change(folder)
    }

    /// Takes a folder out, with all below it.
    pub(super) fn remove(&mut self, path: &Path) -> Option<Arc<Folder>> {
        self.at(path)?;
        let (parent, name) = (path.parent()?, path.file_name()?.to_str()?);
        self.edit(parent, |folder| folder.children.remove(name))
    }
}

#[cfg(test)]
#[path = "catalog_tests.rs"]
mod tests;
