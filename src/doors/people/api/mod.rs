//! The operator API: JSON under `/api/v1/admin/`, described by `/api/v1/admin/openapi.json`.
//!
//! | file | what lives there |
//! |---|---|
//! | `caller` | who calls: a client of the network, or the local operator; `Signed`, an actor |
//! | `guard` | only where nobody can listen in; no answer is stored |
//! | `problem`, `extract`, `place` | errors, and checked words of what was sent |
//! | `shape`, `images` | what is sent |
//! | `document` | the routes, and their description |
//! | `session`, `users`, `tokens`, `orgs`, `devices`, `history`, `holds`, `slots`, `upload` | the calls, one folder of paths a file |
//!
//! The routes need no network: [`Api::call`] takes a request from wherever it came.

pub(super) mod caller;
mod devices;
mod document;
mod extract;
mod guard;
mod history;
mod holds;
pub(super) mod images;
mod orgs;
mod place;
pub(super) mod problem;
mod session;
mod shape;
mod slots;
mod tokens;
pub(super) mod upload;
mod users;

use axum::Router;
use axum::body::{Body, to_bytes};
use hyper::header::HeaderValue;
use hyper::{Request, Response, StatusCode};
use tower::ServiceExt;

pub use caller::Caller;

use crate::http::{self, Answer, HttpDoor, Reply};
use crate::office::Office;

/// What every path begins with.
pub const ROOT: &str = "/api/v1/admin";

/// Larger JSON is refused unread.
const LARGEST_JSON: usize = 64 * 1024;

/// The routes; clones share them.
#[derive(Clone)]
pub struct Api {
    routes: Router,
    office: Office,
    https: Option<u16>,
}

impl Api {
    /// The routes over an office. `https` is the port that plain listeners name.
    #[must_use]
    pub fn new(office: Office, https: Option<u16>) -> Self {
        Self {
            routes: guard::around(document::routes(office.clone()), https),
            office,
            https,
        }
    }

    /// Other routes over the same office, guarded in the same way.
    pub(super) fn beside(&self, routes: Router<Office>) -> Self {
        Self {
            routes: guard::around(routes.with_state(self.office.clone()), self.https),
            ..self.clone()
        }
    }

    /// Answers a request of the shared listeners.
    pub(super) fn answer(&self, request: &http::Request) -> Answer {
        let caller = Caller::Client(request.client(), request.scheme());
        let (api, request) = (self.clone(), request.with_body().map(Body::new));
        Answer::Later(Box::pin(async move {
            reply(api.call(caller, request).await).await
        }))
    }

    /// Answers one request. A client's credential is checked; the local operator's need not be.
    pub async fn call(&self, caller: Caller, mut request: Request<Body>) -> Response<Body> {
        request.extensions_mut().insert(caller);
        match self.routes.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// The same routes on the shared listeners.
pub struct Door(Api);

impl Door {
    /// The door over these routes.
    #[must_use]
    pub const fn new(api: Api) -> Self {
        Self(api)
    }
}

impl HttpDoor for Door {
    fn answer(&self, request: &http::Request) -> Answer {
        let below = request.path().strip_prefix(ROOT);
        if !below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Answer::NotMine;
        }
        self.0.answer(request)
    }
}

/// Our answers are small and wholly in memory: their length is known.
async fn reply(response: Response<Body>) -> Reply {
    let (parts, body) = response.into_parts();
    match to_bytes(body, usize::MAX).await {
        Ok(bytes) => Reply::from_parts(parts, http::Body::Whole(bytes)),
        Err(error) => {
            tracing::error!(%error, "an answer could not be made");
            let mut failed = http::text(StatusCode::INTERNAL_SERVER_ERROR, "failed\n");
            let close = HeaderValue::from_static("close");
            failed
                .headers_mut()
                .insert(hyper::header::CONNECTION, close);
            failed
        }
    }
}
