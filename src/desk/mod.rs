//! The counter for devices: the one thing a device door may talk to.
//!
//! A poll is decided in memory: [`Desk::check_in`] never waits. Only what cannot be decided yet (the tree is still being
//! read, an image is still being examined) waits a moment, in [`Desk::check_in_patiently`].

mod admit;
mod errand;
mod roster;
mod talk;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::firmware::{
    Brakes, Decision, Delivery, Found, Guards, HoldReason, Image, ImageKind, Standing, Visit,
    decide,
};
use crate::people::People;
use crate::tree::Tree;

pub use errand::Errand;

pub use crate::people::{Credential, DeviceAnswer};
pub use crate::tree::{Content, OpenError};
use admit::Refused;
use roster::Roster;
use talk::Talk;

/// What an operator may change while the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Rules of the decision.
    pub guards: Guards,
    /// Downloads at once; 0 is no limit.
    pub downloads_at_once: usize,
    /// Time in which the head of an answer leaves.
    pub answer: Duration,
}

/// The counter.
pub struct Desk {
    tree: Tree,
    people: Option<People>,
    rules: ArcSwap<Rules>,
    roster: Roster,
    talk: Talk,
    refused: Refused,
    downloads: Arc<AtomicUsize>,
    started: Instant,
}

/// A place among the downloads at once; given back when it is dropped.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How a download ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Bytes of the image that were sent, or handed to the kernel for it.
    pub sent: u64,
    /// The peer closed in order after the last byte, or asked again on the same connection.
    pub in_order: bool,
}

/// Which bytes of an image are sent: from `from` up to and without `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub from: u64,
    /// One past the last byte.
    pub to: u64,
}

impl Desk {
    /// Opens the counter.
    #[must_use]
    pub fn new(tree: Tree, rules: Rules, people: Option<People>) -> Self {
        Self {
            tree,
            people,
            rules: ArcSwap::from_pointee(rules),
            roster: Roster::default(),
            talk: Talk::default(),
            refused: Refused::default(),
            downloads: Arc::default(),
            started: Instant::now(),
        }
    }

    /// New rules, from the next visit on.
    pub fn obey(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
    }

    /// Decides a visit by what is known now. Never waits and reads nothing from disk. `None`: the tree is not read far
    /// enough to say, ask [`Desk::check_in_patiently`].
    #[must_use]
    pub fn check_in(&self, errand: &Errand, visit: &Visit) -> Option<Decision> {
        let catalog = self.tree.glance();
        let (found, brakes) = errand.find(&catalog, visit.kind);
        let known = catalog.complete && found != Found::Withheld(HoldReason::NotReady);
        known.then(|| self.decide(errand, visit, &found, brakes))
    }

    /// Decides a visit, after a look at the disk where that is needed. Takes at most the time in which the head of an
    /// answer has to leave; then the visit is held.
    pub async fn check_in_patiently(&self, errand: &Errand, visit: &Visit) -> Decision {
        let patience = self.rules.load().answer;
        let not_ready = || (Found::Withheld(HoldReason::NotReady), Brakes::default());
        let look = async {
            if !self.tree.look(errand.folders()).await {
                return not_ready();
            }
            self.tree
                .search(|catalog| errand.find(catalog, visit.kind))
                .await
        };
        let (found, brakes) = tokio::time::timeout(patience, look)
            .await
            .unwrap_or_else(|_| not_ready());
        self.decide(errand, visit, &found, brakes)
    }

    /// Decides a visit by what is known now, and where that does not do, after a look at the disk.
    pub async fn check_in_or_wait(&self, errand: &Errand, visit: &Visit) -> Decision {
        match self.check_in(errand, visit) {
            Some(decision) => decision,
            None => self.check_in_patiently(errand, visit).await,
        }
    }

    fn decide(&self, errand: &Errand, visit: &Visit, found: &Found, brakes: Brakes) -> Decision {
        let rules = self.rules.load();
        let flashed = self.flashed_by_hand(errand, visit);
        let decision = decide(found, visit, rules.guards, brakes, |image| {
            let id = image.facts.id();
            let now = self.started.elapsed();
            let standing = self.roster.standing(errand, visit, id, now)?;
            let seen = self.tree.seen();
            let by_hand = flashed.is_some_and(|at| !seen.came_after(id, at));
            Some(Standing {
                by_hand,
                ..standing
            })
        });
        self.talk.decided(errand, visit, &decision);
        decision
    }

