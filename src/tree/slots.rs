//! Slots as people see them, and who may change one now.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::firmware::{ImageKind, Sha256, Slot};

use super::catalog::{Candidate, Catalog, Folder, Known, Outcome};
use super::holds::Hold;
use super::problem::Problem;

/// What is in a slot.
#[derive(Debug, Clone)]
pub struct SlotView {
    /// Which slot.
    pub slot: Slot,
    /// Its folder, as it was last read.
    pub folder: Arc<Folder>,
    /// Another one whenever a file, a note or a sum in it is another; `None` when it holds no image file.
    pub revision: Option<Sha256>,
    /// What people hold there and above it, beside the files of the tree.
    pub holds: Vec<Hold>,
}

impl SlotView {
    pub(super) fn of(slot: &Slot, catalog: &Catalog) -> Option<Self> {
        let folder = catalog.folder(slot.words())?.clone();
        Some(Self {
            slot: slot.clone(),
            revision: revision(&folder),
            folder,
            holds: catalog.holds.over(&slot.words().collect::<Vec<_>>()),
        })
    }

    /// What the slot has of this kind.
    #[must_use]
    pub fn candidate(&self, kind: ImageKind) -> &Candidate {
        self.folder.candidate(kind)
    }

    /// The file that is the choice of this kind, given or withheld.
    #[must_use]
    pub fn chosen(&self, kind: ImageKind) -> Option<&Known> {
        chosen(&self.folder, kind)
    }

    /// The id of that file, where it is sound.
    #[must_use]
    pub fn id(&self, kind: ImageKind) -> Option<Sha256> {
        id(self.chosen(kind)?)
    }

    /// The image files in it, of either kind.
    #[must_use]
    pub fn files(&self) -> &[Known] {
        &self.folder.files
    }

    /// What is wrong in it.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.folder.problems
    }
}

/// The file that is the choice of a kind, given or withheld.
pub(super) fn chosen(folder: &Folder, kind: ImageKind) -> Option<&Known> {
    let name = match folder.candidate(kind) {
        Candidate::Absent => return None,
        Candidate::Withheld { file, .. } => file.as_deref()?,
        Candidate::Offered(offer) => offer.image.path.file_name()?.to_str()?,
    };
    folder
        .files
        .iter()
        .find(|file| file.kind == kind && *file.name == *name)
}

/// The id of a file that was examined and is sound.
pub(super) fn id(file: &Known) -> Option<Sha256> {
    match &file.outcome {
        Outcome::Sound(facts) => Some(facts.id()),
        Outcome::Pending | Outcome::Defective(_) | Outcome::Unreadable(_) => None,
    }
}

/// One sum of all that a slot holds.
pub(super) fn revision(folder: &Folder) -> Option<Sha256> {
    if folder.files.is_empty() {
        return None;
    }
    let mut text = String::new();
    for file in &folder.files {
        // Writing to a string does not fail.
        let _ = match id(file) {
            Some(id) => write!(text, "{} {id}", file.name),
            None => write!(text, "{} {:?}", file.name, file.stamp),
        };
        let _ = writeln!(text, " {:?}", file.beside);
    }
    Some(Sha256::of(text.as_bytes()))
}

/// The slots that are being changed. One at a time: who comes second sees what the first one did.
#[derive(Debug, Default)]
pub(super) struct Turns {
    taken: Mutex<HashSet<Slot>>,
    freed: Condvar,
}

impl Turns {
    /// Waits until nobody changes any of these slots. All are taken at once, so nobody waits for each other.
    pub(super) fn take(&self, slots: &[&Slot]) -> Turn<'_> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self
            .freed
            .wait_while(taken, |taken| slots.iter().any(|slot| taken.contains(slot)))
            .unwrap_or_else(PoisonError::into_inner);
        taken.extend(slots.iter().map(|&slot| slot.clone()));
        Turn {
            turns: self,
            slots: slots.iter().map(|&slot| slot.clone()).collect(),
        }
    }
}

/// The right to change slots; it ends with this.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    slots: Vec<Slot>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut taken = self
            .turns
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for slot in &self.slots {
            taken.remove(slot);
        }
        drop(taken);
        self.turns.freed.notify_all();
    }
}
