//! A client and a server that shake hands in memory.

use std::sync::Arc;
use std::time::SystemTime;

use otatree::server::tls::Tls;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::Acceptor;
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, HandshakeKind, RootCertStore,
    ServerConnection, SideData, SupportedCipherSuite, SupportedProtocolVersion,
};

use super::today;

#[derive(Debug)]
struct Today;

impl rustls::time_provider::TimeProvider for Today {
    fn current_time(&self) -> Option<UnixTime> {
        let now = today().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Some(UnixTime::since_unix_epoch(now))
    }
}

pub const TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
pub const TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

pub fn client(root_pem: &str, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    client_with(aws_lc_rs::default_provider(), root_pem, versions)
}

pub fn client_with(
    mut provider: CryptoProvider,
    root_pem: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    // A rustls client offers suites of versions that it does not speak; nodes do not.
    let spoken = |suite: &SupportedCipherSuite| versions.contains(&suite.version());
    provider.cipher_suites.retain(spoken);
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(root_pem.as_bytes()).unwrap())
        .unwrap();
    let mut client = ClientConfig::builder_with_details(Arc::new(provider), Arc::new(Today))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.resumption = Resumption::in_memory_sessions(8);
    client
}

pub struct Shaken {
    pub client: ClientConnection,
    pub server: ServerConnection,
    /// The server's first answer, as it was on the wire.
    pub flight: Vec<u8>,
}

impl Shaken {
    pub fn leaf(&self) -> CertificateDer<'static> {
        self.client.peer_certificates().unwrap()[0]
            .clone()
            .into_owned()
    }

    pub fn kind(&self) -> HandshakeKind {
        self.server.handshake_kind().unwrap()
    }
}

/// Shakes hands as the server does: hello first, then the configuration for it.
pub fn shake(tls: &Tls, client: &Arc<ClientConfig>, name: &str) -> Result<Shaken, rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(client.clone(), name)?;
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut &hello[..]).unwrap();
    let accepted = acceptor.accept().map_err(|(error, _)| error)?.unwrap();
    let config = tls.config_for(&accepted.client_hello());
    let mut server = accepted
        .into_connection(config)
        .map_err(|(error, _)| error)?;
    let mut flight = Vec::new();
    while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
        let bytes = sent(&mut server);
        receive(&mut client, &bytes)?;
        if flight.is_empty() {
            flight = bytes;
        }
        receive(&mut server, &sent(&mut client))?;
    }
    Ok(Shaken {
        client,
        server,
        flight,
    })
}

fn sent<Data>(from: &mut ConnectionCommon<Data>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    bytes
}

fn receive<Data: SideData>(
    to: &mut ConnectionCommon<Data>,
    mut bytes: &[u8],
) -> Result<(), rustls::Error> {
    while !bytes.is_empty() {
        to.read_tls(&mut bytes).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}
