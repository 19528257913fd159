//! Examining files, off everybody's way: a few threads and two queues. What a device waits for goes first.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read};
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::firmware::format;
use crate::firmware::{ImageKind, Keys, Stamp};

use super::catalog::Outcome;
use super::read;

/// A file that changed less than this before it was examined may change again under the same stamp.
const RACY: Duration = Duration::from_secs(2);

/// A file to examine. A cold start queues one for every file of the tree, so it is small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The root.
    pub root: Arc<Path>,
    /// Path relative to the root.
    pub rel: Arc<Path>,
    /// What it is to be.
    pub kind: ImageKind,
    /// The file that is meant.
    pub stamp: Stamp,
    /// Its signature, and the keys of its org.
    pub seal: Option<(Arc<Keys>, Box<str>)>,
    /// Texts to look for in it.
    pub texts: Arc<[Box<str>]>,
}

/// A file that was examined.
#[derive(Debug)]
pub struct Examined {
    /// The order.
    pub job: Job,
    /// What it came to; `None` when the file was another one by then.
    pub outcome: Option<Outcome>,
    /// See [`super::catalog::Known::racy`].
    pub racy: bool,
    /// Somebody may be waiting for it.
    pub urgent: bool,
}

#[derive(Default)]
struct Queues {
    urgent: VecDeque<Arc<Path>>,
    background: VecDeque<Arc<Path>>,
    jobs: HashMap<Arc<Path>, Job>,
    /// Under examination, or examined and not heard of yet.
    in_hand: HashMap<Arc<Path>, Job>,
    closed: bool,
}

/// The queues. Dropped, its threads end after the file in hand.
pub struct Hasher {
    shared: Arc<(Mutex<Queues>, Condvar)>,
    examined: Arc<AtomicU64>,
}

fn lock(queues: &Mutex<Queues>) -> MutexGuard<'_, Queues> {
    queues.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hasher {
    /// Starts the threads. `done` hears of every file, on one of them. Files above `largest` bytes are not read.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        largest: u64,
        done: impl Fn(Examined) + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new((Mutex::new(Queues::default()), Condvar::new()));
        let examined = Arc::<AtomicU64>::default();
        let threads = thread::available_parallelism()
            .map_or(1, usize::from)
            .clamp(1, 4);
        for n in 0..threads {
            let (shared, examined, done) = (shared.clone(), examined.clone(), done.clone());
            thread::Builder::new()
                .name(format!("examine-{n}"))
                .spawn(move || {
                    be_nice();
                    while let Some((job, urgent)) = next(&shared) {
                        examined.fetch_add(1, Ordering::Relaxed);
                        done(examine(job, urgent, largest));
                    }
                })?;
        }
        Ok(Self { shared, examined })
    }

    /// Adds a file. An urgent one overtakes all that are not, also when it was queued before.
    pub fn push(&self, job: Job, urgent: bool) {
        let (queues, wake) = &*self.shared;
        let mut queues = lock(queues);
        if queues.in_hand.get(&job.rel) == Some(&job) {
            return;
        }
        let rel = job.rel.clone();
        let known = queues.jobs.insert(rel.clone(), job).is_some();
        if urgent {
            queues.urgent.push_back(rel);
        } else if !known {
            queues.background.push_back(rel);
        }
        drop(queues);
        wake.notify_one();
    }

    /// Counts the files that were examined.
    #[must_use]
    pub fn examined(&self) -> Arc<AtomicU64> {
        self.examined.clone()
    }

    /// Says that the result of a job was heard: the same job may be given again.
    pub fn heard(&self, job: &Job) {
        let mut queues = lock(&self.shared.0);
        if queues.in_hand.get(&job.rel) == Some(job) {
            queues.in_hand.remove(&job.rel);
        }
    }

    /// Files that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        lock(&self.shared.0).jobs.len()
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        lock(&self.shared.0).closed = true;
        self.shared.1.notify_all();
    }
}

