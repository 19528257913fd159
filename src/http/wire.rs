//! What a connection and the doors tell each other: how large its TLS records may be, and how its downloads end.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Peer;

/// Largest TLS record that a client can take. Each write of application data is cut to it; the handshake never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    /// 512 bytes: ESP8266 and ESPHome with small receive buffers.
    Tiny,
    /// 4096 bytes: whoever we do not know.
    Middle,
    /// 16 KiB: curl, browsers.
    Large,
}

impl Records {
    const fn bytes(self) -> usize {
        match self {
            Self::Tiny => 512,
            Self::Middle => 4096,
            Self::Large => 16 * 1024,
        }
    }
}

/// Hears how a download ended. Called once.
pub trait Delivery: Send {
    /// `sent`: bytes of the body that left; `in_order`: the peer closed in order after the last one, or asked again.
    fn ended(self: Box<Self>, sent: u64, in_order: bool);
}

struct Running {
    delivery: Box<dyn Delivery>,
    /// Bytes written to the connection before the body.
    before: u64,
    length: u64,
}

/// The shared part of one connection.
pub struct Wire {
    peer: Peer,
    secure: bool,
    records: AtomicUsize,
    /// Bytes of HTTP that the transport took, heads and bodies.
    written: AtomicU64,
    /// There was a download on this connection.
    bulk: AtomicBool,
    /// Length of the head before the body under way; 0 until it is written.
    head: AtomicU64,
    running: Mutex<Option<Running>>,
    /// A download was counted on this connection.
    counted: AtomicBool,
    /// Kernel memory for what is sent; 0: as much as the kernel thinks right.
    send_buffer: AtomicUsize,
    /// The answer under way is the last on this connection.
    last: AtomicBool,
    /// The client waits for us.
    busy: AtomicBool,
    /// A door reads the body of the request under way.
    receives: AtomicBool,
    /// Something of that body was not read.
    unread: AtomicBool,
}

impl Wire {
    /// A new connection from `peer`; `secure` when it is TLS.
    #[must_use]
    pub fn new(peer: impl Into<Peer>, secure: bool, records: Records) -> Arc<Self> {
        Arc::new(Self {
            peer: peer.into(),
            secure,
            records: AtomicUsize::new(records.bytes()),
            written: AtomicU64::new(0),
            bulk: AtomicBool::new(false),
            head: AtomicU64::new(0),
            running: Mutex::default(),
            counted: AtomicBool::new(false),
            send_buffer: AtomicUsize::new(0),
            last: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            receives: AtomicBool::new(false),
            unread: AtomicBool::new(false),
        })
    }

    /// Who is at the other end.
    #[must_use]
    pub const fn peer(&self) -> Peer {
        self.peer
    }

    /// The bytes on the way to the client are encrypted.
    #[must_use]
    pub const fn secure(&self) -> bool {
        self.secure
    }

    /// Says what size of records this client can take, from its next answer on. [`Records::Middle`] is said of whoever is
    /// not known, so it takes nothing from a client that is known by its ALPN.
    pub fn set_records(&self, records: Records) {
        let known = self.record() == Records::Large.bytes();
        if !(known && records == Records::Middle) {
            self.records.store(records.bytes(), Ordering::Relaxed);
        }
    }

    /// Bytes in a record, at most.
    #[must_use]
    pub fn record(&self) -> usize {
        self.records.load(Ordering::Relaxed)
    }

