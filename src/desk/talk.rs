//! What is said in the log about visits: once for each thing that a person may want to know.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};

use crate::firmware::{Decision, Image, Visit};

use super::{Ending, Errand, Span};

/// Things said before, at most; then the memory begins anew.
const MOST: usize = 50_000;

/// The memory of what was said.
#[derive(Default)]
pub struct Talk {
    said: Mutex<HashSet<u64>>,
    hasher: RandomState,
}

impl Talk {
    fn is_new(&self, thing: impl Hash) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() >= MOST {
            said.clear();
        }
        said.insert(self.hasher.hash_one(thing))
    }

    /// A visit was decided. What repeats every hour is said once.
    pub fn decided(&self, errand: &Errand, visit: &Visit, decision: &Decision) {
        let device = errand;
        match (decision, errand) {
            (Decision::Update(_), _) => {}
            (Decision::UpToDate, _) => tracing::debug!(%device, kind = %visit.kind, "up to date"),
            (Decision::NoImage, Errand::Device(who)) if self.is_new((errand, visit.kind)) => {
                let slots = who.slots().map(|slot| slot.to_string()).join(" ");
                tracing::info!(%device, kind = %visit.kind, family = %visit.family, %slots, "a miss: no image in any of its slots");
            }
            (Decision::NoImage, _) => tracing::debug!(%device, kind = %visit.kind, "no image"),
            (Decision::Held(reason), _) if self.is_new((errand, visit.kind, reason)) => {
                tracing::info!(%device, kind = %visit.kind, family = %visit.family, %reason, "held: {}", reason.sentence());
            }
            (Decision::Held(reason), _) => {
                tracing::debug!(%device, kind = %visit.kind, %reason, "held");
            }
        }
    }

    /// A download ended.
    pub fn ended(
        &self,
        errand: &Errand,
        image: &Image,
        span: Span,
        ending: Ending,
        complete: bool,
    ) {
        let device = errand;
        let (path, bytes, sent) = (image.path.display(), span.to - span.from, ending.sent);
        let whole = span.from == 0 && span.to == image.facts.size;
        match (complete, whole) {
            (true, true) => tracing::info!(%device, %path, bytes, "an image was delivered in full"),
            (false, true) => tracing::info!(%device, %path, bytes, sent, "a download was cut off"),
            (_, false) => {
                tracing::debug!(%device, %path, from = span.from, to = span.to, sent, complete, "a range was sent")
            }
        }
    }
}
