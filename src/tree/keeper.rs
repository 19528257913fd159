//! The one thread that changes the catalogue. It hears notifications, timers, results of examinations and devices that
//! wait, looks at folders (`look`), and publishes whole new catalogues.
//!
//! Order of work: what a device waits for, then what changed, then the sweep, a slice at a time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::{oneshot, watch};

use crate::firmware::{ImageKind, Order, Sha256};
use crate::health::Board;

use super::catalog::Catalog;
use super::changed::Done;
use super::digests::Digests;
use super::drops::Drops;
use super::hasher::{Examined, Hasher};
use super::holds::Holds;
use super::judge::Before;
use super::links::Links;
use super::read::Root;
use super::seen::Seen;
use super::watch::Watches;
use super::{OrgKeys, Settings};

/// Folders looked at before messages are heard again: on a cold disk each takes a millisecond, and a device may wait.
const SLICE: usize = 8;

/// While the first scan runs, readers see it grow at this pace.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);

/// The root is looked at this often: it may be swapped or unmounted without a notification.
const ROOT_EVERY: Duration = Duration::from_secs(1);

/// What the keeper is told.
pub enum Message {
    /// The kernel saw a change.
    Event(notify::Result<notify::Event>),
    /// A file was examined.
    Examined(Box<Examined>),
    /// A device waits for these slots.
    Look(Vec<PathBuf>, oneshot::Sender<bool>),
    /// A file was not the one that the catalogue knows.
    Hint(PathBuf),
    /// The public keys of the orgs, from now on.
    Keys(OrgKeys),
    /// What people hold, from now on.
    Holds(Arc<Holds>, Reply<()>),
    /// Tell what is dropped from now on.
    Drops(Drops),
    /// Look at everything again.
    Sweep,
    /// Somebody wants to change the tree and asks for its root; `None` when it is not there.
    Ground(Reply<Option<Root>>),
    /// Somebody changes this folder: it is looked at now, and then not before the order is carried out.
    Still(PathBuf, Reply<()>),
    /// An order was carried out, or given up.
    Done(Box<Done>),
}

/// Where an answer goes.
pub type Reply<T> = std::sync::mpsc::Sender<T>;

/// What is remembered of a folder while it is not at rest.
#[derive(Debug, Default)]
pub(super) struct Restless {
    /// When the last change was seen; `None` when the first look found it as it is.
    pub last_change: Option<Instant>,
    /// Files that were renamed into place.
    pub renamed: BTreeSet<Box<str>>,
    /// Per kind: since when the chosen file is missing.
    pub gone_since: [Option<Instant>; 2],
    /// Per kind: what was chosen before the unrest.
    pub before: [Option<Before>; 2],
    /// Per kind: what people placed here by an order.
    pub placed: [Option<Sha256>; 2],
}

/// All kinds, in the order of their places.
pub(super) const KINDS: [ImageKind; 2] = [ImageKind::Firmware, ImageKind::Filesystem];

/// Place of a kind in the arrays of [`Restless`].
pub(super) const fn place(kind: ImageKind) -> usize {
    match kind {
        ImageKind::Firmware => 0,
        ImageKind::Filesystem => 1,
    }
}

/// State of the thread.
pub(super) struct Keeper {
    pub settings: Settings,
    pub root: Option<Root>,
    pub catalog: Catalog,
    pub watches: Option<Watches>,
    pub hasher: Hasher,
    pub digests: Digests,
    pub seen: Arc<Seen>,
    pub board: Arc<Board>,
    pub restless: HashMap<PathBuf, Restless>,
    pub links: Links,
    /// The policies that count, by their folders.
    pub orders: BTreeMap<PathBuf, Arc<Order>>,
    /// Texts that are looked for in the apps of an org; made anew when a policy asks for others.
    pub texts: HashMap<PathBuf, Arc<[Box<str>]>>,
    pub changed: bool,
    pub problems: usize,
    /// The root is gone or empty, and that was said.
    pub lost: bool,
    pub sweeping: bool,
    /// The files of the first scan are being examined.
    pub examining_all: bool,
    /// A device waits: what is examined now goes first.
    pub urgent: bool,
    pub queue: VecDeque<PathBuf>,
    pub queued: HashSet<PathBuf>,
    pub sweep: Vec<PathBuf>,
    pub timers: BinaryHeap<Reverse<(Instant, PathBuf)>>,
    /// The timer of each folder that counts; others in the heap are older and void.
    wakes: HashMap<PathBuf, Instant>,
    pub next_sweep: Instant,
    pub next_root: Instant,
    pub to_self: Sender<Message>,
    /// Folders that people change at this moment.
    pub still: HashSet<PathBuf>,
    /// What people have changed in the folder that is looked at.
    pub order: Option<Done>,
    /// Drafts that are older were left by a server that was killed.
    pub started: SystemTime,
    /// Who wants to know what is dropped.
    pub drops: Option<Drops>,
    published: Weak<ArcSwap<Catalog>>,
    generation: watch::Sender<u64>,
    last_publish: Instant,
}