    /// The transport took bytes.
    pub fn wrote(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The transport is given a head of this length; said of every first piece, it counts once per download.
    pub fn sends_head(&self, bytes: usize) {
        // Nobody but the connection's own task is here, so no other store can come between.
        if self.bulk.load(Ordering::Relaxed) && self.head.load(Ordering::Relaxed) == 0 {
            self.head.store(bytes as u64, Ordering::Relaxed);
        }
    }

    /// A download begins on this connection.
    pub fn begin(&self, delivery: Box<dyn Delivery>, length: u64) {
        self.end(true);
        let before = self.written.load(Ordering::Relaxed);
        self.head.store(0, Ordering::Relaxed);
        self.bulk.store(true, Ordering::Relaxed);
        *self.lock() = Some(Running {
            delivery,
            before,
            length,
        });
    }

    /// The client asked again on this connection: it has taken what it was given before. `body`: it sends one.
    pub fn asked_again(&self, body: bool) {
        self.receives.store(false, Ordering::Relaxed);
        self.unread.store(body, Ordering::Relaxed);
        if self.bulk.load(Ordering::Relaxed) {
            self.end(true);
        }
    }

    /// Says once that no download was counted on this connection, and counts one.
    #[must_use]
    pub fn is_first_download(&self) -> bool {
        !self.counted.swap(true, Ordering::Relaxed)
    }

    /// A download was counted on this connection.
    #[must_use]
    pub fn was_counted(&self) -> bool {
        self.counted.load(Ordering::Relaxed)
    }

    /// Asks the transport to be content with so much kernel memory.
    pub fn narrow(&self, bytes: usize) {
        self.send_buffer.store(bytes, Ordering::Relaxed);
    }

    /// What [`Wire::narrow`] asked for, once.
    #[must_use]
    pub fn take_narrow(&self) -> Option<usize> {
        match self.send_buffer.load(Ordering::Relaxed) {
            0 => None,
            _ => Some(self.send_buffer.swap(0, Ordering::Relaxed)),
        }
    }

    /// A door begins to read the body of this request.
    pub fn receive(&self) {
        self.receives.store(true, Ordering::Relaxed);
    }

    /// The body of this request was read to its end.
    pub fn received(&self) {
        self.unread.store(false, Ordering::Relaxed);
    }

    /// A door reads a body: each piece of it gives the client time for the next.
    #[must_use]
    pub fn receives(&self) -> bool {
        self.receives.load(Ordering::Relaxed)
    }

    /// What the client sent was answered before all of it was read.
    #[must_use]
    pub fn has_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// Says whether the client waits for us, or we for it.
    pub fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Relaxed);
    }

    /// The client waits for us: its silence is no fault.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    /// The client wants the connection closed after the answer to come, or not.
    pub fn set_last(&self, last: bool) {
        self.last.store(last, Ordering::Relaxed);
    }

    /// The answer under way is short, and nothing follows it: it may wait for the words that end the connection.
    #[must_use]
    pub fn ends_with_this(&self) -> bool {
        self.last.load(Ordering::Relaxed) && !self.delivers()
    }

    /// Takes back [`Wire::set_last`]; says whether it was set.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.last.load(Ordering::Relaxed) && self.last.swap(false, Ordering::Relaxed)
    }

    /// A download was begun and has not ended.
    #[must_use]
    pub fn delivers(&self) -> bool {
        self.bulk.load(Ordering::Relaxed) && self.lock().is_some()
    }

    /// A download was begun, and the transport has not taken all of it.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        self.left() > 0
    }

    /// Bytes of the download under way that the transport has not taken; 0 where there is none.
    #[must_use]
    pub fn left(&self) -> u64 {
        if !self.bulk.load(Ordering::Relaxed) {
            return 0;
        }
        self.lock()
            .as_ref()
            .map_or(0, |running| running.length - self.sent(running))
    }

    /// Bytes of the download that the transport took.
    fn sent(&self, running: &Running) -> u64 {
        let head = self.head.load(Ordering::Relaxed);
        let written = self.written.load(Ordering::Relaxed);
        match head {
            0 => 0,
            _ => written
                .saturating_sub(running.before)
                .saturating_sub(head)
                .min(running.length),
        }
    }

    /// The connection ended, or the download on it did. Says so to the download under way, if there is one.
    pub fn end(&self, in_order: bool) {
        let Some(running) = self.lock().take() else {
            return;
        };
        let sent = self.sent(&running);
        running
            .delivery
            .ended(sent, in_order && sent == running.length);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.end(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::sync::mpsc;

    struct Note(mpsc::Sender<(u64, bool)>);

    impl Delivery for Note {
        fn ended(self: Box<Self>, sent: u64, in_order: bool) {
            self.0.send((sent, in_order)).unwrap();
        }
    }

    fn download(written: usize, end: impl FnOnce(&Wire)) -> (u64, bool) {
        let (note, heard) = mpsc::channel();
        let wire = Wire::new(IpAddr::from([127, 0, 0, 1]), false, Records::Middle);
        wire.wrote(300);
        wire.begin(Box::new(Note(note)), 1000);
        wire.sends_head(200);
        wire.sends_head(1);
        wire.wrote(written);
        end(&wire);
        drop(wire);
        let first = heard.recv().unwrap();
        assert!(heard.recv().is_err(), "an end is told once");
        first
    }

    #[test]
    fn who_is_known_to_take_large_records_is_not_given_less_by_a_strange_name() {
        let wire = Wire::new(IpAddr::from([127, 0, 0, 1]), true, Records::Large);
        wire.set_records(Records::Middle);
        assert_eq!(wire.record(), 16 * 1024);
        wire.set_records(Records::Tiny);
        assert_eq!(wire.record(), 512);
        wire.set_records(Records::Middle);
        assert_eq!(wire.record(), 4096);
    }

    #[test]
    fn a_download_is_complete_when_its_last_byte_left_and_the_peer_was_content() {
        assert_eq!(download(1200, |wire| wire.end(true)), (1000, true));
        assert_eq!(download(1200, |wire| wire.asked_again(false)), (1000, true));
        assert_eq!(download(1200, |wire| wire.end(false)), (1000, false));
        assert_eq!(download(1199, |wire| wire.end(true)), (999, false));
        assert_eq!(download(100, |_| ()), (0, false));
    }
}
