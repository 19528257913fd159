//! Where an org asks its devices for a secret, only who shows a right one is let to the counter.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Credential, Desk, DeviceAnswer, Errand};
use crate::firmware::{NodeId, Org};
use crate::people::People;

/// The same is said of the same node once in this time.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What was said of so many is remembered, at most; while the memory is full of this day's, nobody else is named, so that
/// one who invents nodes does not fill the log.
const MOST: usize = 10_000;

impl Desk {
    /// Whether an org asks its devices for a secret: only then a door has to read one. In memory, and one look into a map.
    #[must_use]
    pub fn asks_for_secret(&self, errand: &Errand) -> bool {
        self.people.as_ref().is_some_and(|people| match errand {
            Errand::Device(device) => people.asks_devices(&device.org),
            // A path has no other first word than an org, so nothing is given away here.
            Errand::File(path) => path
                .org()
                .parse()
                .is_ok_and(|org| people.asks_devices(&org)),
        })
    }

    /// Whether who shows this credential may ask. Without people nobody knows which org asks for secrets: then none does.
    #[must_use]
    pub fn admits(
        &self,
        errand: &Errand,
        shown: Option<Credential<'_>>,
        client: impl Display,
    ) -> DeviceAnswer {
        let Some(people) = &self.people else {
            return DeviceAnswer::Allowed;
        };
        let (node, answer) = match errand {
            Errand::Device(device) => (
                Some(device.node.clone()),
                people.device_may(&device.org, &device.node, shown),
            ),
            Errand::File(path) => match path.org().parse() {
                Ok(org) => by_name(people, &org, shown),
                Err(_) => (None, DeviceAnswer::Missing),
            },
        };
        let why = match answer {
            DeviceAnswer::Allowed => return answer,
            DeviceAnswer::Missing => "its org asks devices for a secret, and it shows none",
            DeviceAnswer::Wrong => "its secret is wrong, or another node's",
        };
        let org = match errand {
            Errand::Device(device) => device.org.as_str(),
            Errand::File(path) => path.org(),
        };
        if self.refused.is_new((org, &node, why), Instant::now()) {
            tracing::info!(device = %errand, %client, "a device was refused: {why}");
        }
        answer
    }
}

/// A path of a file names no node, so the credential has to: a bare secret is none here.
fn by_name(
    people: &People,
    org: &Org,
    shown: Option<Credential<'_>>,
) -> (Option<NodeId>, DeviceAnswer) {
    if !people.asks_devices(org) {
        return (None, DeviceAnswer::Allowed);
    }
    let Some((shown, user)) = shown.and_then(|shown| Some((shown, shown.user?))) else {
        return (None, DeviceAnswer::Missing);
    };
    match user.parse() {
        Ok(node) => {
            let answer = people.device_may(org, &node, Some(shown));
            (Some(node), answer)
        }
        Err(_) => (None, DeviceAnswer::Wrong),
    }
}

/// Of whom it was said that they were refused, and when.
#[derive(Default)]
pub(super) struct Refused {
    said: Mutex<HashMap<u64, Instant>>,
    hasher: RandomState,
}

impl Refused {
    fn is_new(&self, thing: impl Hash, now: Instant) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |at: &Instant| now.saturating_duration_since(*at) >= DAY;
        let thing = self.hasher.hash_one(thing);
        if said.get(&thing).is_some_and(|at| !is_old(at)) {
            return false;
        }
        if said.len() >= MOST {
            said.retain(|_, at| !is_old(at));
        }
        let room = said.len() < MOST;
        if room {
            said.insert(thing, now);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_said_of_a_node_once_a_day() {
        let refused = Refused::default();
        let start = Instant::now();
        let hour = |n: u64| start + Duration::from_secs(n * 3600);
        assert!(refused.is_new(("dev", "node1"), start));
        for n in 0..24 {
            assert!(!refused.is_new(("dev", "node1"), hour(n)));
        }
        assert!(refused.is_new(("dev", "node2"), hour(1)));
        assert!(refused.is_new(("other", "node1"), hour(1)));
        assert!(refused.is_new(("dev", "node1"), hour(24)));
        assert!(!refused.is_new(("dev", "node1"), hour(25)));
    }

    #[test]
    fn who_invents_nodes_does_not_fill_the_log() {
        let refused = Refused::default();
        let start = Instant::now();
        let lines = |now| (0..MOST + 100).filter(|n| refused.is_new(n, now)).count();
        assert_eq!(lines(start), MOST);
        assert_eq!(lines(start), 0);
        assert_eq!(lines(start + DAY), MOST);
    }
}
