//! The TLS room: certificates from files, the private root, handshakes in memory.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod anchors;
mod configured;
mod damage;
mod handshakes;
mod lets_encrypt;
mod papers;
mod private;
mod reloads;
mod shake;

use std::path::Path;
use std::time::{Duration, SystemTime};

use otatree::server::tls::{DEFAULT_SESSIONS, Pair, TlsSettings};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// 2026-07-01, the day on which all these tests run.
fn today() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_782_864_000)
}

fn settings(folder: &Path, pairs: Vec<Pair>) -> TlsSettings {
    TlsSettings {
        pairs,
        anchors: Vec::new(),
        client_cas: Vec::new(),
        names: Vec::new(),
        sessions: DEFAULT_SESSIONS,
        identity: folder.join("state/identity"),
    }
}
