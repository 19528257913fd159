//! Copies of images in the state folder, so that a file that was overwritten or deleted can be had again.
//!
//! `kept/<sha-256>` holds the bytes, `kept/slots.json` says which slot gave which, newest first. What is delivered for the
//! first time is kept, and what people publish, replace or delete.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::disk;
use crate::firmware::{Family, Image, ImageKind, Sha256};
use crate::health::Board;

use super::{Settings, beside, hasher};

/// Between two attempts, when one failed.
const RETRY: Duration = Duration::from_secs(60);

/// People may read the copies: that is what they are for.
const MODE: u32 = 0o644;

/// What was asked for. Locked for a moment only: every download looks here, also while a copy is being written.
#[derive(Default)]
struct Asked {
    newest: HashMap<(PathBuf, ImageKind), Sha256>,
    /// After a failure nothing is tried for a while: a full disk is not filled by trying.
    failed: Option<Instant>,
}

/// One image that a slot gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copy {
    /// Its id, and the name of the copy.
    pub id: Sha256,
    /// What it is for.
    pub kind: ImageKind,
    /// When it was kept.
    pub kept: Option<Timestamp>,
    /// Its length in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Whose image it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// Its name for people, in its bytes or in `<image>.toml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Box<str>>,
    /// Its version, in its bytes or in `<image>.toml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Box<str>>,
    /// What people wrote about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<Box<str>>,
    /// `<image>.minisig`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Box<str>>,
}

impl Copy {
    /// An image of the tree, at this path now.
    pub(super) fn of(image: &Image, path: &Path) -> Self {
        Self {
            id: image.facts.id(),
            kind: image.kind,
            kept: Some(Timestamp::now()),
            size: Some(image.facts.size),
            family: Some(image.facts.family),
            title: image.facts.title.clone(),
            version: image.facts.version.clone(),
            note: image.note.clone(),
            signature: beside::signature(path),
        }
    }
}

/// A line of the list: earlier ones were ids alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Id(Sha256),
    Copy(Box<Copy>),
}

impl From<Line> for Copy {
    fn from(line: Line) -> Self {
        match line {
            Line::Copy(copy) => *copy,
            Line::Id(id) => Self {
                id,
                kind: ImageKind::Firmware,
                kept: None,
                size: None,
                family: None,
                title: None,
                version: None,
                note: None,
                signature: None,
            },
        }
    }
}

/// Slot → its images, newest first.
type Slots = BTreeMap<PathBuf, Vec<Copy>>;

/// The copies.
pub struct Kept {
    folder: PathBuf,
    root: PathBuf,
    /// Per slot, beside the one in use.
    previous: usize,
    slots: Mutex<Slots>,
    asked: Mutex<Asked>,
    board: Arc<Board>,
}

fn parse(text: &[u8]) -> serde_json::Result<Slots> {
    let lines: BTreeMap<PathBuf, Vec<Line>> = serde_json::from_slice(text)?;
    let slots = lines.into_iter();
    Ok(slots
        .map(|(slot, lines)| (slot, lines.into_iter().map(Copy::from).collect()))
        .collect())
}

