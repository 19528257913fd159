//! Sockets and TLS. [`run`] is handed its listeners, its doors and its end, so that tests bind port 0 and never sleep.
//!
//! | file | what lives there |
//! |---|---|
//! | `listen` | binding, or taking what systemd bound |
//! | `accept` | the accept loops: never a handshake in them |
//! | `connection` | one connection from PROXY header to the last byte |
//! | `control` | the control socket in the state folder |
//! | `deadline` | one clock for all connections |
//! | `incompatible` | clients that can never agree with our TLS, in the log |
//! | `transport` | small TLS records, bounded buffers |
//! | `linger` | whether the peer got the last byte |
//! | `proxy` | PROXY protocol v2 and X-Forwarded-For |
//! | `tls` | certificates |

mod accept;
mod connection;
pub mod control;
mod deadline;
mod incompatible;
mod linger;
mod listen;
pub mod proxy;
pub mod tls;
mod transport;

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::HeaderMap;
use ipnet::IpNet;
use tokio::sync::{Semaphore, watch};

use crate::config::LimitsConfig;
use crate::http::{Client, HttpDoor, Peer, Scheme, Wire};

use deadline::Deadlines;
use incompatible::Incompatible;
pub use listen::{ListenError, Listener, bind};
use tls::Tls;

/// What all connections share.
pub struct Shared {
    doors: Vec<Box<dyn HttpDoor>>,
    tls: Option<Tls>,
    limits: ArcSwap<LimitsConfig>,
    trusted: ArcSwap<Vec<IpNet>>,
    connections: Arc<Semaphore>,
    open: AtomicUsize,
    deadlines: Arc<Deadlines>,
    /// Downloads under way, to know when each has to be content with less kernel memory.
    downloads: AtomicUsize,
    incompatible: Incompatible,
    /// A trusted proxy that names no client was said.
    unnamed: Once,
}

impl Shared {
    /// The doors in the order in which they are asked; TLS for the listeners that want it.
    #[must_use]
    pub fn new(
        doors: Vec<Box<dyn HttpDoor>>,
        tls: Option<Tls>,
        limits: LimitsConfig,
        trusted: Vec<IpNet>,
    ) -> Arc<Self> {
        Arc::new(Self {
            doors,
            tls,
            connections: Arc::new(Semaphore::new(
                limits.connections.min(Semaphore::MAX_PERMITS),
            )),
            limits: ArcSwap::from_pointee(limits),
            trusted: ArcSwap::from_pointee(trusted),
            open: AtomicUsize::new(0),
            deadlines: Deadlines::new(),
            downloads: AtomicUsize::new(0),
            incompatible: Incompatible::default(),
            unnamed: Once::new(),
        })
    }

    /// New limits and proxies, for connections that come from now on. The number of connections stays.
    pub fn obey(&self, limits: LimitsConfig, trusted: Vec<IpNet>) {
        self.limits.store(Arc::new(limits));
        self.trusted.store(Arc::new(trusted));
    }

    /// Who sent this request and how, by its headers where they count.
    fn client(&self, headers: &HeaderMap, peer: Peer, tls: bool) -> (Client, Scheme) {
        let (client, scheme) = proxy::forwarded(headers, peer, tls, &self.trusted.load());
        if let (Peer::Direct(proxy), Client::Unknown) = (peer, client) {
            self.unnamed.call_once(|| {
                tracing::info!(%proxy, "a trusted proxy does not say who its client is; let it send X-Forwarded-For (said once)");
            });
        }
        (client, scheme)
    }

    fn forget_download(&self, wire: &Wire) {
        if wire.was_counted() {
            self.downloads.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every connection ended by itself.
    Drained,
    /// The deadline passed with so many connections open.
    CutOff(usize),
}

/// Serves until `end`, then lets running downloads finish for the drain time of the limits.
pub async fn run(
    listeners: Vec<Listener>,
    shared: Arc<Shared>,
    end: impl Future<Output = ()>,
) -> Ended {
    let (stop, stopping) = watch::channel(false);
    let loops: Vec<_> = listeners
        .into_iter()
        .map(|listener| tokio::spawn(accept::accept(listener, shared.clone(), stopping.clone())))
        .collect();
    let clock = shared.deadlines.clone();
    let tick = tick(&shared.limits.load());
    let ticking = tokio::spawn(async move { clock.tick(tick).await });
    end.await;
    // Every loop and connection holds a receiver; an error would mean that there is none left.
    let _ = stop.send(true);
    drop(stopping);
    let drain = shared.limits.load().drain;
    let all_gone = tokio::time::timeout(drain, stop.closed()).await;
    ticking.abort();
    for task in &loops {
        task.abort();
    }
    match all_gone {
        Ok(()) => Ended::Drained,
        Err(_) => Ended::CutOff(shared.open()),
    }
}

/// How exactly deadlines are kept: to a tenth of the shortest, and never more than four times a second.
fn tick(limits: &LimitsConfig) -> Duration {
    let shortest = limits.handshake.min(limits.head);
    (shortest / 10).clamp(Duration::from_millis(5), Duration::from_millis(250))
}

/// A pause after the kernel refused a connection: out of descriptors or memory, it will not be better at once.
const BREATH: Duration = Duration::from_millis(100);
