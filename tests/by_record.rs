//! A TLS 1.2 client that is given one record at a time, as small chips take them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::house::DEADLINE;

/// A client that trusts this root alone.
pub fn trusting(root_pem: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(root_pem.as_bytes()).unwrap();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

pub struct ByRecord {
    tls: ClientConnection,
    tcp: TcpStream,
}

impl ByRecord {
    pub fn connect(server: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(config.clone(), name).unwrap();
        let tcp = TcpStream::connect(server).unwrap();
        tcp.set_read_timeout(Some(DEADLINE)).unwrap();
        tcp.set_nodelay(true).unwrap();
        Self { tls, tcp }
    }

    pub fn ask(&mut self, text: &str) {
        while self.tls.is_handshaking() {
            self.tls.complete_io(&mut self.tcp).unwrap();
        }
        self.tls.writer().write_all(text.as_bytes()).unwrap();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.tcp).unwrap();
        }
    }

    /// The plaintext of the next record; `None` at the end.
    pub fn record(&mut self) -> Option<Vec<u8>> {
        let mut record = vec![0; 5];
        self.tcp.read_exact(&mut record).ok()?;
        let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
        record.resize(5 + length, 0);
        self.tcp.read_exact(&mut record[5..]).ok()?;
        let mut rest = &record[..];
        while !rest.is_empty() {
            self.tls.read_tls(&mut rest).unwrap();
        }
        let state = self.tls.process_new_packets().unwrap();
        if state.peer_has_closed() {
            return None;
        }
        let mut plain = vec![0; state.plaintext_bytes_to_read()];
        self.tls.reader().read_exact(&mut plain).unwrap();
        Some(plain)
    }
}
