//! The hands that change slots: they hold a folder still, keep what they replace, exchange files, and tell the keeper.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::disk::{self, Draft};
use crate::firmware::{Facts, Family, Image, ImageKind, Sha256, Slot, format};

use super::catalog::{Candidate, Catalog, Folder, Known, Outcome};
use super::change::{Expect, Notes, PublishError, Published, Removed};
use super::changed::{Done, What};
use super::exchange::{self, MODE, Placing};
use super::keeper::Message;
use super::kept::Kept;
use super::read::Root;
use super::slots::{self, Turns};
use super::{change, folders, give, hasher, read};

/// Between the decision of a poll and the bytes for it there is never more time.
const MEANWHILE: Duration = Duration::from_secs(60);

/// What everybody needs who changes a slot.
pub(super) struct Hands {
    pub messages: mpsc::Sender<Message>,
    pub catalog: Arc<ArcSwap<Catalog>>,
    pub kept: Arc<Kept>,
    pub turns: Turns,
    pub largest: u64,
    /// One image at a time is held in memory to be examined.
    examining: Mutex<()>,
    /// What was replaced a moment ago, oldest first.
    replaced: Mutex<VecDeque<(Instant, Arc<Image>)>>,
}

/// A folder that stands still in the catalogue until this is dropped.
pub(super) struct Still<'a> {
    hands: &'a Hands,
    folder: PathBuf,
}

impl Still<'_> {
    /// The slot as it is, as of a look a moment ago.
    pub(super) fn now(&self) -> Arc<Folder> {
        let catalog = self.hands.catalog.load();
        catalog.at(&self.folder).cloned().unwrap_or_default()
    }

    fn check(&self, kind: ImageKind, expect: Expect) -> Result<Arc<Folder>, PublishError> {
        let folder = self.now();
        let now = slots::revision(&folder);
        let fine = match expect {
            Expect::Any => true,
            Expect::Absent => folder.files.iter().all(|file| file.kind != kind),
            Expect::Revision(expected) => now == Some(expected),
        };
        match fine {
            true => Ok(folder),
            false => Err(PublishError::Changed { now }),
        }
    }

    /// Has the keeper take in what was done, and waits until the catalogue has it.
    fn done(&self, kind: ImageKind, what: What) -> Result<Arc<Folder>, PublishError> {
        self.hands.ask(|reply| {
            Message::Done(Box::new(Done {
                folder: self.folder.clone(),
                what: Some((kind, what)),
                reply: Some(reply),
            }))
        })?;
        Ok(self.now())
    }
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        // After an order that was carried out this is one more look. An error means that the server ends.
        let _ = self.hands.messages.send(Message::Done(Box::new(Done {
            folder: self.folder.clone(),
            what: None,
            reply: None,
        })));
    }
}

impl Hands {
    pub(super) fn new(
        messages: mpsc::Sender<Message>,
        catalog: Arc<ArcSwap<Catalog>>,
        kept: Arc<Kept>,
        largest: u64,
    ) -> Self {
        Self {
            messages,
            catalog,
            kept,
            turns: Turns::default(),
            largest,
            examining: Mutex::default(),
            replaced: Mutex::default(),
        }
    }

    pub(super) fn ask<T>(
        &self,
        question: impl FnOnce(mpsc::Sender<T>) -> Message,
    ) -> Result<T, PublishError> {
        let (reply, answer) = mpsc::channel();
        let sent = self.messages.send(question(reply));
        sent.map_err(|_| PublishError::NoTree)?;
        answer.recv().map_err(|_| PublishError::NoTree)
    }

    /// The root, if it is there.
    pub(super) fn ground(&self) -> Result<Root, PublishError> {
        self.ask(Message::Ground)?.ok_or(PublishError::NoTree)
    }

