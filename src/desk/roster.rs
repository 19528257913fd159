//! What the server remembers of devices for deciding: in memory, bounded.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smol_str::SmolStr;

use crate::firmware::{Delivery, NodeId, Org, Record, Sha256, Standing, Visit};

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

/// The memory.
#[derive(Default)]
pub struct Roster {
    records: Mutex<Bounded<Who, Record>>,
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

    /// A device took an image in full.
    pub fn delivered(&self, errand: &Errand, visit: &Visit, delivery: Delivery) {
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