impl Kept {
    pub(super) fn open(settings: &Settings, board: Arc<Board>) -> Self {
        let folder = settings.state.join("kept");
        let slots = match fs::read(folder.join("slots.json")) {
            Ok(text) => parse(&text).unwrap_or_else(|error| {
                tracing::warn!(%error, folder = %folder.display(), "the list of kept images is broken; it begins anew, the copies stay");
                Slots::new()
            }),
            Err(_) => Slots::new(),
        };
        if settings.live
            && let Err(error) = disk::tidy(&folder)
        {
            tracing::warn!(%error, folder = %folder.display(), "what a killed server left cannot be removed");
        }
        let previous = settings.keep_previous;
        Self {
            folder,
            root: settings.root.clone(),
            previous,
            slots: Mutex::new(slots),
            asked: Mutex::default(),
            board,
        }
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder with the copies.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The images that a slot gave, newest first.
    pub(super) fn of(&self, slot: &Path) -> Vec<Copy> {
        self.slots().get(slot).cloned().unwrap_or_default()
    }

    /// The bytes of a copy; `None` when it is gone or is not what it was.
    pub(super) fn bytes(&self, id: Sha256) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.folder.join(id.to_string())) {
            Ok(bytes) => Ok((Sha256::of(&bytes) == id).then_some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Says once for each image of a slot that a copy is to be kept. Never waits for a copy under way.
    pub(super) fn wants(&self, image: &Image) -> bool {
        let slot = image.path.parent().unwrap_or(Path::new(""));
        let id = image.facts.id();
        let mut asked = self.asked();
        let key = (slot.to_owned(), image.kind);
        if self.previous == 0
            || asked.newest.get(&key) == Some(&id)
            || asked.failed.is_some_and(|at| at.elapsed() < RETRY)
        {
            return false;
        }
        asked.newest.insert(key, id);
        true
    }

    /// Keeps a copy, unless the slot's newest is this one. A failure is said on the board and stops nothing.
    pub(super) fn keep(&self, image: &Image) {
        let result = self.store(image);
        if result.is_err() {
            let slot = image.path.parent().unwrap_or(Path::new(""));
            let mut asked = self.asked();
            asked.newest.remove(&(slot.to_owned(), image.kind));
            asked.failed = Some(Instant::now());
        }
        let text = result.err().map(|error| {
            format!(
                "copies of images cannot be kept in {} ({error}); they are served all the same",
                self.folder.display()
            )
        });
        self.board.trouble("kept-images", text);
    }

    /// Keeps a copy, unless the slot's newest is this one. Says whether there is one; not when the file changed in this
    /// moment.
    pub(super) fn store(&self, image: &Image) -> io::Result<bool> {
        if self.previous == 0 {
            return Ok(true);
        }
        let slot = image.path.parent().unwrap_or(Path::new(""));
        let mut slots = self.slots();
        let newest = slots
            .get(slot)
            .and_then(|copies| copies.iter().find(|copy| copy.kind == image.kind));
        let copy = Copy::of(image, &self.root.join(&image.path));
        let kept = copy.kept;
        let same = newest.is_some_and(|newest| {
            Copy {
                kept,
                ..newest.clone()
            } == copy
        });
        if same && self.folder.join(image.facts.id().to_string()).exists() {
            return Ok(true);
        }
        if !self.copy(image)? {
            return Ok(false);
        }
        self.enter(&mut slots, slot, copy)?;
        Ok(true)
    }

    /// Says whether the copy is there; not when the file changed in this moment.
    fn copy(&self, image: &Image) -> io::Result<bool> {
        let path = self.folder.join(image.facts.id().to_string());
        if path.exists() {
            return Ok(true);
        }
        let Some(bytes) = hasher::read_whole(&self.root.join(&image.path), image.stamp)? else {
            return Ok(false);
        };
        if Sha256::of(&bytes) != image.facts.id() {
            return Ok(false);
        }
        fs::create_dir_all(&self.folder)?;
        disk::place(&path, &bytes, MODE)?;
        Ok(true)
    }

    fn enter(&self, slots: &mut Slots, slot: &Path, copy: Copy) -> io::Result<()> {
        let mut all = slots.clone();
        let copies = all.entry(slot.to_owned()).or_default();
        copies.retain(|other| other.id != copy.id);
        let kind = copy.kind;
        copies.insert(0, copy);
        let mut left = self.previous + 1;
        let mut dropped = Vec::new();
        copies.retain(|copy| {
            let stays = copy.kind != kind || left > 0;
            left -= usize::from(copy.kind == kind && stays);
            if !stays {
                dropped.push(copy.id);
            }
            stays
        });
        let list = serde_json::to_vec_pretty(&all)?;
        disk::place(&self.folder.join("slots.json"), &list, MODE)?;
        *slots = all;
        for id in dropped {
            if slots.values().flatten().any(|copy| copy.id == id) {
                continue;
            }
            match fs::remove_file(self.folder.join(id.to_string())) {
                // Somebody has tidied up by hand.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}
