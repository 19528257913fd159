//! The control socket: HTTP/1.1 on a Unix socket in the state folder, for whoever is the server's user or root.
//!
//! The mode of the file is the whole credential, so it is never wider than 0600, not even for an instant: it is bound in a
//! folder that nobody else may enter, and moved into place. That also replaces one that a killed server left behind.

use std::convert::Infallible;
use std::error::Error;
use std::fs::{self, File, Permissions};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::pin::{self, pin};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::BREATH;
use super::linger::LAST_WORD;

/// Its name in the state folder.
const NAME: &str = "control.sock";

/// Longer paths are no addresses for the kernel (108 bytes, with the zero at their end).
const LONGEST: usize = 100;

/// The socket in its place. Dropped, it is gone.
#[derive(Debug)]
pub struct Control {
    socket: net::UnixListener,
    path: PathBuf,
}

impl Control {
    /// Offers the socket in this folder. Who calls holds the folder's lock, so one that is there already is stale.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn bind(folder: &Path) -> io::Result<Self> {
        let private = tempfile::Builder::new()
            .prefix(".control.")
            .tempdir_in(folder)?;
        let fresh = private.path().join(NAME);
        let socket = at(&fresh, |path| net::UnixListener::bind(path))?;
        fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
        socket.set_nonblocking(true)?;
        let path = folder.join(NAME);
        fs::rename(&fresh, &path)?;
        Ok(Self { socket, path })
    }

    /// Answers by `service` until `end`; then lets answers that are under way finish for `drain`.
    ///
    /// # Errors
    /// When the runtime cannot watch the socket.
    pub async fn serve<S>(
        self,
        service: S,
        end: impl Future<Output = ()>,
        drain: Duration,
    ) -> io::Result<()>
    where
        S: HttpService<Incoming, Error = Infallible> + Clone + Unpin + Send + 'static,
        S::Future: Unpin + Send,
        S::ResBody: Send + 'static,
        <S::ResBody as Body>::Data: Send,
        <S::ResBody as Body>::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let socket = UnixListener::from_std(self.socket.try_clone()?)?;
        let (stop, stopping) = watch::channel(false);
        let mut running = JoinSet::new();
        let mut end = pin!(end);
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                Some(_) = running.join_next() => continue,
                () = &mut end => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    let mut stopping = stopping.clone();
                    let stopping = async move { drop(stopping.wait_for(|stop| *stop).await) };
                    running.spawn(converse(stream, service.clone(), stopping));
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket takes nobody for a moment");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
        drop(socket);
        drop(self);
        // An error would mean that nobody is there any more.
        let _ = stop.send(true);
        let all_gone = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(drain, all_gone).await.is_err() {
            tracing::warn!(
                "the drain time was over and a command on the control socket was cut off"
            );
        }
        Ok(())
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Somebody may have tidied up before.
        let _ = fs::remove_file(&self.path);
    }
}

/// One client of `service`, on anything that carries bytes both ways, until it is done, or idle after `stopping`.
pub async fn converse<S>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    service: S,
    stopping: impl Future<Output = ()>,
) where
    S: HttpService<Incoming, Error = Infallible> + Unpin,
    S::Future: Unpin,
    S::ResBody: 'static,
    <S::ResBody as Body>::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut stopping = pin!(stopping);
    let mut told = false;
    let result = loop {
        let serve = poll_fn(|cx| connection.poll_without_shutdown(cx));
        tokio::select! {
            result = serve => break result.map_err(io::Error::other),
            () = &mut stopping, if !told => {
                told = true;
                pin::Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let stream = connection.into_parts().io.into_inner();
    let result = match result {
        Ok(()) if !told => tokio::select! {
            result = listen_on(stream) => result,
            () = &mut stopping => Ok(()),
        },
        result => result,
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a client of the control socket left early");
    }
}

/// Lets a client that still sends hear an answer that came early: to close on what it sends would be an error there, and
/// that comes before the answer.
async fn listen_on(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    stream.shutdown().await?;
    let mut unread = vec![0; 16 * 1024];
    let wait = async {
        while stream.read(&mut unread).await? > 0 {}
        io::Result::Ok(())
    };
    tokio::time::timeout(LAST_WORD, wait).await?
}

/// Asks for the socket of the server that runs on this state folder.
///
/// # Errors
/// `NotFound` or `ConnectionRefused` when none runs; `PermissionDenied` for other users.
pub async fn connect(folder: &Path) -> io::Result<UnixStream> {
    let stream = at(&folder.join(NAME), |path| net::UnixStream::connect(path))?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Does something with a path that the kernel takes as an address, by way of its folder if it is too long.
fn at<T>(path: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if path.as_os_str().as_bytes().len() > LONGEST => {
            let folder = File::open(folder)?;
            act(&Path::new("/proc/self/fd")
                .join(folder.as_raw_fd().to_string())
                .join(name))
        }
        _ => act(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use std::future::{pending, ready};
    use std::io::{Read as _, Write as _};
    use tokio::sync::oneshot;

    fn answer(stream: &mut net::UnixStream) -> String {
        let request = b"GET /who HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    /// Asks a server on this folder once, and ends it.
    fn ask_once(folder: &Path) -> String {
        let control = Control::bind(folder).unwrap();
        let path = control.path.clone();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let left: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, [NAME], "nothing else is left");
        let (stop, stopped) = oneshot::channel::<()>();
        let end = async { drop(stopped.await) };
        let service = service_fn(|request: Request<Incoming>| {
            let path = request.uri().path().to_owned();
            ready(Ok::<_, Infallible>(Response::new(path)))
        });
        let serving = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime
                .block_on(control.serve(service, end, Duration::from_secs(5)))
                .unwrap();
        });
        let mut stream = at(&path, |path| net::UnixStream::connect(path)).unwrap();
        // A client that says nothing does not hold the end up.
        let _idle = at(&path, |path| net::UnixStream::connect(path)).unwrap();
        let said = answer(&mut stream);
        stop.send(()).unwrap();
        serving.join().unwrap();
        assert!(!path.exists(), "removed at the end");
        said
    }

    #[test]
    fn only_the_servers_user_may_knock_and_a_stale_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        drop(net::UnixListener::bind(folder.path().join(NAME)).unwrap());
        let said = ask_once(folder.path());
        assert!(
            said.starts_with("HTTP/1.1 200") && said.ends_with("/who"),
            "{said}"
        );
    }

    #[test]
    fn a_client_that_sends_more_than_is_read_hears_the_answer() {
        let (theirs, mut ours) = net::UnixStream::pair().unwrap();
        let serving = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            theirs.set_nonblocking(true).unwrap();
            runtime.block_on(async {
                let service =
                    service_fn(|_| ready(Ok::<_, Infallible>(Response::new("no".to_owned()))));
                let theirs = UnixStream::from_std(theirs).unwrap();
                converse(theirs, service, pending()).await;
            });
        });
        let many = 4 * 1024 * 1024;
        write!(
            ours,
            "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: {many}\r\n\r\n"
        )
        .unwrap();
        ours.write_all(&vec![0; many]).unwrap();
        let mut text = String::new();
        ours.read_to_string(&mut text).unwrap();
        assert!(text.ends_with("no"), "{text}");
        drop(ours);
        serving.join().unwrap();
    }

    #[test]
    fn a_state_folder_may_be_deeper_than_an_address_is_long() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("x".repeat(120));
        fs::create_dir(&deep).unwrap();
        assert!(ask_once(&deep).ends_with("/who"));
    }
}
