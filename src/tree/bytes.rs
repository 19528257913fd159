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
use tokio::sync::watch;
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

/// Room in memory that is taken; it is free again when this is dropped.
struct Room {
    size: u64,
    used: Arc<AtomicU64>,
}

impl Room {
    fn take(size: u64, used: &Arc<AtomicU64>) -> Self {
        used.fetch_add(size, Ordering::Relaxed);
        Self {
            size,
            used: used.clone(),
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.used.fetch_sub(self.size, Ordering::Relaxed);
    }
}

/// An image in memory. Whoever sends it shares it; its room is free again when the last one is done.
struct Held {
    bytes: Vec<u8>,
    _room: Room,
}

struct Share(Arc<Held>);

impl AsRef<[u8]> for Share {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl From<Arc<Held>> for Content {
    fn from(held: Arc<Held>) -> Self {
        Self::Memory(Bytes::from_owner(Share(held)))
    }
}

/// An image that is being read; empty until it was.
type Loading = watch::Receiver<Option<Result<Arc<Held>, OpenError>>>;

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
                return Ok(held.into());
            }
            match shelves.loading.get(&id) {
                // One whose thread is gone will never be read.
                Some(loading) if loading.has_changed().is_ok() => Some(loading.clone()),
                Some(_) | None => self.begin(&mut shelves, image),
            }
        };
        let Some(mut loading) = loading else {
            let (path, stamp) = (self.root.join(&image.path), image.stamp);
            let file = spawn_blocking(move || CheckedFile::open(&path, stamp))
                .await
                .map_err(io::Error::from)??;
            return Ok(Content::File(Arc::new(file)));
        };
        let loaded = loading.wait_for(Option::is_some).await;
        match loaded.as_deref() {
            Ok(Some(Ok(held))) => Ok(held.clone().into()),
            Ok(Some(Err(error))) => Err(error.clone()),
            Ok(None) | Err(_) => Err(io::Error::other("it was given up while it was read").into()),
        }
    }

    /// Begins to read an image into memory when there is room, which is taken before a byte is read. It is read to the
    /// end also if the device stops waiting: the next one must not begin anew.
    fn begin(self: &Arc<Self>, shelves: &mut Shelves, image: &Arc<Image>) -> Option<Loading> {
        if !self.make_room(shelves, image.facts.size) {
            return None;
        }
        let room = Room::take(image.facts.size, &self.used);
        let (done, loading) = watch::channel(None);
        shelves.loading.insert(image.facts.id(), loading.clone());
        let (store, image) = (self.clone(), image.clone());
        drop(spawn_blocking(move || {
            let loaded = store.load(&image, room);
            let id = image.facts.id();
            let mut shelves = store.shelves();
            shelves.loading.remove(&id);
            if let Ok(held) = &loaded {
                shelves.held.insert(id, Arc::downgrade(held));
                shelves.recent.push_back((id, held.clone()));
            }
            drop(shelves);
            done.send_replace(Some(loaded));
        }));
        Some(loading)
    }

    /// Lets go of images that nobody reads until there is room; says whether there is.
    fn make_room(&self, shelves: &mut Shelves, size: u64) -> bool {
        if size > self.memory {
            return false;
        }
        while self.used.load(Ordering::Relaxed) + size > self.memory {
            let unread = |(_, held): &(Sha256, Arc<Held>)| Arc::strong_count(held) == 1;
            let Some(oldest) = shelves.recent.iter().position(unread) else {
                return false;
            };
            shelves.recent.remove(oldest);
        }
        shelves.held.retain(|_, held| held.strong_count() > 0);
        true
    }

    fn load(&self, image: &Image, room: Room) -> Result<Arc<Held>, OpenError> {
        let bytes = hasher::read_whole(&self.root.join(&image.path), image.stamp)?
            .ok_or(OpenError::Changed)?;
        if Sha256::of(&bytes) != image.facts.id() {
            return Err(OpenError::Changed);
        }
        Ok(Arc::new(Held { bytes, _room: room }))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::firmware::{ImageKind, forge::Esp8266, format};
    use crate::tree::Patience;

    /// So many images of one size, and a store with room for two and a half of them.
    fn shelf_of(count: u64) -> (tempfile::TempDir, Arc<Store>, Vec<Arc<Image>>) {
        let dir = tempfile::tempdir().unwrap();
        let images: Vec<Arc<Image>> = (0..count)
            .map(|seed| {
                let bytes = Esp8266 {
                    seed,
                    ..Esp8266::default()
                }
                .build();
                let path = format!("{seed}.bin");
                fs::write(dir.path().join(&path), &bytes).unwrap();
                let meta = fs::metadata(dir.path().join(&path)).unwrap();
                Arc::new(Image {
                    kind: ImageKind::Firmware,
                    path: Path::new(&path).into(),
                    facts: Arc::new(format::examine(&bytes, ImageKind::Firmware).unwrap()),
                    stamp: read::stamp(&meta),
                    note: None,
                    ordered: false,
                })
            })
            .collect();
        let store = Arc::new(Store::new(&Settings {
            root: dir.path().to_owned(),
            state: dir.path().to_owned(),
            patience: Patience {
                settle: Duration::ZERO,
                removal_grace: Duration::ZERO,
                quiet: Duration::ZERO,
            },
            sweep: Duration::MAX,
            poll: Duration::MAX,
            largest_image: u64::MAX,
            memory: images[0].facts.size * 5 / 2,
            keys: Default::default(),
            prefix: None,
            keep_previous: 0,
            live: false,
        }));
        (dir, store, images)
    }

    /// Opens all at once, and waits for all.
    async fn open_at_once(
        store: &Arc<Store>,
        images: &[Arc<Image>],
    ) -> Vec<Result<Content, OpenError>> {
        let opening: Vec<_> = images
            .iter()
            .map(|image| {
                let (store, image) = (store.clone(), image.clone());
                tokio::spawn(async move { store.open(&image).await })
            })
            .collect();
        let mut opened = Vec::new();
        for opening in opening {
            opened.push(opening.await.unwrap());
        }
        opened
    }

    fn in_memory(opened: &[Result<Content, OpenError>]) -> usize {
        opened
            .iter()
            .filter(|content| matches!(content, Ok(Content::Memory(_))))
            .count()
    }

    #[tokio::test]
    async fn images_that_are_first_asked_for_at_once_stay_within_the_memory() {
        let (_dir, store, images) = shelf_of(12);
        let opened = open_at_once(&store, &images).await;
        assert!(opened.iter().all(Result::is_ok), "{opened:?}");
        assert_eq!(in_memory(&opened), 2);
        let used = store.used.load(Ordering::Relaxed);
        assert!(used <= store.memory, "{used} of {}", store.memory);
        drop(opened);
        let unread = async {
            while store
                .shelves()
                .recent
                .iter()
                .any(|(_, held)| Arc::strong_count(held) > 1)
            {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), unread).await;
        assert!(waited.is_ok(), "somebody holds an image for ever");
        // What nobody reads makes room for what is asked for.
        let opened = open_at_once(&store, &images[10..]).await;
        assert_eq!(in_memory(&opened), 2);
    }

    #[tokio::test]
    async fn readers_of_one_image_share_its_room_also_while_it_is_loaded() {
        let (_dir, store, images) = shelf_of(1);
        let same = vec![images[0].clone(); 30];
        let opened = open_at_once(&store, &same).await;
        assert_eq!(in_memory(&opened), 30);
        assert_eq!(store.used.load(Ordering::Relaxed), images[0].facts.size);
        assert!(store.shelves().loading.is_empty());
    }

    #[tokio::test]
    async fn an_image_that_cannot_be_loaded_gives_its_room_back() {
        let (dir, store, images) = shelf_of(3);
        for image in &images {
            fs::write(dir.path().join(&*image.path), b"another file").unwrap();
        }
        for _ in 0..3 {
            let opened = open_at_once(&store, &images).await;
            assert!(
                opened
                    .iter()
                    .all(|content| matches!(content, Err(OpenError::Changed))),
                "{opened:?}"
            );
        }
        assert_eq!(store.used.load(Ordering::Relaxed), 0);
        assert!(store.shelves().loading.is_empty());
    }
}
