//! The lock of the state folder: one server, or one command while none runs.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// A command that has the folder in hand is done within this time.
const PATIENCE: Duration = Duration::from_secs(3);

/// Makes the folder where it is not there, and locks it; `None` when somebody has it.
pub fn try_lock(dir: &Path) -> anyhow::Result<Option<File>> {
    let context = || format!("the state folder {} cannot be used", dir.display());
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(dir)
        .with_context(context)?;
    let file = File::create(dir.join("lock")).with_context(context)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).with_context(context),
    }
}

/// The lock for a server: a second one would write over the first one's shoulder.
pub fn lock(dir: &Path) -> anyhow::Result<File> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(file) = try_lock(dir)? {
            return Ok(file);
        }
        if Instant::now() > end {
            bail!("another otatree runs on the state folder {}", dir.display());
        }
        thread::sleep(Duration::from_millis(20));
    }
}
