//! What a door answers.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
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
