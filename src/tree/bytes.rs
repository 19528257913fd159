//! The bytes of an image. No device ever receives a mix of two images: what is sent is what was hashed.
//!
//! Images that fit into `[tree] memory` are read once, checked against their SHA-256, and shared by all readers.
//! Others are read piece by piece from an open file, whose stamp must stay what it was.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use crate::firmware::{Image, Sha256, Stamp};

use super::{Settings, hasher, read};

/// Why the bytes of an image cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// The file is not the one that was examined.
    #[error("the file changed")]
    Changed,
    /// It cannot be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(Arc<io::Error>),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            Self::Changed
        } else {
            Self::Unreadable(Arc::new(error))
        }
    }
}

/// The bytes of one image.
#[derive(Debug, Clone)]
pub enum Content {
    /// All of them, shared.
    Memory(Bytes),
    /// To be read as they are sent.
    File(Arc<CheckedFile>),
}

/// An open file that must not change.
#[derive(Debug)]
pub struct CheckedFile {
    file: File,
    stamp: Stamp,
}

impl CheckedFile {
    fn open(path: &Path, stamp: Stamp) -> Result<Self, OpenError> {
        let file = read::open(path)?;
        let checked = Self { file, stamp };
        checked.check()?;
        Ok(checked)
    }

    fn check(&self) -> Result<(), OpenError> {
        if read::stamp(&self.file.metadata()?) == self.stamp {
            Ok(())
        } else {
            Err(OpenError::Changed)
        }
    }

    /// Reads a piece; at most `length` bytes from `offset`. Reads: not for async threads.
    ///
    /// # Errors
    /// When the file changed since it was examined, before or while it was read.
    pub fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, OpenError> {
        let mut piece = vec![0; length];
        self.file
            .read_exact_at(&mut piece, offset)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => OpenError::Changed,
                _ => error.into(),
            })?;
        self.check()?;
        Ok(piece.into())
    }
}

/// An image in memory. Whoever sends it shares it; its room is free again when the last one is done.
struct Held {
    bytes: Vec<u8>,
    used: Arc<AtomicU64>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.used
            .fetch_sub(self.bytes.len() as u64, Ordering::Relaxed);
    }
}

struct Share(Arc<Held>);

impl AsRef<[u8]> for Share {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

type Loading = Arc<OnceCell<Result<Weak<Held>, OpenError>>>;

#[derive(Default)]
struct Shelves {
    held: HashMap<Sha256, Weak<Held>>,
    /// Kept alive beyond their readers, oldest first.
    recent: VecDeque<(Sha256, Arc<Held>)>,
    loading: HashMap<Sha256, Loading>,
}

/// All images in memory.
pub struct Store {
    root: PathBuf,
    memory: u64,
    used: Arc<AtomicU64>,
    shelves: Mutex<Shelves>,
}

impl Store {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            root: settings.root.clone(),
            memory: settings.memory,
            used: Arc::default(),
            shelves: Mutex::default(),
        }
    }

    fn shelves(&self) -> std::sync::MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of an image, as they were when it was examined.
    ///
    /// # Errors
    /// When the file is another one by now, or cannot be read.
    pub async fn open(self: &Arc<Self>, image: &Arc<Image>) -> Result<Content, OpenError> {
        let id = image.facts.id();
        let loading = {
            let mut shelves = self.shelves();
            if let Some(held) = shelves.held.get(&id).and_then(Weak::upgrade) {
                return Ok(Content::Memory(Bytes::from_owner(Share(held))));
            }
            if !self.make_room(&mut shelves, image.facts.size) {
                None
            } else {
                Some(shelves.loading.entry(id).or_default().clone())
            }
        };
        let path = self.root.join(&image.path);
        let Some(loading) = loading else {
            let stamp = image.stamp;
            let file = spawn_blocking(move || CheckedFile::open(&path, stamp))
                .await
                .map_err(io::Error::from)??;
            return Ok(Content::File(Arc::new(file)));
        };
        let (store, wanted) = (self.clone(), image.clone());
        let load = async move {
            let load = || async move {
                let loaded = spawn_blocking(move || store.load(&wanted)).await;
                loaded.map_err(|error| OpenError::from(io::Error::from(error)))?
            };
            loading.get_or_init(load).await.clone()
        };
        // A task of its own: a device that stops waiting must not make the next one read the image again.
        let held = tokio::spawn(load).await.map_err(io::Error::from)?;
        self.shelves().loading.remove(&id);
        // Only an image that was squeezed out in this very moment is not there; the device asks again.
        let held = held?.upgrade().ok_or(OpenError::Changed)?;
        Ok(Content::Memory(Bytes::from_owner(Share(held))))
    }

    /// Lets go of images that nobody reads until there is room; says whether there is.
    fn make_room(&self, shelves: &mut Shelves, size: u64) -> bool {
        if size > self.memory {
            return false;
        }
        while self.used.load(Ordering::Relaxed) + size > self.memory {
            if shelves.recent.pop_front().is_none() {
                return false;
            }
        }
        shelves.held.retain(|_, held| held.strong_count() > 0);
        true
    }

    fn load(&self, image: &Image) -> Result<Weak<Held>, OpenError> {
        let bytes = hasher::read_whole(&self.root.join(&image.path), image.stamp)?
            .ok_or(OpenError::Changed)?;
        let id = image.facts.id();
        if Sha256::of(&bytes) != id {
            return Err(OpenError::Changed);
        }
        self.used.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let held = Arc::new(Held {
            bytes,
            used: self.used.clone(),
        });
        let mut shelves = self.shelves();
        shelves.held.insert(id, Arc::downgrade(&held));
        shelves.recent.push_back((id, held.clone()));
        Ok(Arc::downgrade(&held))
    }
}
