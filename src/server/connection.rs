//! One connection, from the PROXY header to the last byte. Every step has a deadline.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::server::TlsStream;

use crate::http::{Answer, Peer, Records, Reply, Request, Wire, text};

use super::deadline::Deadline;
use super::linger::{drain, linger};
use super::proxy;
use super::transport::{Stream, Transport};
use super::{Shared, tls::Tls};

/// Serves one connection to its end. Nothing that a client does is an error of ours.
pub async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Tls>,
    proxy_protocol: bool,
    shared: Arc<Shared>,
    stopping: watch::Receiver<bool>,
) {
    shared.open.fetch_add(1, Ordering::Relaxed);
    let peer = peer.ip().to_canonical();
    if let Err(error) = converse(stream, peer, tls, proxy_protocol, &shared, stopping).await {
        tracing::debug!(%peer, %error, "a connection ended early");
    }
    shared.open.fetch_sub(1, Ordering::Relaxed);
}

async fn converse(
    mut stream: TcpStream,
    address: IpAddr,
    tls: Option<Tls>,
    proxy_protocol: bool,
    shared: &Arc<Shared>,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let limits = shared.limits.load_full();
    let deadline = shared.deadlines.begin(limits.handshake);
    let mut peer = Peer::from(address);
    if proxy_protocol {
        if !proxy::is_trusted(address, &shared.trusted.load()) {
            tracing::info!(peer = %address, "refused: it is not in trusted_proxies");
            return Ok(());
        }
        let named = tokio::select! {
            named = proxy::read(&mut stream) => named?,
            () = deadline.passed() => return Err(io::ErrorKind::TimedOut.into()),
            _ = stopping.wait_for(|stop| *stop) => return Ok(()),
        };
        peer = Peer::Named(named);
    }
    let (stream, alpn) = match &tls {
        Some(tls_room) => {
            // Boxed, so that the room of a handshake is given back and not kept by every slow reader.
            let shaking = Box::pin(shake_hands(stream, tls_room, peer, shared, &mut stopping));
            let tls = tokio::select! {
                tls = shaking => tls?,
                () = deadline.passed() => return Err(io::ErrorKind::TimedOut.into()),
            };
            let alpn = tls.get_ref().1.alpn_protocol().is_some();
            (Stream::Tls(tls), alpn)
        }
        None => (Stream::Plain(stream), false),
    };
    // No tiny client offers ALPN.
    let records = if alpn {
        Records::Large
    } else {
        Records::Middle
    };
    let wire = Wire::new(peer, tls.is_some(), records);
    deadline.set(limits.head);
    let transport = Transport::new(
        stream,
        wire.clone(),
        deadline.clone(),
        limits.head,
        limits.dead_peer,
    );
    // The receiver lives until this connection is over: the server's end waits for the last one.
    let result = match speak_http(transport, &wire, shared, &deadline, &mut stopping).await {
        Ok(Some(stream)) => {
            let complete = Box::pin(linger(stream, limits.dead_peer)).await;
            wire.end(complete);
            Ok(())
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    shared.forget_download(&wire);
    result
}

async fn shake_hands(
    stream: TcpStream,
    tls: &Tls,
    peer: Peer,
    shared: &Shared,
    stopping: &mut watch::Receiver<bool>,
) -> io::Result<Box<TlsStream<TcpStream>>> {
    // Who said nothing yet need not be waited for when the server ends; who began is let through.
    let start = tokio::select! {
        start = LazyConfigAcceptor::new(Acceptor::default(), stream) => start,
        _ = stopping.wait_for(|stop| *stop) => return Err(io::ErrorKind::ConnectionAborted.into()),
    };
    let start = start.inspect_err(|error| shared.incompatible.heard(error, peer))?;
    let config = tls.config_for(&start.client_hello());
    start
        .into_stream(config)
        .await
        .map(Box::new)
        .inspect_err(|error| shared.incompatible.heard(error, peer))
}

/// Serves requests until the connection is to be closed; gives the stream back when a download needs an orderly end.
async fn speak_http(
    transport: Transport,
    wire: &Arc<Wire>,
    shared: &Arc<Shared>,
    deadline: &Arc<Deadline>,
    stopping: &mut watch::Receiver<bool>,
) -> io::Result<Option<Stream>> {
    let head_size = shared.limits.load().head_size.as_u64();
    let mut connection = http1::Builder::new()
        // Who says nothing more may still listen (`nc -N`); who is gone answers what we write with a reset.
        .half_close(true)
        .max_buf_size(usize::try_from(head_size).unwrap_or(usize::MAX))
        .serve_connection(
            TokioIo::new(transport),
            Conversation {
                shared: shared.clone(),
                wire: wire.clone(),
                deadline: deadline.clone(),
            },
        );
    let (mut ending, mut told) = (false, false);
    let result = loop {
        let serve = poll_fn(|cx| {
            loop {
                let result = connection.poll_without_shutdown(cx);
                // An answer that waits for the end of the connection waits for nothing when that is not at hand.
                if result.is_pending() && wire.goes_on() {
                    continue;
                }
                // hyper drops what it has buffered of a last answer when it is told too early.
                if result.is_ready() || !ending || told || wire.is_sending() {
                    break result;
                }
                told = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        });
        tokio::select! {
            biased;
            result = serve => break result.map_err(io::Error::other),
            _ = stopping.wait_for(|stop| *stop), if !ending => ending = true,
            // Silence after a download: what left last may still be on its way to a slow reader.
            () = deadline.passed() => break match wire.delivers() && !wire.is_sending() {
                _ if wire.is_busy() => {
                    deadline.set(shared.limits.load().head);
                    continue;
                }
                true => Ok(()),
                false => Err(io::Error::from(io::ErrorKind::TimedOut)),
            },
        }
    };
    let mut transport = connection.into_parts().io.into_inner();
    if result.is_err() && wire.is_sending() {
        transport.abandon();
    }
    result?;
    if wire.delivers() && !transport.ended_early() {
        return Ok(Some(transport.into_stream()));
    }
    tokio::select! {
        said = transport.say_end() => said?,
        () = deadline.passed() => return Err(io::ErrorKind::TimedOut.into()),
    }
    if wire.has_unread() {
        Box::pin(drain(transport.into_stream())).await?;
    }
    Ok(None)
}

/// The client wants the connection closed after this answer (RFC 9112, 9.3).
fn wants_end(parts: &Parts) -> bool {
    let said = parts.headers.get(CONNECTION).map(HeaderValue::as_bytes);
    match parts.version {
        Version::HTTP_11 => said.is_some_and(|said| said.eq_ignore_ascii_case(b"close")),
        _ => said.is_none_or(|said| !said.eq_ignore_ascii_case(b"keep-alive")),
    }
}

/// What hyper asks on one connection.
struct Conversation {
    shared: Arc<Shared>,
    wire: Arc<Wire>,
    deadline: Arc<Deadline>,
}

impl Conversation {
    /// A download begins: when there are many, each is content with less kernel memory.
    fn count(&self) {
        if self.wire.delivers() && self.wire.is_first_download() {
            let others = self.shared.downloads.fetch_add(1, Ordering::Relaxed);
            let limits = self.shared.limits.load();
            if others >= limits.wide_downloads {
                self.wire
                    .narrow(usize::try_from(limits.send_buffer.as_u64()).unwrap_or(usize::MAX));
            }
        }
    }
}

impl Service<hyper::Request<Incoming>> for Conversation {
    type Response = Reply;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: hyper::Request<Incoming>) -> Answering {
        self.deadline.set(self.shared.limits.load().head);
        let (parts, body) = request.into_parts();
        self.wire.asked_again(!body.is_end_stream());
        self.wire.set_last(wants_end(&parts));
        if parts.version == Version::HTTP_11 && !parts.headers.contains_key(hyper::header::HOST) {
            return Answering::now(text(
                StatusCode::BAD_REQUEST,
                "HTTP/1.1 needs a Host header\n",
            ));
        }
        let (peer, tls) = (self.wire.peer(), self.wire.secure());
        let (client, scheme) = self.shared.client(&parts.headers, peer, tls);
        let request = Request::new(parts, Some(body), self.wire.clone(), client, scheme);
        for door in &self.shared.doors {
            match door.answer(&request) {
                Answer::NotMine => {}
                Answer::Now(reply) => return Answering::now(reply),
                Answer::Later(reply) => {
                    self.wire.set_busy(true);
                    let conversation = Self {
                        shared: self.shared.clone(),
                        wire: self.wire.clone(),
                        deadline: self.deadline.clone(),
                    };
                    return Answering::Later(reply, conversation);
                }
            }
        }
        tracing::debug!(client = %request.client(), scheme = %request.scheme(), path = request.path(), "no such route");
        Answering::now(text(StatusCode::NOT_FOUND, "not found\n"))
    }
}

/// An answer on its way. Most are there at once, and cost nothing more.
enum Answering {
    Now(Option<Reply>),
    Later(Pin<Box<dyn Future<Output = Reply> + Send>>, Conversation),
}

impl Answering {
    fn now(reply: Reply) -> Self {
        Self::Now(Some(reply))
    }
}

impl Future for Answering {
    type Output = Result<Reply, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Now(reply) => reply
                .take()
                .map_or(Poll::Pending, |reply| Poll::Ready(Ok(reply))),
            Self::Later(reply, conversation) => {
                let reply = ready!(reply.as_mut().poll(cx));
                conversation.wire.set_busy(false);
                conversation.count();
                Poll::Ready(Ok(reply))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytesize::ByteSize;

    use super::*;
    use crate::config::LimitsConfig;
    use crate::http::Delivery;

    struct Nobody;

    impl Delivery for Nobody {
        fn ended(self: Box<Self>, _: u64, _: bool) {}
    }

    /// A connection on which a download begins, and what its transport is asked for.
    fn download(shared: &Arc<Shared>) -> (Arc<Wire>, Option<usize>) {
        let wire = Wire::new(IpAddr::from([127, 0, 0, 1]), false, Records::Middle);
        wire.begin(Box::new(Nobody), 1000);
        let conversation = Conversation {
            shared: shared.clone(),
            wire: wire.clone(),
            deadline: shared.deadlines.begin(std::time::Duration::from_secs(1)),
        };
        conversation.count();
        let asked = wire.take_narrow();
        conversation.count();
        assert_eq!(wire.take_narrow(), None, "a connection is counted once");
        (wire, asked)
    }

    #[test]
    fn only_above_wide_downloads_a_download_is_given_less_kernel_memory() {
        let limits = LimitsConfig {
            wide_downloads: 2,
            send_buffer: ByteSize::kib(16),
            ..LimitsConfig::default()
        };
        let shared = Shared::new(Vec::new(), None, limits, Vec::new());
        let (first, asked) = download(&shared);
        assert_eq!(asked, None);
        let (second, asked) = download(&shared);
        assert_eq!(asked, None);
        assert_eq!(download(&shared).1, Some(16 * 1024));
        // Two are over, one is left.
        shared.forget_download(&first);
        shared.forget_download(&second);
        assert_eq!(download(&shared).1, None);
        assert_eq!(download(&shared).1, Some(16 * 1024));
    }
}
