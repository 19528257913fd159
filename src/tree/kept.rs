//! Copies of delivered images in the state folder, so that a file that was overwritten or deleted can be had again.
//!
//! `kept/<sha-256>` holds the bytes, `kept/slots.json` says which slot delivered which, newest first.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::disk;
use crate::firmware::{Image, Sha256};
use crate::health::Board;

use super::{Settings, hasher};

/// Between two attempts, when one failed.
const RETRY: Duration = Duration::from_secs(60);

/// People may read the copies: that is what they are for.
const MODE: u32 = 0o644;

/// What was asked for. Locked for a moment only: every download looks here, also while a copy is being written.
#[derive(Default)]
struct Asked {
    newest: HashMap<PathBuf, Sha256>,
    /// After a failure nothing is tried for a while: a full disk is not filled by trying.
    failed: Option<Instant>,
}

/// Slot → ids of delivered images, newest first.
type Slots = BTreeMap<PathBuf, Vec<Sha256>>;

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

impl Kept {
    pub(super) fn open(settings: &Settings, board: Arc<Board>) -> Self {
        let folder = settings.state.join("kept");
        let slots = match fs::read(folder.join("slots.json")) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
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

    /// Says once for each image of a slot that a copy is to be kept. Never waits for a copy under way.
    pub(super) fn wants(&self, image: &Image) -> bool {
        let slot = image.path.parent().unwrap_or(Path::new(""));
        let id = image.facts.id();
        let mut asked = self.asked();
        if self.previous == 0
            || asked.newest.get(slot) == Some(&id)
            || asked.failed.is_some_and(|at| at.elapsed() < RETRY)
        {
            return false;
        }
        asked.newest.insert(slot.to_owned(), id);
        true
    }

    /// Keeps a copy, unless the slot's newest is this one. A failure is said on the board and stops nothing.
    pub(super) fn keep(&self, image: &Image) {
        if self.previous == 0 {
            return;
        }
        let slot = image.path.parent().unwrap_or(Path::new(""));
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.get(slot).and_then(|ids| ids.first()) == Some(&image.facts.id()) {
            return;
        }
        let result = self.copy(image).and_then(|copied| {
            if copied {
                self.enter(&mut slots, slot, image.facts.id())
            } else {
                Ok(())
            }
        });
        if result.is_err() {
            let mut asked = self.asked();
            asked.newest.remove(slot);
            asked.failed = Some(Instant::now());
        }
        let text = result.err().map(|error| {
            format!(
                "delivered images cannot be kept in {} ({error}); they are served all the same",
                self.folder.display()
            )
        });
        self.board.trouble("kept-images", text);
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

    fn enter(&self, slots: &mut Slots, slot: &Path, id: Sha256) -> io::Result<()> {
        let ids = slots.entry(slot.to_owned()).or_default();
        ids.retain(|other| *other != id);
        ids.insert(0, id);
        let dropped = ids.split_off(ids.len().min(self.previous + 1));
        let list = serde_json::to_vec_pretty(slots)?;
        disk::place(&self.folder.join("slots.json"), &list, MODE)?;
        for id in dropped {
            if !slots.values().any(|ids| ids.contains(&id)) {
                fs::remove_file(self.folder.join(id.to_string()))?;
            }
        }
        Ok(())
    }
}
