//! Deadlines of connections, without a timer for each: a poll would register and drop several, and cost a tenth more.
//!
//! One clock ticks for all. A connection stores until when it may be silent, and the clock wakes those that were silent
//! for longer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// So far off that no clock gets there.
const NEVER: u64 = u64::MAX;

/// The clock and all who look at it. A deadline passes at most one tick late.
pub struct Deadlines {
    started: Instant,
    /// Milliseconds since the start, as of the last tick.
    now: AtomicU64,
    all: Mutex<Vec<Weak<Deadline>>>,
}

impl Deadlines {
    /// A clock that stands until [`Deadlines::tick`] runs.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            now: AtomicU64::new(0),
            all: Mutex::default(),
        })
    }

    /// Ticks for ever.
    pub async fn tick(&self, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        loop {
            ticks.tick().await;
            let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(NEVER - 1);
            self.now.store(now, Ordering::Relaxed);
            let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|deadline| {
                let Some(deadline) = deadline.upgrade() else {
                    return false;
                };
                if deadline.at.load(Ordering::Relaxed) <= now {
                    deadline.passed.notify_one();
                }
                true
            });
        }
    }

    /// The deadline of a new connection, `after` from now.
    pub fn begin(self: &Arc<Self>, after: Duration) -> Arc<Deadline> {
        let deadline = Arc::new(Deadline {
            clock: self.clone(),
            at: AtomicU64::new(NEVER),
            passed: Notify::new(),
        });
        deadline.set(after);
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::downgrade(&deadline));
        deadline
    }
}

/// Until when one connection may be silent.
pub struct Deadline {
    clock: Arc<Deadlines>,
    /// Milliseconds on the clock.
    at: AtomicU64,
    passed: Notify,
}

impl Deadline {
    /// Moves it to `after` from now. The clock may be a tick behind, so half a tick is lost on average, and none gained.
    pub fn set(&self, after: Duration) {
        let after = u64::try_from(after.as_millis()).unwrap_or(NEVER);
        let now = self.clock.now.load(Ordering::Relaxed);
        self.at.store(now.saturating_add(after), Ordering::Relaxed);
    }

    /// Returns when it has passed.
    pub async fn passed(&self) {
        loop {
            self.passed.notified().await;
            // It may have been moved since the clock looked.
            if self.at.load(Ordering::Relaxed) <= self.clock.now.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_deadline_passes_only_in_silence() {
        let clock = Deadlines::new();
        let ticking = clock.clone();
        let task = tokio::spawn(async move { ticking.tick(Duration::from_millis(1)).await });
        let (silent, lively) = (
            clock.begin(Duration::from_millis(5)),
            clock.begin(Duration::from_millis(5)),
        );
        lively.set(Duration::from_secs(3600));
        silent.passed().await;
        assert!(
            tokio::time::timeout(Duration::from_millis(5), lively.passed())
                .await
                .is_err()
        );
        drop((silent, lively));
        while !clock.all.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        task.abort();
    }
}
