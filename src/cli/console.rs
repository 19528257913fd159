//! The operator API for who has the control socket or the locked database in hand: the same routes, and no credential.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use otatree::doors::people::api::{Api, Caller};
use otatree::health::Board;
use otatree::server::control::Control;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The routes, for the local operator.
pub fn service(
    api: Api,
) -> impl Service<
    Request<Incoming>,
    Response = Response<Body>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<Body>, Infallible>> + Send + Unpin,
> + Clone
+ Unpin
+ Send
+ 'static {
    service_fn(move |request: Request<Incoming>| {
        let api = api.clone();
        Box::pin(async move { Ok(api.call(Caller::Console, request.map(Body::new)).await) })
    })
}

/// The control socket of a running server.
pub struct Offered {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Offers the control socket in the state folder. Without it only `--server` reaches this server, and all else goes on.
pub fn offer(dir: &Path, api: Api, drain: Duration, board: &Board) -> Option<Offered> {
    let control = match Control::bind(dir) {
        Ok(control) => control,
        Err(error) => {
            let why = format!(
                "no control socket in {} ({error}): commands need --server",
                dir.display()
            );
            board.trouble("control", Some(why));
            return None;
        }
    };
    let (stop, stopped) = oneshot::channel();
    let end = async { drop(stopped.await) };
    let serving = control.serve(service(api), end, drain);
    let task = tokio::spawn(async {
        if let Err(error) = serving.await {
            tracing::warn!(%error, "the control socket cannot be used: commands need --server");
        }
    });
    Some(Offered { stop, task })
}

impl Offered {
    /// Takes no more commands; gives what waits until those under way are done.
    pub fn end(self) -> JoinHandle<()> {
        drop(self.stop);
        self.task
    }
}
