//! Whether the peer got the last byte of a download.
//!
//! An HTTP/1.0 updater reads the length it was told and closes. It sends no close_notify, and when ours is still unread
//! its close becomes a TCP reset (measured with the real TLS stacks; the sources of the ESP8266 core, arduino-esp32 and
//! esp-tls agree). So a reset is not a failure by itself. What counts:
//!
//! 1. everything has left this machine (nothing unsent in the kernel: `TCP_NOTSENT_LOWAT`) while the connection was sound;
//! 2. then we close our half, and the peer closes or resets its own.
//!
//! A reset before the first, or silence after it, is a download that was cut off.

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::TcpStream;
use tokio_rustls::rustls::ServerConnection;
use tokio_rustls::rustls::server::ServerConnectionData;

use super::transport::Stream;

/// A device that has everything may write to its flash for a while before it closes.
const PATIENCE: Duration = Duration::from_secs(30);

/// For so long a client may go on sending what nobody reads.
pub const LAST_WORD: Duration = Duration::from_secs(5);

/// Closes our half in order and waits for the peer's; says whether the peer has everything. `dead_peer` is the time for
/// what is still unsent, which is little.
pub async fn linger(stream: Stream, dead_peer: Duration) -> bool {
    let (tcp, session) = match stream {
        Stream::Plain(tcp) => (tcp, None),
        Stream::Tls(tls) => {
            let (tcp, session) = tls.into_inner();
            (tcp, Some(session))
        }
    };
    let sent = tokio::time::timeout(dead_peer, all_sent(&tcp)).await;
    matches!(sent, Ok(Ok(()))) && close(tcp, session).await.is_ok()
}

async fn close(mut tcp: TcpStream, session: Option<ServerConnection>) -> io::Result<()> {
    if let Some(session) = session {
        // Little, and the kernel has room for it.
        tokio::time::timeout(PATIENCE, notify(&mut tcp, session)).await?;
    }
    match SockRef::from(&tcp).shutdown(Shutdown::Write) {
        // It closed before it read our last words, and answered them with a reset.
        Err(error) if is_gone(&error) => return Ok(()),
        result => result?,
    }
    let mut rest = [0; 512];
    let wait = async {
        loop {
            match tcp.read(&mut rest).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if is_gone(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .map_err(io::Error::from)?
}

/// Lets a client that still sends hear an answer that came early: to close on what it sends would reset the connection,
/// and a reset overtakes the answer.
pub async fn drain(stream: Stream) -> io::Result<()> {
    let mut tcp = match stream {
        Stream::Plain(tcp) => tcp,
        Stream::Tls(tls) => tls.into_inner().0,
    };
    SockRef::from(&tcp).shutdown(Shutdown::Write)?;
    let mut unread = vec![0; 16 * 1024];
    let wait = async {
        while tcp.read(&mut unread).await? > 0 {}
        io::Result::Ok(())
    };
    tokio::time::timeout(LAST_WORD, wait).await?
}

/// The peer reset the connection: the kernel says EPIPE instead of ECONNRESET when the peer had closed in order before,
/// and ENOTCONN to a shutdown after either.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

/// Waits until the kernel has sent all it was given.
async fn all_sent(tcp: &TcpStream) -> io::Result<()> {
    SockRef::from(tcp).set_tcp_notsent_lowat(1)?;
    loop {
        tcp.writable().await?;
        match tcp.try_io(Interest::WRITABLE, || nothing_unsent(tcp)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}

/// Asks the kernel for the state as it is now: what the runtime remembers is the last change, and that was before
/// the limit was set. To ask also makes the kernel report the next change.
fn nothing_unsent(tcp: &TcpStream) -> io::Result<()> {
    let mut asked = [PollFd::new(tcp, PollFlags::OUT)];
    poll(&mut asked, Some(&Timespec::default()))?;
    let now = asked[0].revents();
    if now.intersects(PollFlags::ERR | PollFlags::HUP)
        && let Some(error) = tcp.take_error()?
    {
        return Err(error);
    }
    match now.contains(PollFlags::OUT) {
        true => Ok(()),
        false => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Says in TLS that nothing more comes. A peer that is gone does not hear it.
async fn notify(tcp: &mut TcpStream, mut session: ServerConnection) {
    let session: &mut tokio_rustls::rustls::ConnectionCommon<ServerConnectionData> = &mut session;
    session.send_close_notify();
    let mut bytes = Vec::new();
    while session.wants_write() {
        if session.write_tls(&mut bytes).is_err() {
            return;
        }
    }
    let _ = tokio::io::AsyncWriteExt::write_all(tcp, &bytes).await;
}
