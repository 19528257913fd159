//! The one thread that changes the catalogue. It hears notifications, timers, results of examinations and devices that
//! wait, looks at folders (`look.rs`), and publishes whole new catalogues.
//!
//! Order of work: what a device waits for, then what changed, then the sweep, a slice at a time.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use notify::EventKind;
use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use tokio::sync::{oneshot, watch};

use crate::firmware::ImageKind;
use crate::health::Board;

use super::Settings;
use super::catalog::Catalog;
use super::digests::Digests;
use super::hasher::{Examined, Hasher};
use super::judge::Before;
use super::names;
use super::read::{DEEPEST, Root};
use super::watch::Watches;

/// Folders looked at before messages are heard again.
const SLICE: usize = 64;

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
    Look(Vec<PathBuf>, oneshot::Sender<()>),
    /// A file was not the one that the catalogue knows.
    Hint(PathBuf),
    /// Look at everything again.
    Sweep,
}

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
}

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
    pub board: Arc<Board>,
    pub restless: HashMap<PathBuf, Restless>,
    /// Folders that links point to → folders that see them through a link.
    pub aliases: HashMap<PathBuf, BTreeSet<PathBuf>>,
    /// Folders that are reached through a link.
    pub linked: HashSet<PathBuf>,
    pub changed: bool,
    pub problems: usize,
    pub sweeping: bool,
    /// A device waits: what is examined now goes first.
    pub urgent: bool,
    queue: VecDeque<PathBuf>,
    queued: HashSet<PathBuf>,
    sweep: Vec<PathBuf>,
    timers: BinaryHeap<Reverse<(Instant, PathBuf)>>,
    next_sweep: Instant,
    next_root: Instant,
    to_self: Sender<Message>,
    published: Weak<ArcSwap<Catalog>>,
    generation: watch::Sender<u64>,
    last_publish: Instant,
}

impl Keeper {
    pub(super) fn new(
        settings: Settings,
        hasher: Hasher,
        board: Arc<Board>,
        to_self: Sender<Message>,
        published: Weak<ArcSwap<Catalog>>,
        generation: watch::Sender<u64>,
    ) -> Self {
        let now = Instant::now();
        Self {
            digests: Digests::load(settings.state.join("digests.jsonl")),
            settings,
            root: None,
            catalog: Catalog::default(),
            watches: None,
            hasher,
            board,
            restless: HashMap::new(),
            aliases: HashMap::new(),
            linked: HashSet::new(),
            changed: false,
            problems: 0,
            sweeping: false,
            urgent: false,
            queue: VecDeque::new(),
            queued: HashSet::new(),
            sweep: Vec::new(),
            timers: BinaryHeap::new(),
            next_sweep: now,
            next_root: now,
            to_self,
            published,
            generation,
            last_publish: now,
        }
    }

