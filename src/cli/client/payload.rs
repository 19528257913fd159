//! What a command sends: bytes in memory, in pieces, with a bar that follows them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use indicatif::ProgressBar;

/// So much at once: small enough for a bar that moves.
const PIECE: usize = 32 * 1024;

/// The body of a request.
pub struct Payload {
    left: Bytes,
    bar: ProgressBar,
}

impl Payload {
    /// Nothing.
    pub fn empty() -> Self {
        Self::whole(Bytes::new())
    }

    /// These bytes.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::watched(bytes, ProgressBar::hidden())
    }

    /// These bytes, with a bar.
    pub fn watched(bytes: impl Into<Bytes>, bar: ProgressBar) -> Self {
        let left = bytes.into();
        Self { left, bar }
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.left.len()
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let most = self.left.len().min(PIECE);
        let piece = self.left.split_to(most);
        self.bar.inc(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}
