//! First floor: the images on disk. Reads the tree, follows its changes, and gives bytes that match their hashes.
//!
//! | file | what lives there |
//! |---|---|
//! | `names` | what a file name means |
//! | `read`, `beside` | one folder off the disk, and the small files beside its images |
//! | `judge`, `give` | which file of a slot is chosen, and whether it is given now (pure) |
//! | `by_name` | what one file gives that was asked for by its name (pure) |
//! | `catalog`, `shelf` | the immutable picture that readers share |
//! | `keeper` | the one thread that changes the picture: what it knows, and the order of its work |
//! | `ears`, `sweep`, `ground` | why it looks: notifications; now and then; the root itself changed |
//! | `look`, `ruling` | how it looks at one folder, and what follows from that |
//! | `govern`, `orders` | when an `ota.toml` counts, and what all on a device's way say (pure) |
//! | `holds` | what people hold beside the files |
//! | `hasher`, `digests` | examining files, and not doing it twice |
//! | `sought` | which texts are looked for in apps |
//! | `sealing` | which images must be signed, and since when |
//! | `seen` | what was in this tree, and since when |
//! | `watch` | the kernel's notifications |
//! | `bytes` | the bytes of an image, from memory or from a file that is checked while it is read |
//! | `links` | who sees a folder through a link (pure) |
//! | `kept` | copies of images that were delivered, published, replaced or deleted |
//! | `change`, `slots` | what people want changed in a slot, and what they hear; slots as they see them, and whose turn it is |
//! | `publish`, `versions` | an upload; rolling back, deleting, promoting, describing |
//! | `hands`, `exchange`, `folders` | the way of every order; how files are exchanged; folders that are made for it |
//! | `changed` | how the keeper takes in a change that was carried out |
//! | `drops` | telling that a file was dropped, and whose it is |
//! | `problem` | what is wrong, with the cure |

mod beside;
mod by_name;
mod bytes;
mod catalog;
mod change;
mod changed;
mod digests;
mod drops;
mod ears;
mod exchange;
mod folders;
mod give;
mod govern;
mod ground;
mod hands;
mod hasher;
mod holds;
mod judge;
mod keeper;
mod kept;
mod links;
mod look;
mod names;
mod orders;
mod problem;
mod publish;
mod read;
mod ruling;
mod sealing;
mod seen;
mod shelf;
mod slots;
mod sought;
mod sweep;
mod versions;
mod watch;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{oneshot, watch as generation};
use tokio::task::spawn_blocking;

use crate::firmware::{Found, HoldReason, Image, Keys};
use crate::health::Board;

pub use bytes::{Content, OpenError};
pub use catalog::{Beside, Candidate, Catalog, Folder, Known, Outcome, Tried};
pub use change::{
    Announced, Back, Expect, Notes, Promotion, PublishError, Published, Removed, Rules, Version,
};
pub use drops::Dropped;
pub use holds::Hold;
pub use judge::Patience;
pub use orders::Orders;
pub use problem::Problem;
pub use publish::Publishing;
pub use seen::Seen;
pub use slots::SlotView;

use hands::Hands;
use hasher::Hasher;
use keeper::{Keeper, Message};

/// Public keys by org.
pub type OrgKeys = BTreeMap<String, Arc<Keys>>;

/// Where the tree is and how patient it is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The root, as the operator named it; absolute.
    pub root: PathBuf,
    /// The state folder: caches and kept copies.
    pub state: PathBuf,
    /// Times of quiet.
    pub patience: Patience,
    /// All folders are looked at this often, to repair whatever was missed.
    pub sweep: Duration,
    /// The same where no notifications come.
    pub poll: Duration,
    /// Files above this size are not images, in bytes.
    pub largest_image: u64,
    /// Bytes of images held in memory at once, at most.
    pub memory: u64,
    /// The public keys of orgs whose images must be signed.
    pub keys: OrgKeys,
    /// What an app is expected to contain where no policy says so: the first word of the paths that devices ask for.
    pub prefix: Option<Box<str>>,
    /// Copies of images per slot and kind, beside the one in use; 0 keeps none.
    pub keep_previous: usize,
    /// Follow the tree and keep caches. Without it the tree is read once, and nothing is written anywhere.
    pub live: bool,
}

/// Says on the board that the keeper ended by a fault: the server goes on with the tree as it was.
struct Fault(Arc<Board>);

impl Drop for Fault {
    fn drop(&mut self) {
        if thread::panicking() {
            let text = "the tree is not followed any more, by a fault of otatree: restart it, and report what the log says";
            self.0.trouble("tree", Some(text.to_owned()));
        }
    }
}

/// A handle to the tree; the thread behind it ends with the last one.
#[derive(Clone)]
pub struct Tree {
    catalog: Arc<ArcSwap<Catalog>>,
    messages: mpsc::Sender<Message>,
    generation: generation::Receiver<u64>,
    bytes: Arc<bytes::Store>,
    kept: Arc<kept::Kept>,
    examined: Arc<AtomicU64>,
    hands: Arc<Hands>,
    seen: Arc<Seen>,
    holds: Arc<holds::Book>,
}

