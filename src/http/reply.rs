//! What a door answers.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use super::{Body, Request};

/// A response of ours.
pub type Reply = Response<Body>;

/// What a door has to say to a request.
pub enum Answer {
    /// This path is not this door's.
    NotMine,
    /// Known at once: no wait, no disk.
    Now(Reply),
    /// Needs a moment.
    Later(Pin<Box<dyn Future<Output = Reply> + Send>>),
}

/// A way in that answers on the shared listeners.
pub trait HttpDoor: Send + Sync {
    /// The answer, or [`Answer::NotMine`].
    fn answer(&self, request: &Request) -> Answer;
}

/// 405: this path is for GET and HEAD alone.
#[must_use]
pub fn get_or_head() -> Reply {
    let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
    let allowed = HeaderValue::from_static("GET, HEAD");
    reply.headers_mut().insert(ALLOW, allowed);
    reply
}

/// A short text for people.
#[must_use]
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    let mut reply = Reply::new(Body::Whole(text.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
