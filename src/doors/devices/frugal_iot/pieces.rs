//! A large image is read piece by piece while it is sent. A piece is read only when there is a place for it, and its
//! place is free again when the last byte of it was sent: a slow reader costs two pieces, wherever they lie.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::spawn_blocking;

use crate::desk::Span;

/// Bytes of a piece.
const PIECE: u64 = 256 * 1024;

/// One is sent, the next one is read meanwhile.
const PLACES: usize = 2;

/// A piece with the place that it takes.
struct Placed {
    bytes: Bytes,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a span, piece by piece. An error is the last thing that comes.
pub fn read(
    span: Span,
    read: impl Fn(u64, usize) -> io::Result<Bytes> + Clone + Send + 'static,
) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, pieces) = mpsc::channel(1);
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(PLACES));
        let mut from = span.from;
        while from < span.to {
            let place = tokio::select! {
                // The reader is gone: what it holds may never be let go.
                () = sender.closed() => return,
                place = places.clone().acquire_owned() => place,
            };
            let Ok(place) = place else { return };
            let length = usize::try_from(PIECE.min(span.to - from)).unwrap_or_default();
            let read = read.clone();
            let piece = spawn_blocking(move || read(from, length))
                .await
                .unwrap_or_else(|error| Err(error.into()));
            let over = piece.is_err();
            let piece = piece.map(|bytes| {
                Bytes::from_owner(Placed {
                    bytes,
                    _place: place,
                })
            });
            if sender.send(piece).await.is_err() || over {
                return;
            }
            from += length as u64;
        }
    });
    pieces
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    const SPAN: Span = Span {
        from: 7,
        to: 7 + 9 * PIECE + 5,
    };

    async fn until(what: impl Fn() -> bool) {
        let wait = async {
            while !what() {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
        assert!(waited.is_ok(), "it never came true");
    }

    /// Pieces of zeros, and how many were read.
    fn counted() -> (mpsc::Receiver<io::Result<Bytes>>, Arc<AtomicUsize>) {
        let count = Arc::<AtomicUsize>::default();
        let counter = count.clone();
        let pieces = read(SPAN, move |_, length| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(vec![0; length].into())
        });
        (pieces, count)
    }

    #[tokio::test]
    async fn a_slow_reader_holds_two_pieces_at_most() {
        let (mut pieces, count) = counted();
        let read = || count.load(Ordering::Relaxed);
        let mut held = Vec::new();
        for taken in 1..=2 {
            held.push(pieces.recv().await.unwrap().unwrap());
            assert!(read() >= taken);
        }
        // Two were taken and none of their bytes is sent: there is nothing to come, however long one waits.
        let more = tokio::time::timeout(Duration::from_millis(50), pieces.recv()).await;
        assert!(more.is_err() && read() == 2, "{}", read());
        let mut sent = held.remove(0);
        drop(sent.split_to(100));
        let more = tokio::time::timeout(Duration::from_millis(50), pieces.recv()).await;
        assert!(more.is_err() && read() == 2, "{}", read());
        drop(sent);
        until(|| read() == 3).await;
        assert!(pieces.recv().await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn all_bytes_of_the_span_come_in_order_and_nothing_else() {
        let mut pieces = read(SPAN, |from, length| {
            let end = from + length as u64;
            Ok((from..end).map(|at| at.to_le_bytes()[1]).collect())
        });
        let mut all = Vec::new();
        while let Some(piece) = pieces.recv().await {
            all.extend_from_slice(&piece.unwrap());
        }
        let whole: Vec<u8> = (SPAN.from..SPAN.to).map(|at| at.to_le_bytes()[1]).collect();
        assert!(all == whole);
    }

    #[tokio::test]
    async fn an_error_is_the_last_thing_that_comes() {
        let mut pieces = read(SPAN, |from, length| match from > SPAN.from {
            true => Err(io::Error::other("torn")),
            false => Ok(vec![0; length].into()),
        });
        assert!(pieces.recv().await.unwrap().is_ok());
        assert!(pieces.recv().await.unwrap().is_err());
        assert!(pieces.recv().await.is_none());
    }

    #[tokio::test]
    async fn when_the_reader_is_gone_nothing_more_is_read() {
        let (mut pieces, count) = counted();
        let held = (pieces.recv().await, pieces.recv().await);
        drop(pieces);
        // What the reader held outlives it, and the task ends all the same: its counter is dropped with it.
        until(|| Arc::strong_count(&count) == 1).await;
        assert_eq!(count.load(Ordering::Relaxed), 2);
        drop(held);
    }
}
