//! A server by its URL: HTTPS with the roots of this system or those of a file; plain HTTP on this machine only.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use hyper::Uri;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Stream;

/// For a connection, and for its handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// A peer that takes nothing for so long is gone.
const DEAD: Duration = Duration::from_secs(60);

/// Where a server is, and whom to believe that it is the one.
#[derive(Clone)]
pub struct Remote {
    host: String,
    port: u16,
    /// As `Host:` has it.
    pub authority: String,
    secure: bool,
    tls: Option<Arc<ClientConfig>>,
}

impl FromStr for Remote {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || "no address of a server, such as https://ota.example.org:8443".to_owned();
        let uri: Uri = text.parse().map_err(|_| shape())?;
        let authority = uri.authority().ok_or_else(shape)?;
        if authority.as_str().contains('@') {
            return Err(
                "no name and no secret belong into it: a token comes from OTATREE_TOKEN or a file"
                    .to_owned(),
            );
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err("nothing belongs behind host and port".to_owned());
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if is_here(&host) => false,
            Some("http") => return Err("http:// is for this machine only, since anybody on the way could read the token; use https://".to_owned()),
            _ => return Err(shape()),
        };
        Ok(Self {
            port: authority
                .port_u16()
                .unwrap_or(if secure { 443 } else { 80 }),
            authority: authority.to_string(),
            host,
            secure,
            tls: None,
        })
    }
}

fn is_here(host: &str) -> bool {
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

impl Remote {
    /// The same server, with the roots that are to be believed.
    pub fn trusting(mut self, cacert: Option<&Path>) -> anyhow::Result<Self> {
        if self.secure {
            let mut config = ClientConfig::builder_with_provider(Arc::new(
                rustls::crypto::aws_lc_rs::default_provider(),
            ))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(cacert)?)
            .with_no_client_auth();
            // Who names a protocol is known to take large records.
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            self.tls = Some(Arc::new(config));
        }
        Ok(self)
    }

    /// A connection, with its handshake behind it.
    pub async fn connect(&self) -> anyhow::Result<Box<dyn Stream>> {
        let tcp = tokio::time::timeout(PATIENCE, self.reach())
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .with_context(|| format!("{} cannot be reached", self.authority))?;
        let socket = SockRef::from(&tcp);
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(Some(DEAD))?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(tcp));
        };
        let name = ServerName::try_from(self.host.clone())
            .with_context(|| format!("{} is no name that a certificate can have", self.host))?;
        let shaking = TlsConnector::from(tls.clone()).connect(name, tcp);
        let stream = tokio::time::timeout(PATIENCE, shaking)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .with_context(|| {
                format!(
                    "{} does not prove who it is; where a server has a root of its own, copy its state/identity/root.pem here and name it with --cacert",
                    self.authority
                )
            })?;
        Ok(Box::new(stream))
    }

    async fn reach(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        let found: Vec<SocketAddr> = tokio::net::lookup_host((self.host.as_str(), self.port))
            .await?
            // Whatever a resolver makes of `localhost`: no token goes out in clear.
            .filter(|address| self.secure || address.ip().is_loopback())
            .collect();
        for address in found {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

fn roots(cacert: Option<&Path>) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(path) = cacert else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            bail!(
                "this system names no root certificates: install ca-certificates, or name a file with --cacert"
            );
        }
        return Ok(roots);
    };
    let context = || format!("--cacert {} cannot be used", path.display());
    let certificates = CertificateDer::pem_file_iter(path).with_context(context)?;
    for certificate in certificates {
        roots
            .add(certificate.with_context(context)?)
            .with_context(context)?;
    }
    if roots.is_empty() {
        bail!("there is no certificate in {}", path.display());
    }
    Ok(roots)
}
