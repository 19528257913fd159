//! A private identity that lost a part: what is mended, and what a person must decide.

use std::fs;
use std::path::Path;

use otatree::server::tls::{
    IdentityError, Issued, LeafReason, RootFault, Tls, TlsError, TlsProblem, TlsWarning, check,
};

use super::private::{open, private, text};
use super::{DAY, papers, today};

#[test]
fn a_torn_or_lost_leaf_is_made_again() {
    for (file, with, reason) in [
        ("leaf.pem", None, LeafReason::Missing),
        (
            "leaf.pem",
            Some("-----BEGIN CERTIFICATE-----\nMII"),
            LeafReason::Missing,
        ),
        ("leaf.pem", Some(""), LeafReason::Missing),
        ("leaf-key.pem", None, LeafReason::KeyLost),
        ("leaf-key.pem", Some("torn"), LeafReason::KeyLost),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let settings = private(dir.path(), &[]);
        open(&settings, today());
        let (root, key) = (text(&settings, "root.pem"), text(&settings, "leaf-key.pem"));
        let path = settings.identity.join(file);
        match with {
            None => fs::remove_file(&path).unwrap(),
            Some(text) => fs::write(&path, text).unwrap(),
        }
        assert!(check(&settings, today()).is_empty(), "it will be mended");
        let again = open(&settings, today());
        assert_eq!(
            again.issued(),
            Some(Issued {
                root: false,
                leaf: reason.clone()
            })
        );
        assert_eq!(text(&settings, "root.pem"), root);
        assert_eq!(
            text(&settings, "leaf-key.pem") == key,
            reason == LeafReason::Missing
        );
    }
}

#[test]
fn a_root_that_devices_may_trust_is_never_replaced() {
    let other_key = papers::p256().serialize_pem();
    for (file, with, fault) in [
        ("root-key.pem", None, RootFault::Missing),
        ("root-key.pem", Some("torn"), RootFault::Damaged),
        (
            "root-key.pem",
            Some(other_key.as_str()),
            RootFault::OtherKey,
        ),
        ("root.pem", None, RootFault::Missing),
        (
            "root.pem",
            Some("-----BEGIN CERTIFICATE-----\nMII"),
            RootFault::Damaged,
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let settings = private(dir.path(), &[]);
        let tls = open(&settings, today());
        let path = settings.identity.join(file);
        match with {
            None => fs::remove_file(&path).unwrap(),
            Some(text) => fs::write(&path, text).unwrap(),
        }
        let before = listing(&settings.identity);
        let error = Tls::open(settings.clone(), today()).unwrap_err();
        assert!(
            matches!(&error, TlsError::Identity(IdentityError::Root { path: named, fault: found }) if *named == path && *found == fault),
            "{error}"
        );
        assert!(tls.reload(today()).is_err());
        assert_eq!(
            tls.summary(today()).len(),
            1,
            "what was served is served on"
        );
        assert!(matches!(
            &check(&settings, today())[..],
            [TlsProblem::Error(TlsError::Identity(_))]
        ));
        assert_eq!(listing(&settings.identity), before, "nothing was touched");
    }

    let dir = tempfile::tempdir().unwrap();
    let settings = private(dir.path(), &[]);
    open(&settings, today());
    let error = Tls::open(settings, today() + 31 * 366 * DAY).unwrap_err();
    assert!(matches!(
        error,
        TlsError::Identity(IdentityError::Root {
            fault: RootFault::Expired,
            ..
        })
    ));
}

#[test]
fn a_first_start_that_was_cut_short_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let settings = private(dir.path(), &[]);
    open(&settings, today());
    let key = text(&settings, "root-key.pem");
    for file in ["root.pem", "leaf.pem", "leaf-key.pem"] {
        fs::remove_file(settings.identity.join(file)).unwrap();
    }
    fs::write(settings.identity.join(".otatree.4x7Qpz"), "half").unwrap();
    let again = open(&settings, today());
    assert_eq!(
        again.issued(),
        Some(Issued {
            root: true,
            leaf: LeafReason::Missing
        })
    );
    assert_eq!(text(&settings, "root-key.pem"), key);
    assert_eq!(fs::read_dir(&settings.identity).unwrap().count(), 4);
}

#[test]
fn a_disk_that_takes_nothing_leaves_the_old_leaf() {
    let dir = tempfile::tempdir().unwrap();
    let settings = private(dir.path(), &[]);
    let tls = open(&settings, today());
    // A folder where a file should be tidied away: also root, who may write everywhere, cannot.
    fs::create_dir(settings.identity.join(".otatree.left")).unwrap();
    let then = today() + 380 * DAY;
    let reloaded = tls.reload(then).unwrap();
    assert!(
        reloaded
            .warnings
            .iter()
            .any(|w| matches!(w, TlsWarning::NotReissued { .. })),
        "{:?}",
        reloaded.warnings
    );
    assert!(Tls::open(settings.clone(), then).is_ok());
    let error = Tls::open(settings, today() + 400 * DAY).unwrap_err();
    assert!(
        matches!(error, TlsError::Identity(IdentityError::Write { .. })),
        "{error}"
    );
}

fn listing(folder: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}
