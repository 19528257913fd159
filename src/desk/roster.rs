//! What the server remembers of devices for deciding: in memory, bounded.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use smol_str::SmolStr;

use crate::firmware::{
    Delivery, ImageKind, NodeId, Org, Record, RunningImage, Sha256, Standing, Visit,
};

use super::Errand;

/// Most devices, and most downloads that may be continued; the oldest are forgotten first.
const MOST: usize = 100_000;

/// Whom something is remembered of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    /// One piece of hardware under one name.
    Node(Org, NodeId, Option<SmolStr>),
    /// One piece of hardware in one org, which named no node but a file.
    Hardware(SmolStr, SmolStr),
}

/// A map that forgets its oldest entries.
struct Bounded<K, V> {
    map: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K, V> Default for Bounded<K, V> {
    fn default() -> Self {
        Self {
            map: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Clone + Eq + Hash, V: Default> Bounded<K, V> {
    fn entry(&mut self, key: K) -> &mut V {
        if !self.map.contains_key(&key) {
            if self.map.len() >= MOST
                && let Some(oldest) = self.order.pop_front()
            {
                self.map.remove(&oldest);
            }
            self.order.push_back(key.clone());
        }
        self.map.entry(key).or_default()
    }
}

/// What is remembered of a node to tell whether a person flashed it.
#[derive(Debug, Default)]
struct Hand {
    /// It reported an image of this tree, and has taken none in full since.
    reported_ours: bool,
    /// Since when it has reported what never was in this tree, and what.
    strange: Option<(RunningImage, Instant)>,
}

impl Hand {
    fn hears(&mut self, running: &RunningImage, is_ours: bool, now: Instant) -> Option<Instant> {
        if is_ours {
            self.reported_ours = true;
            self.strange = None;
        }
        if is_ours || !self.reported_ours {
            return None;
        }
        if self
            .strange
            .as_ref()
            .is_none_or(|(known, _)| known != running)
        {
            self.strange = Some((running.clone(), now));
        }
        self.strange.as_ref().map(|(_, since)| *since)
    }
}

/// The memory.
#[derive(Default)]
pub struct Roster {
    records: Mutex<Bounded<Who, Record>>,
    hands: Mutex<Bounded<(Org, NodeId), Hand>>,
    begun: Mutex<Bounded<Box<str>, Option<Sha256>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `None`: nothing in the request tells this device from another.
fn who(errand: &Errand, visit: &Visit) -> Option<Who> {
    let hardware = visit.hardware.clone();
    match errand {
        Errand::Device(device) => {
            Some(Who::Node(device.org.clone(), device.node.clone(), hardware))
        }
        Errand::File(path) => Some(Who::Hardware(path.org().into(), hardware?)),
    }
}

impl Roster {
    /// Where a device stands with an image; `None` when nothing can be remembered of it.
    pub fn standing(
        &self,
        errand: &Errand,
        visit: &Visit,
        image: Sha256,
        now: Duration,
    ) -> Option<Standing> {
        let who = who(errand, visit)?;
        let records = lock(&self.records);
        let record = records.map.get(&who);
        Some(record.map_or_else(Standing::default, |record| {
            record.standing(visit.kind, image, &visit.running, now)
        }))
    }

    /// A device says what it runs: ours, or what never was in this tree. Gives since when a node that once ran ours has
    /// run something else that we did not give it: a person flashed it.
    pub fn hears(&self, errand: &Errand, visit: &Visit, is_ours: bool) -> Option<Instant> {
        let Errand::Device(device) = errand else {
            return None;
        };
        let node = (device.org.clone(), device.node.clone());
        let mut hands = lock(&self.hands);
        // A node that never ran ours is a new one, of which nothing need be remembered.
        if !is_ours && !hands.map.contains_key(&node) {
            return None;
        }
        let hand = hands.entry(node);
        hand.hears(&visit.running, is_ours, Instant::now())
    }

    /// A device took an image in full. Whatever it reports next may come of that.
    pub fn delivered(&self, errand: &Errand, visit: &Visit, delivery: Delivery) {
        if let (Errand::Device(device), ImageKind::Firmware) = (errand, delivery.kind) {
            let node = (device.org.clone(), device.node.clone());
            if let Some(hand) = lock(&self.hands).map.get_mut(&node) {
                *hand = Hand::default();
            }
        }
        if let Some(who) = who(errand, visit) {
            lock(&self.records).entry(who).add(delivery);
        }
    }

    /// The image that a download began with; `None` when nothing is known of it.
    pub fn began(&self, name: &str) -> Option<Sha256> {
        lock(&self.begun).map.get(name).copied().flatten()
    }

    /// A download begins.
    pub fn begins(&self, name: &str, image: Sha256) {
        *lock(&self.begun).entry(name.into()) = Some(image);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut bounded: Bounded<usize, usize> = Bounded::default();
        for n in 0..=MOST {
            *bounded.entry(n) = n;
        }
        assert_eq!((bounded.map.len(), bounded.order.len()), (MOST, MOST));
        assert_eq!((bounded.map.get(&0), bounded.map.get(&1)), (None, Some(&1)));
    }
}
