use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

const STEPS: [&str; 1] = ["CREATE TABLE t (x TEXT NOT NULL) STRICT;"];
const SOON: Duration = Duration::from_millis(20);

fn open(path: &Path) -> Result<Store, StoreError> {
    Store::open_with(path, SOON, &STEPS)
}

fn put(store: &Store, text: &'static str) -> Result<(), StoreError> {
    store.write_blocking(move |tx| {
        tx.execute("INSERT INTO t VALUES (?1)", [text])?;
        Ok(())
    })
}

fn count(store: &Store) -> i64 {
    store
        .read(|c| Ok::<_, StoreError>(c.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?))
        .unwrap()
}

#[test]
fn what_was_written_is_there_after_a_restart_and_only_for_the_owner_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let store = open(&path).unwrap();
    put(&store, "a").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&dir.path().join("otatree.db-wal")), 0o600);
    drop(store);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(count(&open(&path).unwrap()), 1);
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn a_job_that_fails_or_panics_changes_nothing_and_the_next_one_works() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join(FILE)).unwrap();
    let failed: Result<(), StoreError> = store.write_blocking(|tx| {
        tx.execute("INSERT INTO t VALUES ('x')", [])?;
        Err(StoreError::Full)
    });
    assert_eq!(failed, Err(StoreError::Full));
    let panicked: Result<(), StoreError> = store.write_blocking(|tx| {
        tx.execute("INSERT INTO t VALUES ('x')", [])?;
        panic!("meant by the test")
    });
    assert_eq!(panicked, Err(StoreError::Stopped));
    put(&store, "a").unwrap();
    assert_eq!(count(&store), 1);
}

#[test]
fn a_reader_cannot_write() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join(FILE)).unwrap();
    let wrote = store.read(|c| Ok::<_, StoreError>(c.execute("DELETE FROM t", [])?));
    assert_eq!(wrote, Err(StoreError::ReadOnly));
}

#[test]
fn a_database_that_another_process_holds_is_said_to_be_locked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let store = open(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(put(&store, "a"), Err(StoreError::Locked));
    assert_eq!(count(&store), 0);
    other.execute_batch("ROLLBACK").unwrap();
    put(&store, "a").unwrap();
}

#[test]
fn a_full_database_says_so_and_keeps_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join(FILE)).unwrap();
    put(&store, "a").unwrap();
    let full: Result<(), StoreError> = store.write_blocking(|tx| {
        tx.query_row("PRAGMA max_page_count = 3", [], |_| Ok(()))?;
        tx.execute("INSERT INTO t VALUES (hex(zeroblob(100000)))", [])?;
        Ok(())
    });
    assert_eq!(full, Err(StoreError::Full));
    assert_eq!(count(&store), 1);
}

#[test]
fn a_file_that_is_no_database_is_called_damaged_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let junk = "this is no database at all ".repeat(200);
    fs::write(&path, &junk).unwrap();
    assert!(matches!(open(&path), Err(StoreError::Corrupt(_))));
    assert_eq!(fs::read_to_string(&path).unwrap(), junk);
}

#[test]
fn a_damaged_page_is_called_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    drop(open(&path).unwrap());
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    let store = open(&path).unwrap();
    assert!(matches!(put(&store, "a"), Err(StoreError::Corrupt(_))));
}

#[test]
fn a_database_of_a_newer_otatree_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    drop(Store::open_with(&path, SOON, &[STEPS[0], "CREATE TABLE u (x TEXT) STRICT;"]).unwrap());
    let before = fs::read(&path).unwrap();
    let error = open(&path).err().unwrap();
    assert_eq!(error, StoreError::Newer { found: 2, known: 1 });
    assert!(error.to_string().contains("nothing was changed"));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_copy_is_kept_before_an_older_database_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let store = open(&path).unwrap();
    put(&store, "a").unwrap();
    drop(store);
    let newer = Store::open_with(&path, SOON, &[STEPS[0], "DELETE FROM t;"]).unwrap();
    assert_eq!(count(&newer), 0);
    let copy = dir.path().join("otatree.db.v1.bak");
    assert_eq!(
        fs::metadata(&copy).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(count(&open(&copy).unwrap()), 1);
}

#[test]
fn a_step_that_fails_leaves_the_old_version() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    drop(open(&path).unwrap());
    let broken = Store::open_with(&path, SOON, &[STEPS[0], "DROP TABLE t; nonsense;"]);
    assert!(broken.is_err());
    assert_eq!(count(&open(&path).unwrap()), 0);
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let error = Store::open(Path::new("/nonexistent/state")).err().unwrap();
    let text = error.to_string();
    assert!(text.contains("/nonexistent/state/otatree.db"), "{text}");
}

/// Runs this test again where the folder is mounted read-only: root may write whatever the modes say.
#[test]
fn a_read_only_folder_is_said_and_named() {
    const AGAIN: &str = "OTATREE_TEST_READ_ONLY";
    if let Some(dir) = std::env::var_os(AGAIN) {
        let error = open(&Path::new(&dir).join(FILE)).err();
        assert_eq!(error, Some(StoreError::ReadOnly));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir.path().join(FILE)).unwrap());
    let mounts =
        "mount --bind \"$D\" \"$D\" && mount -o remount,ro,bind \"$D\" || exit 77; exec \"$@\"";
    let again = std::process::Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            mounts,
            "sh",
        ])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::tests::a_read_only_folder_is_said_and_named",
        ])
        .env(AGAIN, dir.path())
        .env("D", dir.path())
        .output();
    match again {
        Ok(ran) if ran.status.success() => {}
        Ok(ran) if ran.status.code() == Some(101) => {
            panic!("{}", String::from_utf8_lossy(&ran.stdout))
        }
        other => eprintln!("not run, no mounts here: {other:?}"),
    }
}
