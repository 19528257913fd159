//! The rustls configuration: which versions, groups, sessions and tickets, and why.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, ServerSessionMemoryCache};

/// The one place that names the crypto provider.
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

/// One configuration for the life of the process: certificates change behind `resolver`, sessions stay.
///
/// What is left at rustls' defaults is left on purpose: `max_fragment_size` (lowering it splits handshake
/// messages, which mbedTLS before 3.6.3 refuses), `ignore_client_order` false (an ESP8266 puts ChaCha20 first),
/// `require_ems` false (BearSSL has no extended master secret).
///
/// # Errors
/// When the provider cannot do both versions, or gives no random bytes for ticket keys.
pub(super) fn server_config(
    resolver: Arc<dyn ResolvesServerCert>,
    sessions: usize,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    // BearSSL resumes by session id only; rustls' own 256 places are gone before a fleet comes back.
    config.session_storage = if sessions == 0 {
        Arc::new(NoServerSessionStorage {})
    } else {
        ServerSessionMemoryCache::new(sessions)
    };
    // mbedTLS resumes TLS 1.2 by ticket.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    // No node resumes TLS 1.3, and two tickets cost a tenth of a poll.
    config.send_tls13_tickets = 0;
    // Clients without ALPN pass; those that offer only others are refused (RFC 7301 section 3.2).
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
