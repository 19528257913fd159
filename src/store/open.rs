//! Opening the file: its mode, its version, the steps to the newest.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::StoreError;

/// Step `n` leads from version `n` to `n + 1`. Steps are only ever added.
pub(super) const STEPS: [&str; 1] = [include_str!("1_people.sql")];

/// How long another process may hold the lock.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The one connection that writes, at the newest version.
pub(super) fn writer(
    path: &Path,
    patience: Duration,
    steps: &[&str],
) -> Result<Connection, StoreError> {
    let known = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    if path.metadata().is_ok_and(|file| file.len() > 0) {
        // SQLite makes files beside it, and calls a folder where it cannot "unable to open".
        for place in [Some(path), path.parent()].into_iter().flatten() {
            if let Err(Errno::ROFS | Errno::ACCESS | Errno::PERM) = access(place, Access::WRITE_OK)
            {
                return Err(StoreError::ReadOnly);
            }
        }
        // Read-only, so that a file of a newer otatree is left as it is.
        let found = version(&reader(path, patience)?)?;
        if found > known {
            return Err(StoreError::Newer { found, known });
        }
    }
    make_private(path).map_err(|error| cannot_open(path, &error))?;
    let mut connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(|error| opening(path, error))?;
    connection.busy_timeout(patience)?;
    if connection.is_readonly("main")? {
        return Err(StoreError::ReadOnly);
    }
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Else INSERT OR REPLACE would delete behind the back of the triggers.
    connection.pragma_update(None, "recursive_triggers", true)?;
    migrate(path, &mut connection, steps)?;
    Ok(connection)
}

/// A connection that cannot write.
pub(super) fn reader(path: &Path, patience: Duration) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(|error| opening(path, error))?;
    connection.busy_timeout(patience)?;
    Ok(connection)
}

fn version(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

fn cannot_open(path: &Path, reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::CannotOpen {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

fn opening(path: &Path, error: rusqlite::Error) -> StoreError {
    match StoreError::from(error) {
        StoreError::Refused(reason) => cannot_open(path, &reason),
        other => other,
    }
}

/// Makes the file if it is not there; nobody else may read it. SQLite gives its side files the same mode.
fn make_private(path: &Path) -> io::Result<()> {
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
                fs::set_permissions(path, Permissions::from_mode(0o600))?;
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn migrate(path: &Path, connection: &mut Connection, steps: &[&str]) -> Result<(), StoreError> {
    let known = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    let from = version(connection)?;
    let start = usize::try_from(from).map_err(|_| StoreError::Corrupt("its version".into()))?;
    if start >= steps.len() {
        return Ok(());
    }
    if start > 0 {
        keep_copy(path, connection, from)?;
    }
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in &steps[start..] {
        tx.execute_batch(step)?;
    }
    tx.pragma_update(None, "user_version", known)?;
    Ok(tx.commit()?)
}

/// The database as the older otatree left it, beside it.
fn keep_copy(path: &Path, connection: &Connection, version: i64) -> Result<(), StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".v{version}.bak"));
    let copy = PathBuf::from(name);
    let mut part = copy.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let failed = |error: io::Error| cannot_open(&part, &error);
    if part.exists() {
        fs::remove_file(&part).map_err(failed)?;
    }
    make_private(&part).map_err(failed)?;
    connection.execute("VACUUM INTO ?1", [part.to_string_lossy()])?;
    fs::rename(&part, &copy).map_err(failed)
}
