//! Clients that share no TLS version, cipher or key exchange with us: they will never update, and their owner wants to
//! know, but not at every poll. Those that a `client_ca` keeps out are among them.

use std::collections::HashMap;
use std::fmt::Debug;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::{Error as TlsFault, PeerIncompatible};

use crate::http::Peer;

/// The same is said of the same address once in this time.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What was said of so many is remembered, at most; while the memory is full of this day's, nobody else is named.
const MOST: usize = 10_000;

/// What was said, of whom, and when.
#[derive(Default)]
pub struct Incompatible {
    said: Mutex<HashMap<(Peer, String), Instant>>,
}

impl Incompatible {
    /// A handshake failed. Everything but a client that can never agree with us (probes, resets, a wrong trust anchor on
    /// their side) is quiet.
    pub fn heard(&self, error: &io::Error, peer: Peer) {
        let fault = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<TlsFault>());
        match fault {
            Some(TlsFault::PeerIncompatible(
                PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon,
            )) => {}
            Some(TlsFault::PeerIncompatible(why)) if self.is_new(peer, why) => {
                tracing::info!(%peer, ?why, "a client shares no TLS version, cipher or key exchange with us; old ESP8266 sketches need setCiphersLessSecure() off");
            }
            Some(why @ TlsFault::NoCertificatesPresented) if self.is_new(peer, why) => {
                tracing::info!(%peer, "refused: it shows no certificate of client_ca");
            }
            Some(TlsFault::InvalidCertificate(why)) if self.is_new(peer, why) => {
                tracing::info!(%peer, ?why, "refused: it shows a certificate that client_ca does not bear out");
            }
            Some(_) | None => {}
        }
    }

    fn is_new(&self, peer: Peer, why: &impl Debug) -> bool {
        self.is_new_at(peer, why, Instant::now())
    }

    fn is_new_at(&self, peer: Peer, why: &impl Debug, now: Instant) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |at: &Instant| now.saturating_duration_since(*at) >= DAY;
        // A certificate of the client may make the sentence as long as it likes.
        let thing = (peer, format!("{why:?}").chars().take(80).collect());
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
    use std::net::IpAddr;

    use super::*;
    use PeerIncompatible::{NoCipherSuitesInCommon, Tls12NotOffered};

    #[test]
    fn the_same_is_said_of_an_address_once_a_day() {
        let said = Incompatible::default();
        let at = |address: [u8; 4]| Peer::from(IpAddr::from(address));
        let (one, other) = (at([192, 0, 2, 1]), at([192, 0, 2, 2]));
        let start = Instant::now();
        let hour = |n: u64| start + Duration::from_secs(n * 3600);
        assert!(said.is_new_at(one, &NoCipherSuitesInCommon, start));
        for n in 0..24 {
            assert!(!said.is_new_at(one, &NoCipherSuitesInCommon, hour(n)));
        }
        assert!(
            said.is_new_at(one, &Tls12NotOffered, hour(1)),
            "another fault"
        );
        assert!(said.is_new_at(other, &NoCipherSuitesInCommon, hour(1)));
        assert!(said.is_new_at(one, &NoCipherSuitesInCommon, hour(24)));
        assert!(!said.is_new_at(one, &NoCipherSuitesInCommon, hour(25)));
    }

    #[test]
    fn the_memory_is_bounded_and_so_are_the_lines_of_a_day() {
        let said = Incompatible::default();
        let start = Instant::now();
        let lines = |now| {
            let said = |n: u32| {
                let peer = Peer::from(IpAddr::from(n.to_be_bytes()));
                said.is_new_at(peer, &Tls12NotOffered, now)
            };
            (0..=u32::MAX).take(MOST + 100).filter(|n| said(*n)).count()
        };
        assert_eq!(lines(start), MOST);
        assert_eq!(lines(start), 0);
        assert_eq!(said.said.lock().unwrap().len(), MOST);
        assert_eq!(lines(start + DAY), MOST);
    }
}
