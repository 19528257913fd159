//! The body of a request, for the doors that read one.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::Wire;

/// The bytes that a client sends after its head. It is read as fast as the door takes it, and no faster; a client that
/// falls silent in it is let go as one that falls silent in its head.
pub struct Upload {
    /// `None`: somebody took it before, so nothing is left.
    body: Option<Incoming>,
    wire: Arc<Wire>,
}

impl Upload {
    pub(super) fn new(body: Option<Incoming>, wire: Arc<Wire>) -> Self {
        wire.receive();
        Self { body, wire }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(body).poll_frame(cx);
        this.wire.set_busy(frame.is_ready());
        if let Poll::Ready(None) = frame {
            this.wire.received();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