    /// Runs until the last handle of the tree is dropped.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
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
                self.sweep_all();
            }
            Message::Examined(examined) => {
                self.examined(*examined);
                self.say_progress();
            }
            Message::Look(slots, done) => {
                self.urgent = true;
                for slot in &slots {
                    self.look(slot);
                }
                self.urgent = false;
                self.publish(true);
                // A device that does not wait any more is none of our business.
                let _ = done.send(());
            }
            Message::Hint(folder) => {
                self.touch(&folder);
                self.enqueue(&folder);
            }
            Message::Sweep => self.sweep_all(),
        }
    }

    fn hear_event(&mut self, event: &notify::Event) {
        if event.need_rescan() {
            tracing::warn!(
                "more changes at once than the kernel could report; the whole tree is looked at again"
            );
            self.sweep_all();
            return;
        }
        // Our own reads raise events too; they must not feed back.
        if let EventKind::Access(kind) = event.kind
            && kind != AccessKind::Close(AccessMode::Write)
        {
            return;
        }
        let Some(root) = &self.root else { return };
        let paths: Vec<PathBuf> = event
            .paths
            .iter()
            .filter_map(|path| path.strip_prefix(&root.path).ok().map(Path::to_owned))
            .collect();
        for (at, rel) in paths.iter().enumerate() {
            self.hear_path(event.kind, at, rel);
        }
    }

    fn hear_path(&mut self, kind: EventKind, at: usize, rel: &Path) {
        let Some(parent) = rel.parent() else {
            self.next_root = Instant::now();
            return;
        };
        let leaves = matches!(
            kind,
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From))
        ) || (matches!(kind, EventKind::Modify(ModifyKind::Name(RenameMode::Both)))
            && at == 0);
        let arrives = matches!(
            kind,
            EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both))
        ) && !leaves;
        if self.catalog.at(rel).is_some() {
            // The watch follows the inode, so a folder that was moved must be let go before it is met elsewhere.
            if leaves {
                self.let_go(rel);
            }
            self.enqueue(rel);
        }
        if parent.components().count() > DEEPEST {
            return;
        }
        self.touch(parent);
        if let Some(name) = rel.file_name().and_then(|name| name.to_str())
            && !names::is_invisible(name)
            && let Some(restless) = self.restless.get_mut(parent)
        {
            if arrives {
                restless.renamed.insert(name.into());
            } else {
                restless.renamed.remove(name);
            }
        }
        self.enqueue(parent);
    }

    /// A change was seen in a folder: it is not quiet.
    pub(super) fn touch(&mut self, rel: &Path) {
        let now = Instant::now();
        self.restless.entry(rel.to_owned()).or_default().last_change = Some(now);
    }

    /// Puts a folder, and those that see it through a link, on the list.
    pub(super) fn enqueue(&mut self, rel: &Path) {
        let mut all = vec![rel.to_owned()];
        if let Some(aliases) = self.aliases.get(rel) {
            all.extend(aliases.iter().cloned());
        }
        for rel in all {
            if self.queued.insert(rel.clone()) {
                self.queue.push_back(rel);
            }
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
        self.timers.push(Reverse((at, rel.to_owned())));
    }

    fn keep_time(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((at, _))) = self.timers.peek() {
            if *at > now {
                break;
            }
            if let Some(Reverse((_, rel))) = self.timers.pop() {
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

    pub(super) fn sweep_all(&mut self) {
        let watched = self
            .watches
            .as_ref()
            .is_some_and(|watches| watches.trouble().is_none());
        self.next_sweep = Instant::now()
            + if watched {
                self.settings.sweep
            } else {
                self.settings.poll
            };
        if self.root.is_none() {
            return;
        }
        self.sweeping = true;
        self.sweep.clear();
        self.sweep.push(PathBuf::new());
    }

    fn work(&mut self) {
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

    fn swept(&mut self) {
        let trouble = self
            .watches
            .as_ref()
            .and_then(|watches| watches.trouble().map(ToString::to_string));
        self.board.trouble("watching", trouble);
        if self.catalog.complete {
            return;
        }
        self.catalog.complete = true;
        self.changed = true;
        let (mut folders, mut files) = (0_usize, 0_usize);
        self.catalog.visit(|_, folder| {
            folders += 1;
            files += folder.files.len();
        });
        let waiting = self.hasher.waiting();
        tracing::info!(
            folders,
            images = files,
            to_examine = waiting,
            problems = self.problems,
            "the tree is read"
        );
        self.say_progress();
        self.digests.forget();
        if self.settings.live {
            self.digests.rewrite(&self.catalog);
        }
    }

    fn say_progress(&self) {
        let waiting = self.hasher.waiting();
        let text = match (self.catalog.complete, waiting) {
            (false, _) => Some("the tree is being read for the first time".to_owned()),
            (true, 0) => None,
            (true, waiting) => Some(format!("{waiting} images wait to be examined")),
        };
        self.board.progress("scan", text);
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
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// Another tree under the same name: all watches are made anew.
    pub(super) fn adopt(&mut self, root: Root) {
        let messages = self.to_self.clone();
        self.watches = self.settings.live.then(|| {
            Watches::start(&root.path, move |event| {
                // The keeper ends with the last handle of the tree; nobody listens then.
                let _ = messages.send(Message::Event(event));
            })
        });
        self.root = Some(root);
        self.forget_watches();
        self.sweep_all();
    }

    /// The catalogue as a map of what changed: problems are logged once, when they appear.
    pub(super) fn say_problems(&mut self, old: &[super::Problem], new: &[super::Problem]) {
        let fresh: Vec<_> = new
            .iter()
            .filter(|problem| !old.contains(problem))
            .collect();
        let over = old.iter().filter(|problem| !new.contains(problem)).count();
        self.problems = (self.problems + fresh.len()).saturating_sub(over);
        for problem in fresh {
            tracing::warn!(path = %problem.path.display(), cure = %problem.cure, "problem: {}", problem.what);
        }
        let text = (self.problems > 0).then(|| {
            format!(
                "{} problems in the tree; `otatree check` names them",
                self.problems
            )
        });
        self.board.progress("problems", text);
    }
}
