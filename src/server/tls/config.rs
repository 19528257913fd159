//! The rustls configurations: which versions, groups and sessions, tickets, and why.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerSessionMemoryCache,
};
use rustls::{CipherSuite, NamedGroup, ServerConfig};

/// The one place that names the crypto provider. rustls takes the first group of the *client* that is in this list
/// (0.23 `server/hs.rs`, `choose_suite_and_kx_group`), so the order here is for readers.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![
            kx_group::X25519,
            kx_group::SECP256R1,
            kx_group::SECP384R1,
            kx_group::X25519MLKEM768,
        ],
        ..aws_lc_rs::default_provider()
    }
}

/// Configurations for the life of the process: certificates change behind the resolver, sessions are shared
/// by all of them.
pub(super) struct Configs {
    /// All versions and groups.
    pub(super) any: Arc<ServerConfig>,
    x25519: Arc<ServerConfig>,
    p256: Arc<ServerConfig>,
}

impl Configs {
    /// What is left at rustls' defaults is left on purpose: `max_fragment_size` (lowering it splits handshake
    /// messages, which mbedTLS before 3.6.3 refuses), `ignore_client_order` false (an ESP8266 puts ChaCha20 first),
    /// `require_ems` false (BearSSL has no extended master secret).
    ///
    /// # Errors
    /// When the provider cannot do both versions, or gives no random bytes for ticket keys.
    pub(super) fn new(
        resolver: &Arc<dyn ResolvesServerCert>,
        clients: &Arc<dyn ClientCertVerifier>,
        sessions: usize,
    ) -> Result<Self, rustls::Error> {
        let mut any = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_client_cert_verifier(clients.clone())
            .with_cert_resolver(resolver.clone());
        // BearSSL resumes by session id only; rustls' own 256 places are gone before a fleet comes back.
        any.session_storage = if sessions == 0 {
            Arc::new(NoServerSessionStorage {})
        } else {
            ServerSessionMemoryCache::new(sessions)
        };
        // Who takes a ticket (mbedTLS) needs no place among the sessions: without tickets a poll on a fresh TLS 1.2
        // connection cost a tenth more, and the places filled up.
        if !clients.offer_client_auth() {
            any.ticketer = aws_lc_rs::Ticketer::new()?;
        }
        // No node resumes TLS 1.3, and two tickets cost a tenth of a poll.
        any.send_tls13_tickets = 0;
        // Clients without ALPN pass; those that offer only others are refused (RFC 7301 section 3.2).
        any.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
        Ok(Self {
            x25519: Arc::new(tls12_over(kx_group::X25519, resolver, clients, &any)?),
            p256: Arc::new(tls12_over(kx_group::SECP256R1, resolver, clients, &any)?),
            any: Arc::new(any),
        })
    }

    /// The cheapest group for clients of TLS 1.2, which would choose a dearer one: of the same offer mbedTLS 2.28
    /// prefers P-384 and BearSSL P-256 (both measured). A client of TLS 1.3 has sent a key share already, and
    /// asking for another costs a round trip, so its own order stands.
    pub(super) fn suited(&self, hello: &ClientHello<'_>) -> &Arc<ServerConfig> {
        let groups = hello.named_groups().unwrap_or_default();
        if hello.cipher_suites().iter().any(is_tls13) {
            &self.any
        } else if groups.contains(&NamedGroup::X25519) {
            &self.x25519
        } else if groups.contains(&NamedGroup::secp256r1) {
            &self.p256
        } else {
            &self.any
        }
    }
}

fn tls12_over(
    group: &'static dyn SupportedKxGroup,
    resolver: &Arc<dyn ResolvesServerCert>,
    clients: &Arc<dyn ClientCertVerifier>,
    like: &ServerConfig,
) -> Result<ServerConfig, rustls::Error> {
    let provider = CryptoProvider {
        kx_groups: vec![group],
        ..provider()
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS12])?
        .with_client_cert_verifier(clients.clone())
        .with_cert_resolver(resolver.clone());
    config.session_storage = like.session_storage.clone();
    config.ticketer = like.ticketer.clone();
    config.alpn_protocols = like.alpn_protocols.clone();
    Ok(config)
}

/// All suites of TLS 1.3 are 0x13.. (RFC 8446 appendix B.4).
fn is_tls13(suite: &CipherSuite) -> bool {
    u16::from(*suite) >> 8 == 0x13
}