    pub(super) fn still(&self, slot: &Slot) -> Result<Still<'_>, PublishError> {
        let folder = slot.folder();
        self.ask(|reply| Message::Still(folder.clone(), reply))?;
        Ok(Still {
            hands: self,
            folder,
        })
    }

    /// Begins a file in the folder of a slot; where there is none yet, in the nearest one above it.
    pub(super) fn begin(&self, slot: &Slot) -> Result<Draft, PublishError> {
        let root = self.ground()?;
        let rel = folders::nearest(&root, slot)?;
        let place = root.path.join(&rel).join("firmware.bin");
        Draft::beside(&place, MODE).map_err(|error| PublishError::of(&rel, error))
    }

    /// Reads what the bytes of a draft say, as the disk has them.
    pub(super) fn examine(
        &self,
        draft: &mut Draft,
        kind: ImageKind,
        rel: &Path,
    ) -> Result<(Facts, &'static str), PublishError> {
        let _one = self
            .examining
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let bytes = draft
            .read_back()
            .map_err(|error| PublishError::of(rel, error))?;
        let facts = format::examine(&bytes, kind)?;
        Ok((facts, format::file_name(&bytes, kind)))
    }

    /// Puts an image in its place, and gives it to devices.
    pub(super) fn place(
        &self,
        still: &Still<'_>,
        placing: Placing<'_>,
    ) -> Result<Published, PublishError> {
        let Placing {
            slot,
            kind,
            ordered,
            ..
        } = placing;
        placing.notes.text()?;
        change::check_length(placing.signature)?;
        let root = self.ground()?;
        let before = still.check(kind, placing.expect)?;
        let replaced = self.given(&root, slot, &before, kind)?;
        let is = placing.facts.family;
        if let (Some(image), false) = (&replaced, placing.force_family)
            && image.facts.family != Family::Unknown
            && image.facts.family != is
        {
            let was = image.facts.family;
            return Err(PublishError::WrongFamily { is, was });
        }
        self.keep_all(&root, &slot.folder(), &before, kind)?;
        let (name, facts) = (placing.name, placing.facts.clone());
        let made = folders::make(&root, slot)?;
        if let Some(image) = &replaced {
            self.note_replaced(image);
        }
        let stamp = exchange::place(&root, &before, placing)?;
        made.stay();
        let after = still.done(
            kind,
            What::Placed {
                name: name.into(),
                stamp,
                facts: facts.clone(),
                ordered,
            },
        )?;
        let held = match after.candidate(kind) {
            Candidate::Offered(offer) if offer.image.facts.id() == facts.id() => {
                self.kept.keep(&offer.image);
                None
            }
            Candidate::Withheld { reason, .. } => Some(*reason),
            // In this very moment somebody has put something else there.
            Candidate::Absent | Candidate::Offered(_) => {
                let now = slots::revision(&after);
                return Err(PublishError::Changed { now });
            }
        };
        let shadowed = after.files.iter();
        Ok(Published {
            slot: slot.clone(),
            kind,
            id: facts.id(),
            before: replaced.map(|image| image.facts.id()),
            path: slot.folder().join(name),
            facts,
            shadowed: shadowed
                .filter(|file| file.kind == kind && *file.name != *name)
                .map(|file| file.name.clone())
                .collect(),
            held,
            revision: slots::revision(&after),
        })
    }

    /// The image that is the choice of a slot, given or withheld, also when it was not examined yet.
    pub(super) fn given(
        &self,
        root: &Root,
        slot: &Slot,
        folder: &Folder,
        kind: ImageKind,
    ) -> Result<Option<Image>, PublishError> {
        let rel = slot.folder();
        let file = slots::chosen(folder, kind);
        let image = file.map(|file| sound(root, &rel, file)).transpose();
        Ok(image
            .map_err(|error| PublishError::of(&rel, error))?
            .flatten())
    }

    fn note_replaced(&self, image: &Image) {
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        replaced.retain(|(at, _)| at.elapsed() < MEANWHILE);
        replaced.push_back((Instant::now(), Arc::new(image.clone())));
    }

    /// The kept copy of an image that was replaced a moment ago: a device that was told of it gets it still.
    pub(super) fn replaced(&self, image: &Image) -> Option<Arc<Image>> {
        let replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        replaced.iter().find(|(at, old)| {
            at.elapsed() < MEANWHILE && (&old.path, old.stamp) == (&image.path, image.stamp)
        })?;
        drop(replaced);
        // Where it is does not begin at the root of the tree, and so is not sought there.
        let path = self.kept.folder().join(image.facts.id().to_string());
        let stamp = read::stamp(&fs::metadata(&path).ok()?);
        Some(Arc::new(Image {
            path: path.into(),
            stamp,
            ..image.clone()
        }))
    }

    /// Removes all images of a kind, after each was kept.
    pub(super) fn take_out(
        &self,
        still: &Still<'_>,
        slot: &Slot,
        kind: ImageKind,
        expect: Expect,
    ) -> Result<Removed, PublishError> {
        let root = self.ground()?;
        let rel = slot.folder();
        let before = still.check(kind, expect)?;
        let given = self.given(&root, slot, &before, kind)?;
        // Whoever is killed in between leaves the one that was given, and nothing that it hid.
        let names: Vec<&str> = files(&before, kind)
            .iter()
            .map(|file| &*file.name)
            .collect();
        if names.is_empty() {
            let slot = slot.clone();
            return Err(PublishError::Nothing { slot, kind });
        }
        folders::nearest(&root, slot)?;
        self.keep_all(&root, &rel, &before, kind)?;
        let folder = root.path.join(&rel);
        for name in &names {
            exchange::take_away(&folder, name).map_err(|error| PublishError::of(&rel, error))?;
        }
        disk::sync_folder(&folder).map_err(|error| PublishError::of(&rel, error))?;
        still.done(kind, What::Removed)?;
        Ok(Removed {
            before: given.map(|image| image.facts.id()),
            files: names.iter().map(|name| rel.join(name)).collect(),
        })
    }

    /// Writes what people say of the image that a slot has.
    pub(super) fn describe(
        &self,
        still: &Still<'_>,
        slot: &Slot,
        kind: ImageKind,
        notes: &Notes,
        expect: Expect,
    ) -> Result<Option<Sha256>, PublishError> {
        let root = self.ground()?;
        let rel = slot.folder();
        let before = still.check(kind, expect)?;
        let Some(file) = slots::chosen(&before, kind) else {
            let slot = slot.clone();
            return Err(PublishError::Nothing { slot, kind });
        };
        folders::nearest(&root, slot)?;
        let path = root.path.join(&rel).join(format!("{}.toml", file.name));
        match notes.text()? {
            Some(text) => disk::place(&path, text.as_bytes(), MODE),
            None => exchange::remove(&path),
        }
        .map_err(|error| PublishError::of(&rel, error))?;
        let name = file.name.clone();
        let after = still.done(kind, What::Described { name })?;
        Ok(slots::revision(&after))
    }

    /// Keeps a copy of every image of a kind that is in a slot, the one that is given last.
    fn keep_all(
        &self,
        root: &Root,
        rel: &Path,
        folder: &Folder,
        kind: ImageKind,
    ) -> Result<(), PublishError> {
        for file in files(folder, kind) {
            let Some(image) =
                sound(root, rel, file).map_err(|error| PublishError::of(rel, error))?
            else {
                continue;
            };
            match self.kept.store(&image) {
                Ok(true) => {}
                Ok(false) => {
                    let now = slots::revision(folder);
                    return Err(PublishError::Changed { now });
                }
                Err(error) => return Err(PublishError::of(self.kept.folder(), error)),
            }
        }
        Ok(())
    }
}

/// The files of a kind, the one that is given last.
fn files(folder: &Folder, kind: ImageKind) -> Vec<&Known> {
    let chosen = slots::chosen(folder, kind).map(|file| &file.name);
    let all = folder.files.iter();
    let mut files: Vec<&Known> = all.filter(|file| file.kind == kind).collect();
    files.sort_by_key(|file| Some(&file.name) == chosen);
    files
}

/// A file as an image; `None` when it is none. One that was not examined yet is examined here.
pub(super) fn sound(root: &Root, rel: &Path, file: &Known) -> io::Result<Option<Image>> {
    let facts = match &file.outcome {
        Outcome::Sound(facts) => Some(facts.clone()),
        Outcome::Defective(_) | Outcome::Unreadable(_) => None,
        Outcome::Pending => hasher::read_whole(&root.path.join(rel).join(&*file.name), file.stamp)?
            .and_then(|bytes| format::examine(&bytes, file.kind).ok())
            .map(Arc::new),
    };
    Ok(facts.map(|facts| give::image(rel, file, &facts, None)))
}