impl Keeper {
    pub(super) fn new(
        settings: Settings,
        hasher: Hasher,
        seen: Arc<Seen>,
        board: Arc<Board>,
        to_self: Sender<Message>,
        published: Weak<ArcSwap<Catalog>>,
        generation: watch::Sender<u64>,
    ) -> Self {
        let now = Instant::now();
        Self {
            digests: Digests::load(settings.state.join("digests.jsonl"), board.clone()),
            settings,
            root: None,
            // What is held counts from the first moment.
            catalog: published
                .upgrade()
                .map_or_else(Catalog::default, |known| Catalog::clone(&known.load())),
            watches: None,
            hasher,
            seen,
            board,
            restless: HashMap::new(),
            links: Links::default(),
            orders: BTreeMap::new(),
            texts: HashMap::new(),
            changed: false,
            problems: 0,
            lost: false,
            sweeping: false,
            examining_all: true,
            urgent: false,
            queue: VecDeque::new(),
            queued: HashSet::new(),
            sweep: Vec::new(),
            timers: BinaryHeap::new(),
            wakes: HashMap::new(),
            next_sweep: now,
            next_root: now,
            to_self,
            still: HashSet::new(),
            order: None,
            started: SystemTime::now(),
            drops: None,
            published,
            generation,
            last_publish: now,
        }
    }

    /// Runs until the last handle of the tree is dropped.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        // Devices may wait already; without a root there is nothing to look at.
        self.check_root();
        while self.published.strong_count() > 0 {
            match messages.recv_timeout(self.wait()) {
                Ok(message) => self.hear(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            for message in messages.try_iter().take(10_000) {
                self.hear(message);
            }
            self.keep_time();
            self.work();
            self.publish(false);
            self.digests.flush();
        }
        self.digests.flush();
    }

    fn wait(&self) -> Duration {
        if !self.queue.is_empty() || !self.sweep.is_empty() {
            return Duration::ZERO;
        }
        let now = Instant::now();
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        let mut next = self
            .next_root
            .min(self.next_sweep)
            .min(timer.unwrap_or(self.next_root));
        if self.changed {
            next = next.min(self.last_publish + PUBLISH_EVERY);
        }
        next.saturating_duration_since(now)
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Event(Ok(event)) => self.hear_event(&event),
            Message::Event(Err(error)) => {
                tracing::warn!(%error, "the kernel's notifications failed; the whole tree is looked at again");
                self.forget_watches();
                self.sweep_all();
            }
            Message::Examined(examined) => {
                let urgent = examined.urgent;
                self.examined(*examined);
                self.say_progress();
                if urgent {
                    self.publish(true);
                }
            }
            // It has heard 304 meanwhile.
            Message::Look(_, done) if done.is_closed() => {}
            Message::Look(slots, done) => {
                self.urgent = true;
                if !self.catalog.complete {
                    self.look_at_orders(&slots);
                }
                for slot in &slots {
                    self.look(slot);
                }
                self.urgent = false;
                self.publish(true);
                // A device that does not wait any more is none of our business.
                let _ = done.send(self.root.is_some() && !self.lost);
            }
            Message::Hint(folder) => {
                self.touch(&folder);
                self.enqueue(&folder);
            }
            Message::Keys(keys) => self.take_keys(keys),
            Message::Holds(holds, reply) => {
                self.catalog.holds = holds;
                self.changed = true;
                self.publish(true);
                let _ = reply.send(());
            }
            Message::Drops(drops) => self.drops = Some(drops),
            Message::Sweep => self.sweep_all(),
            // Who does not wait for an answer any more is gone.
            Message::Ground(reply) => drop(reply.send(self.ground())),
            Message::Still(folder, reply) => {
                self.stand_still(&folder);
                let _ = reply.send(());
            }
            Message::Done(done) => self.carried_out(*done),
        }
    }

    /// Puts a folder on the list of the sweep under way.
    pub(super) fn enqueue_sweep(&mut self, rel: PathBuf) {
        self.sweep.push(rel);
    }

    /// Looks at a folder again after a time.
    pub(super) fn wake(&mut self, rel: &Path, after: Duration) {
        // A moment more, so that the deadline has passed when it is compared.
        let at = Instant::now() + after + Duration::from_millis(1);
        // One timer a folder, the earliest: each look at a folder without rest would add another.
        if self.wakes.get(rel).is_some_and(|earlier| *earlier <= at) {
            return;
        }
        self.wakes.insert(rel.to_owned(), at);
        self.timers.push(Reverse((at, rel.to_owned())));
    }

    fn keep_time(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((at, _))) = self.timers.peek() {
            if *at > now {
                break;
            }
            if let Some(Reverse((at, rel))) = self.timers.pop()
                && self.wakes.get(&rel) == Some(&at)
            {
                self.wakes.remove(&rel);
                self.enqueue(&rel);
            }
        }
        if now >= self.next_root {
            self.next_root = now + ROOT_EVERY;
            self.check_root();
        }
        if now >= self.next_sweep && self.sweep.is_empty() {
            self.sweep_all();
        }
    }

    pub(super) fn work(&mut self) {
        for _ in 0..SLICE {
            let Some(rel) = self.queue.pop_front() else {
                break;
            };
            self.queued.remove(&rel);
            self.look(&rel);
        }
        if !self.queue.is_empty() {
            return;
        }
        for _ in 0..SLICE {
            let Some(rel) = self.sweep.pop() else { break };
            self.look(&rel);
        }
        if self.sweep.is_empty() && self.sweeping {
            self.sweeping = false;
            self.swept();
        }
    }

    pub(super) fn publish(&mut self, now: bool) {
        let soon = self.last_publish.elapsed() < PUBLISH_EVERY;
        if !self.changed || (!now && soon && (!self.catalog.complete || self.hasher.waiting() > 0))
        {
            return;
        }
        let Some(published) = self.published.upgrade() else {
            return;
        };
        published.store(Arc::new(self.catalog.clone()));
        self.changed = false;
        self.last_publish = Instant::now();
        self.wake_waiters();
    }

    pub(super) fn wake_waiters(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }
}
