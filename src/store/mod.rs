//! The one database of the server: `otatree.db` in the state folder. It knows SQLite and nobody's words.
//!
//! | file | what lives there |
//! |---|---|
//! | `open` | the file's mode and version, the steps to the newest version, the copy before a step |
//! | `error` | what can be wrong, each with its cure |
//! | `*.sql` | the steps |
//!
//! One thread writes. [`Store::write`] returns when the change is durable; what must happen in the order of the writes,
//! such as swapping a picture in memory, is done on that thread. Reads use connections that cannot write.

mod error;
mod open;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

pub use error::StoreError;

/// The name of the file in the state folder.
pub const FILE: &str = "otatree.db";

/// Writes that may wait for the thread.
const QUEUE: usize = 256;

/// Connections for reading that are kept open.
const READERS: usize = 4;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A handle to the database; clones share it. When the last is dropped, the file is closed.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    path: PathBuf,
    patience: Duration,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    readers: Mutex<Vec<Connection>>,
}

impl Store {
    /// Opens the database in the state folder; makes it if there is none, and brings it to the newest version.
    ///
    /// # Errors
    /// When the file cannot be used. One that a newer otatree wrote is left untouched.
    pub fn open(state: &Path) -> Result<Self, StoreError> {
        Self::open_with(&state.join(FILE), open::PATIENCE, &open::STEPS)
    }

    fn open_with(path: &Path, patience: Duration, steps: &[&str]) -> Result<Self, StoreError> {
        let mut writer = open::writer(path, patience, steps)?;
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    // A job that panics is undone by its transaction, and its caller hears `Stopped`.
                    if catch_unwind(AssertUnwindSafe(|| job(&mut writer))).is_err() {
                        tracing::error!("a job of the database panicked, and is undone");
                    }
                }
            })
            .map_err(|_| StoreError::Stopped)?;
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            patience,
            jobs: Some(jobs),
            thread: Some(thread),
            readers: Mutex::default(),
        })))
    }

    /// Runs `job` in a transaction on the writer thread; returns when it is durable. An error undoes it.
    ///
    /// # Errors
    /// What the job says, or what is wrong with the database.
    pub async fn write<T, E>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.write_then(job, |done| done).await
    }

    /// As [`Store::write`]; `then` runs on the writer thread once the change is durable, before the next write.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub async fn write_then<T, U, E>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
        then: impl FnOnce(T) -> U + Send + 'static,
    ) -> Result<U, E>
    where
        U: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, wait) = oneshot::channel();
        let job = boxed(job, then, answer);
        self.jobs()?
            .send(job)
            .await
            .map_err(|_| StoreError::Stopped)?;
        wait.await.map_err(|_| StoreError::Stopped)?
    }

    /// [`Store::write`] for a thread that is no task of the runtime.
    ///
    /// # Errors
    /// As [`Store::write`].
    ///
    /// # Panics
    /// Inside a task of tokio.
    pub fn write_blocking<T, E>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, wait) = oneshot::channel();
        let job = boxed(job, |done| done, answer);
        self.jobs()?
            .blocking_send(job)
            .map_err(|_| StoreError::Stopped)?;
        wait.blocking_recv().map_err(|_| StoreError::Stopped)?
    }

    /// Hands over a write that may be lost, such as "last used". Never waits; false when the queue is full.
    pub fn write_behind(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> Result<(), StoreError> + Send + 'static,
    ) -> bool {
        let (answer, _) = oneshot::channel();
        self.jobs()
            .is_ok_and(|jobs| jobs.try_send(boxed(job, |()| (), answer)).is_ok())
    }

    /// Runs `job` on a connection that cannot write. It blocks: in a task, on a blocking thread.
    ///
    /// # Errors
    /// What the job says, or what is wrong with the database.
    pub fn read<T, E>(&self, job: impl FnOnce(&Connection) -> Result<T, E>) -> Result<T, E>
    where
        E: From<StoreError>,
    {
        let kept = self.0.lock_readers().pop();
        let connection = match kept {
            Some(connection) => connection,
            None => open::reader(&self.0.path, self.0.patience)?,
        };
        let result = job(&connection);
        let mut readers = self.0.lock_readers();
        if readers.len() < READERS {
            readers.push(connection);
        }
        result
    }

    fn jobs(&self) -> Result<&mpsc::Sender<Job>, StoreError> {
        self.0.jobs.as_ref().ok_or(StoreError::Stopped)
    }
}

impl Inner {
    fn lock_readers(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.lock_readers().clear();
        self.jobs = None;
        // The last handle may have been part of a job.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the database panicked");
        }
    }
}

fn boxed<T, U, E>(
    job: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    then: impl FnOnce(T) -> U + Send + 'static,
    answer: oneshot::Sender<Result<U, E>>,
) -> Job
where
    U: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    Box::new(move |connection| {
        let result = in_transaction(connection, job).map(then);
        // Nobody waits any more: the change stands all the same.
        drop(answer.send(result));
    })
}

fn in_transaction<T, E: From<StoreError>>(
    connection: &mut Connection,
    job: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let tx = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(StoreError::from)?;
    let done = job(&tx)?;
    tx.commit().map_err(StoreError::from)?;
    Ok(done)
}