impl Tree {
    /// Starts to read the tree and to follow it. Returns at once: until it was read, [`Tree::look`] finds slots on disk.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(settings: Settings, board: &Arc<Board>) -> io::Result<Self> {
        let (messages, inbox) = mpsc::channel();
        let (generation, changes) = generation::channel(0);
        let catalog = Arc::new(ArcSwap::from_pointee(Catalog::holding(&settings, board)));
        let holds = Arc::new(holds::Book::new(&settings));
        let bytes = Arc::new(bytes::Store::new(&settings));
        let kept = Arc::new(kept::Kept::open(&settings, board.clone()));
        let results = messages.clone();
        let hasher = Hasher::start(settings.largest_image, move |examined| {
            // Nobody listens when the server ends.
            let _ = results.send(Message::Examined(Box::new(examined)));
        })?;
        let examined = hasher.examined();
        let hands = Arc::new(Hands::new(
            messages.clone(),
            catalog.clone(),
            kept.clone(),
            settings.largest_image,
        ));
        let seen = Arc::new(Seen::default());
        let known = seen.clone();
        let (published, to_self, board) =
            (Arc::downgrade(&catalog), messages.clone(), board.clone());
        thread::Builder::new()
            .name("tree".to_owned())
            .spawn(move || {
                let _fault = Fault(board.clone());
                Keeper::new(
                    settings, hasher, known, board, to_self, published, generation,
                )
                .run(&inbox);
            })?;
        Ok(Self {
            catalog,
            messages,
            generation: changes,
            bytes,
            kept,
            examined,
            hands,
            seen,
            holds,
        })
    }

    /// Reads a tree once, as it will be when it is quiet, and examines every image. Writes nothing.
    ///
    /// # Errors
    /// When the root cannot be read, or no thread can be started.
    pub async fn read_once(settings: Settings) -> io::Result<Arc<Catalog>> {
        let now = Patience {
            settle: Duration::ZERO,
            removal_grace: Duration::ZERO,
            quiet: Duration::ZERO,
        };
        read::Root::find(&settings.root)?;
        let settings = Settings {
            patience: now,
            live: false,
            ..settings
        };
        let board = Arc::new(Board::new());
        Self::start(settings, &board)?.first_scan(&board).await
    }

    /// Waits until every folder was read and every image examined.
    async fn first_scan(self, board: &Board) -> io::Result<Arc<Catalog>> {
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            let catalog = self.catalog();
            if catalog.complete && catalog.is_examined() {
                return Ok(catalog);
            }
            if let Some(trouble) = board.now().remove("tree") {
                return Err(io::Error::other(trouble));
            }
            changes.changed().await.map_err(io::Error::other)?;
        }
    }

    /// The tree as it is now. Never waits.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// The same for a moment: cheaper, and not to be kept.
    #[must_use]
    pub fn glance(&self) -> arc_swap::Guard<Arc<Catalog>> {
        self.catalog.load()
    }

    /// Looks at folders on disk, and examines first what they hold. Returns when the catalogue has them; `false` when
    /// there is no tree to look at.
    pub async fn look(&self, folders: Vec<PathBuf>) -> bool {
        let (done, ready) = oneshot::channel();
        // An error means that the server ends.
        self.messages.send(Message::Look(folders, done)).is_ok() && ready.await.unwrap_or(false)
    }

    /// Searches again and again, until the search ends at something other than an image that is still being examined.
    pub async fn search<T>(&self, find: impl Fn(&Catalog) -> (Found, T)) -> (Found, T) {
        let mut changes = self.generation.clone();
        loop {
            changes.mark_unchanged();
            let (found, more) = find(&self.glance());
            if found != Found::Withheld(HoldReason::NotReady) || changes.changed().await.is_err() {
                return (found, more);
            }
        }
    }

    /// Counts the changes of the catalogue; wakes whoever waits for the next one.
    #[must_use]
    pub fn changes(&self) -> generation::Receiver<u64> {
        self.generation.clone()
    }

    /// How many files were examined since the start.
    #[must_use]
    pub fn examined(&self) -> u64 {
        self.examined.load(Ordering::Relaxed)
    }

    /// What was in this tree since the start.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The public keys of the orgs, from now on: what they concern is judged again.
    pub fn take_keys(&self, keys: OrgKeys) {
        // An error means that the server ends.
        let _ = self.messages.send(Message::Keys(keys));
    }

    /// Asks for a look at everything.
    pub fn sweep(&self) {
        // An error means that the server ends.
        let _ = self.messages.send(Message::Sweep);
    }

    /// The bytes of an image, as they were when it was examined.
    ///
    /// # Errors
    /// When the file is another one by now, or cannot be read.
    pub async fn open(&self, image: &Arc<Image>) -> Result<Content, OpenError> {
        let content = self.bytes.open(image).await;
        if content.is_ok() {
            return content;
        }
        let (hands, old) = (self.hands.clone(), image.clone());
        if let Ok(Some(copy)) = spawn_blocking(move || hands.replaced(&old)).await {
            return self.bytes.open(&copy).await;
        }
        self.hint(image);
        content
    }

    /// Says that a file is not the one that the catalogue knows.
    pub fn hint(&self, image: &Image) {
        let folder = image.path.parent().map(Path::to_owned).unwrap_or_default();
        // An error means that the server ends.
        let _ = self.messages.send(Message::Hint(folder));
    }

    /// Says once for each image of a slot that [`Tree::keep`] has something to do. Never waits.
    #[must_use]
    pub fn wants_copy(&self, image: &Image) -> bool {
        self.kept.wants(image)
    }

    /// Keeps a copy of an image that is being delivered, unless its slot has it. Reads and writes: not for async threads.
    pub fn keep(&self, image: &Image) {
        self.kept.keep(image);
    }
}
