//! The transport of one connection: plain TCP or TLS, with records as small as the client needs and buffers that grow
//! only with a reader that is fast.
//!
//! One write to rustls becomes one record, so the size of records is the size of the pieces that we write; the handshake
//! is left alone. Each piece of HTTP is written by itself, so a body never begins in the record that ends the head:
//! an ESP8266 fails when the first body record holds fewer than 4 bytes.

use std::future::poll_fn;
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::http::Wire;

use super::deadline::Deadline;

/// What is encrypted ahead for a reader of unknown speed, and at most for a fast one. Each slow reader costs the first.
const BATCH: (usize, usize) = (4 * 1024, 64 * 1024);

/// TCP, or TLS over it.
pub enum Stream {
    /// HTTP
    Plain(TcpStream),
    /// HTTPS
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

/// The stream of one connection with what it knows of its reader.
pub struct Transport {
    stream: Stream,
    wire: Arc<Wire>,
    batch: usize,
    deadline: Arc<Deadline>,
    /// How long the client may be silent after an answer.
    silence: Duration,
    /// How long it may take nothing of a download.
    dead_peer: Duration,
    /// It ended its half before all of a download was written, so its end does not say that it has the rest.
    ended_early: bool,
}

impl Transport {
    /// A stream and the part of it that doors see.
    pub const fn new(
        stream: Stream,
        wire: Arc<Wire>,
        deadline: Arc<Deadline>,
        silence: Duration,
        dead_peer: Duration,
    ) -> Self {
        Self {
            stream,
            wire,
            batch: BATCH.0,
            deadline,
            silence,
            dead_peer,
            ended_early: false,
        }
    }

    /// Bytes of an answer left: while it is a download, the peer has longer for the next.
    fn wrote(&self, bytes: usize) {
        self.wire.wrote(bytes);
        if self.wire.is_sending() {
            self.deadline.set(self.dead_peer);
        } else {
            self.deadline.set(self.silence);
        }
    }

    /// Looks whether the peer has ended its half before it could have all of a download: when this write may be the last,
    /// since an end stays to be seen.
    fn look(&mut self, offered: usize) {
        if !self.ended_early && (1..=offered as u64).contains(&self.wire.left()) {
            let peeked = SockRef::from(self.stream.tcp()).peek(&mut [MaybeUninit::uninit()]);
            self.ended_early = matches!(peeked, Ok(0));
        }
    }

    /// The peer ended its half before it could have had all of the download.
    pub const fn ended_early(&self) -> bool {
        self.ended_early
    }

    /// The peer is dead: the kernel forgets what it was given for it when the stream is dropped.
    pub fn abandon(&self) {
        if let Err(error) = SockRef::from(self.stream.tcp()).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "what is unsent stays with the kernel for a while");
        }
    }

    /// The stream alone.
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    /// Says in TLS that nothing more comes, together with an answer that waited for it.
    pub async fn say_end(&mut self) -> io::Result<()> {
        let Stream::Tls(tls) = &mut self.stream else {
            return Ok(());
        };
        tls.get_mut().1.send_close_notify();
        poll_fn(|cx| Pin::new(&mut **tls).poll_flush(cx)).await
    }

    /// Limits the kernel memory for what is sent. A failure costs memory only.
    fn narrow(&self, bytes: usize) {
        // The kernel doubles it for its own book-keeping (socket(7)).
        if let Err(error) = SockRef::from(self.stream.tcp()).set_send_buffer_size(bytes / 2) {
            tracing::debug!(%error, "a send buffer stays as it is");
        }
    }

    fn write_tls(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Stream::Tls(tls) = &mut self.stream else {
            return Poll::Ready(Ok(0));
        };
        // What was encrypted before leaves first: it bounds the memory of a reader that does not read.
        ready!(Pin::new(&mut **tls).poll_flush(cx))?;
        let record = self.wire.record();
        let mut taken = 0;
        for piece in bytes[..bytes.len().min(self.batch)].chunks(record) {
            let written = tls.get_mut().1.writer().write(piece)?;
            taken += written;
            if written < piece.len() {
                break;
            }
        }
        if self.wire.ends_with_this() {
            return Poll::Ready(Ok(taken));
        }
        match Pin::new(&mut **tls).poll_flush(cx) {
            Poll::Ready(Ok(())) => self.batch = (self.batch * 2).min(BATCH.1),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            // It is taken all the same; the next write waits for it.
            Poll::Pending => self.batch = (self.batch / 2).max(BATCH.0),
        }
        Poll::Ready(Ok(taken))
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = match &mut this.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        };
        if this.wire.receives() && buf.filled().len() > before {
            this.deadline.set(this.silence);
        }
        read
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.look(bytes.len());
        let written = match &mut this.stream {
            Stream::Plain(tcp) => ready!(Pin::new(tcp).poll_write(cx, bytes)),
            Stream::Tls(_) => ready!(this.write_tls(cx, bytes)),
        };
        if let Ok(bytes) = written {
            this.wrote(bytes);
        }
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let first = pieces
            .iter()
            .find(|piece| !piece.is_empty())
            .map_or(&[][..], |piece| piece);
        this.wire.sends_head(first.len());
        if let Some(bytes) = this.wire.take_narrow() {
            this.narrow(bytes);
        }
        if matches!(this.stream, Stream::Plain(_)) {
            this.look(pieces.iter().map(|piece| piece.len()).sum());
        }
        if let Stream::Plain(tcp) = &mut this.stream {
            // Plain text has no records: head and body may leave together.
            let written = ready!(Pin::new(tcp).poll_write_vectored(cx, pieces));
            if let Ok(bytes) = written {
                this.wrote(bytes);
            }
            return Poll::Ready(written);
        }
        Pin::new(this).poll_write(cx, first)
    }

    /// hyper hands over head and body as separate pieces only to a transport that says so.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match &mut this.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            // A last answer leaves in one packet with the end: a segment and a system call less on both sides.
            Stream::Tls(_) if this.wire.ends_with_this() => Poll::Ready(Ok(())),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::net::TcpListener;

    use super::super::deadline::Deadlines;
    use super::*;
    use crate::http::Records;

    const SECOND: Duration = Duration::from_secs(1);

    fn send_buffer(transport: &Transport) -> usize {
        SockRef::from(transport.stream.tcp())
            .send_buffer_size()
            .unwrap()
    }

    async fn say(transport: &mut Transport, bytes: &[u8]) {
        let pieces = [IoSlice::new(&[]), IoSlice::new(bytes)];
        let written = poll_fn(|cx| Pin::new(&mut *transport).poll_write_vectored(cx, &pieces));
        assert_eq!(written.await.unwrap(), bytes.len());
    }

    #[tokio::test]
    async fn the_send_buffer_is_bounded_when_it_is_asked_for_and_left_alone_before() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (_client, server) = (client.await.unwrap(), listener.accept().await.unwrap().0);
        let wire = Wire::new(IpAddr::from([127, 0, 0, 1]), false, Records::Middle);
        let deadline = Deadlines::new().begin(SECOND);
        let mut transport = Transport::new(
            Stream::Plain(server),
            wire.clone(),
            deadline,
            SECOND,
            SECOND,
        );
        let before = send_buffer(&transport);
        let bound = 16 * 1024;
        assert!(before > bound, "{before}");
        say(&mut transport, b"head").await;
        assert_eq!(send_buffer(&transport), before);
        wire.narrow(bound);
        say(&mut transport, b"head").await;
        assert!(send_buffer(&transport) <= bound);
    }
}