    /// Since when a node has run what never was in this tree, after it ran what was: a person flashed it.
    fn flashed_by_hand(&self, errand: &Errand, visit: &Visit) -> Option<Instant> {
        if visit.kind != ImageKind::Firmware {
            return None;
        }
        let is_ours = self.tree.seen().is_known(&visit.running)?;
        self.roster.hears(errand, visit, is_ours)
    }

    /// What would be offered, whatever the device runs; `None` when nothing is.
    #[must_use]
    pub fn offered(&self, errand: &Errand, kind: ImageKind) -> Option<Arc<Image>> {
        match errand.find(&self.tree.glance(), kind).0 {
            Found::Offered(offer) => Some(offer.image),
            Found::Nothing | Found::Withheld(_) => None,
        }
    }

    /// The bytes of an image that was decided on, with a place among the downloads at once.
    ///
    /// # Errors
    /// The reason for which the device hears 304 instead.
    pub async fn open(&self, image: &Arc<Image>) -> Result<(Content, Place), HoldReason> {
        let rules = **self.rules.load();
        let place = self
            .place(rules.downloads_at_once)
            .ok_or(HoldReason::Busy)?;
        match tokio::time::timeout(rules.answer, self.tree.open(image)).await {
            Ok(Ok(content)) => Ok((content, place)),
            Ok(Err(OpenError::Changed)) => Err(HoldReason::NotSettled),
            Ok(Err(OpenError::Unreadable(error))) => {
                tracing::warn!(path = %image.path.display(), %error, "an image cannot be read");
                Err(HoldReason::Unreadable)
            }
            Err(_) => Err(HoldReason::NotReady),
        }
    }

    fn place(&self, limit: usize) -> Option<Place> {
        let taken = self.downloads.fetch_add(1, Ordering::Relaxed);
        let place = Place(self.downloads.clone());
        (limit == 0 || taken < limit).then_some(place)
    }

    /// Whether a range continues the image that the download began with. The first name that is known counts; `None`
    /// when nothing is known of its beginning, as after a restart.
    #[must_use]
    pub fn continues(&self, names: &[String], image: &Image) -> Option<bool> {
        names
            .iter()
            .find_map(|name| self.roster.began(name))
            .map(|id| id == image.facts.id())
    }

    /// A download begins: its later ranges must be of the same image.
    pub fn begins(&self, names: &[String], image: &Arc<Image>, span: Span) {
        for name in names {
            self.roster.begins(name, image.facts.id());
        }
        if span.from > 0 || !self.tree.wants_copy(image) {
            return;
        }
        let (tree, image) = (self.tree.clone(), image.clone());
        // Keeping a copy is nobody's reason to wait; a failure is on the board.
        drop(tokio::task::spawn_blocking(move || tree.keep(&image)));
    }

    /// A download ended. Only what a device with device headers took in full is remembered of it.
    pub fn ended(&self, errand: &Errand, visit: &Visit, image: &Image, span: Span, ending: Ending) {
        let complete = ending.in_order && ending.sent == span.to - span.from;
        self.talk.ended(errand, image, span, ending, complete);
        if complete && visit.is_updater() && span.to == image.facts.size {
            let delivery = Delivery {
                kind: visit.kind,
                image: image.facts.id(),
                reported: visit.running.clone(),
                at: self.started.elapsed(),
            };
            self.roster.delivered(errand, visit, delivery);
        }
    }

    /// The file turned out not to be the image while it was sent.
    pub fn torn(&self, image: &Image) {
        tracing::warn!(path = %image.path.display(), "the file changed while it was sent; the download is cut off");
        self.tree.hint(image);
    }

    /// Downloads under way.
    #[must_use]
    pub fn downloads(&self) -> usize {
        self.downloads.load(Ordering::Relaxed)
    }

    /// Looks at everything again.
    pub fn sweep(&self) {
        self.tree.sweep();
    }
}