/// Polls come before hashing on a small machine. Where it is not allowed, nothing is lost.
fn be_nice() {
    let me = rustix::thread::gettid();
    let _ = rustix::process::setpriority_process(Some(me), 10);
}

/// The next file, and whether it is urgent.
fn next(shared: &(Mutex<Queues>, Condvar)) -> Option<(Job, bool)> {
    let (queues, wake) = shared;
    let mut queues = lock(queues);
    loop {
        if queues.closed {
            return None;
        }
        let urgent = !queues.urgent.is_empty();
        let next = match urgent {
            true => queues.urgent.pop_front(),
            false => queues.background.pop_front(),
        };
        match next {
            // An entry without a job was overtaken by its urgent twin.
            Some(rel) => {
                if let Some(job) = queues.jobs.remove(&rel) {
                    queues.in_hand.insert(rel, job.clone());
                    return Some((job, urgent));
                }
            }
            None => queues = wake.wait(queues).unwrap_or_else(PoisonError::into_inner),
        }
    }
}

fn examine(job: Job, urgent: bool, largest: u64) -> Examined {
    if job.stamp.size > largest {
        let why = format!(
            "it has {} bytes; [tree] largest_image allows {largest}",
            job.stamp.size
        );
        return Examined {
            job,
            outcome: Some(Outcome::Unreadable(why.into())),
            racy: false,
            urgent,
        };
    }
    // Before it is read: a change in the same tick of a coarse clock must not hide behind the time that reading took.
    let racy = is_racy(job.stamp);
    let outcome = match read_whole(&job.root.join(&job.rel), job.stamp) {
        // One strange file must not end the thread that examines all others.
        Ok(Some(bytes)) => Some(match catch_unwind(|| format::examine(&bytes, job.kind)) {
            Ok(Ok(mut facts)) => {
                facts.texts = Arc::new(format::look_for(&bytes, &job.texts));
                let seal = job.seal.as_ref();
                facts.seal = seal.map(|(keys, text)| Box::new(keys.judge(&bytes, text)));
                Outcome::Sound(Arc::new(facts))
            }
            Ok(Err(defect)) => Outcome::Defective(Arc::new(defect)),
            Err(_) => Outcome::Unreadable(
                "its examination failed, which is a fault of otatree; please report it".into(),
            ),
        }),
        Ok(None) => None,
        Err(error) => Some(Outcome::Unreadable(
            format!("it cannot be read ({error}); make it readable for the server's user").into(),
        )),
    };
    Examined {
        job,
        outcome,
        racy,
        urgent,
    }
}

/// Since the last change of a file, by the wall clock; nothing when that lies in the future. People set the time of
/// the last modification as they like, so only the kernel's own counts.
#[must_use]
pub fn age(stamp: Stamp) -> Duration {
    now().saturating_sub(changed(stamp))
}

/// Another change of the file right now might leave its stamp as it is. When the clock was set back, the stamp lies in
/// the future and no change of today can be mistaken for it.
fn is_racy(stamp: Stamp) -> bool {
    now().abs_diff(changed(stamp)) < RACY
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn changed(stamp: Stamp) -> Duration {
    Duration::from_nanos(u64::try_from(stamp.changed).unwrap_or_default())
}

/// Reads a file whose stamp must be the given one before and after; `None` when it is another.
///
/// SECURITY: the stamp was taken from a path checked to lie in the tree. A link that was swapped since then leads to
/// another inode, and its bytes are thrown away here.
///
/// # Errors
/// When it cannot be opened or read.
pub fn read_whole(path: &Path, stamp: Stamp) -> io::Result<Option<Vec<u8>>> {
    let mut file = match read::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if read::stamp(&file.metadata()?) != stamp {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(stamp.size).unwrap_or(0) + 1);
    Read::by_ref(&mut file)
        .take(stamp.size + 1)
        .read_to_end(&mut bytes)?;
    let same = bytes.len() as u64 == stamp.size && read::stamp(&file.metadata()?) == stamp;
    Ok(same.then_some(bytes))
}
