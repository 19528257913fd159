//! New certificates while the server runs.

use std::fs;
use std::sync::Arc;

use otatree::server::tls::{Tls, TlsError, TlsWarning};
use rustls::HandshakeKind;

use super::papers::{self, save, write};
use super::shake::{TLS12, client, shake};
use super::{DAY, settings, today};

#[test]
fn a_renewed_certificate_is_served_and_sessions_stay() {
    let dir = tempfile::tempdir().unwrap();
    let root = papers::root("R");
    let old = papers::leaf(&["ota.test"], &root);
    let pair = save(dir.path(), "a", &old, &[]);
    let (tls, _) = Tls::open(settings(dir.path(), vec![pair.clone()]), today()).unwrap();
    let returning = Arc::new(client(&root.pem(), TLS12));
    let first = shake(&tls, &returning, "ota.test").unwrap();

    assert_eq!(
        tls.reload(today()).unwrap().changed,
        Vec::<std::path::PathBuf>::new()
    );
    let new = papers::dated_leaf(
        &["ota.test"],
        &root,
        papers::p256(),
        today() - DAY,
        60 * DAY,
    );
    save(dir.path(), "a", &new, &[]);
    let reloaded = tls.reload(today()).unwrap();
    assert_eq!(reloaded.changed, [pair.key, pair.certificate]);
    assert_eq!(reloaded.certificates[0].days_left, 59);
    assert_eq!(reloaded.issued, None);

    let again = shake(&tls, &returning, "ota.test").unwrap();
    assert_eq!(again.kind(), HandshakeKind::Resumed);
    let stranger = Arc::new(client(&root.pem(), TLS12));
    let fresh = shake(&tls, &stranger, "ota.test").unwrap();
    assert_eq!(fresh.kind(), HandshakeKind::Full);
    assert_ne!(fresh.leaf(), first.leaf());
}

#[test]
fn a_bad_certificate_leaves_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let root = papers::root("R");
    let good = papers::leaf(&["ota.test"], &root);
    let pair = save(dir.path(), "a", &good, &[]);
    let mut with_anchor = settings(dir.path(), vec![pair.clone()]);
    with_anchor.anchors = vec![write(dir.path(), "root.pem", &root.pem())];
    let (tls, _) = Tls::open(with_anchor, today()).unwrap();
    let client = Arc::new(client(&root.pem(), TLS12));
    let served = || shake(&tls, &client, "ota.test").unwrap();
    let before = tls.summary(today());

    let stranger = papers::root("S");
    let expired = papers::dated_leaf(&["ota.test"], &root, papers::p256(), today() - 9 * DAY, DAY);
    let unanchored = papers::leaf(&["ota.test"], &stranger);
    for bad in [&expired, &unanchored] {
        save(dir.path(), "a", bad, &[]);
        assert!(tls.reload(today()).is_err());
        served();
    }
    fs::remove_file(&pair.key).unwrap();
    assert!(matches!(tls.reload(today()), Err(TlsError::Read { .. })));
    write(dir.path(), "a.pem", "half");
    assert!(tls.reload(today()).is_err());
    served();
    assert_eq!(tls.summary(today()), before);

    save(dir.path(), "a", &good, &[]);
    assert!(
        tls.reload(today()).is_ok(),
        "the old settings are still the settings"
    );
}

#[test]
fn new_settings_are_kept_only_when_they_load() {
    let dir = tempfile::tempdir().unwrap();
    let root = papers::root("R");
    let one = save(dir.path(), "one", &papers::leaf(&["one.test"], &root), &[]);
    let two = save(dir.path(), "two", &papers::leaf(&["two.test"], &root), &[]);
    let (tls, _) = Tls::open(settings(dir.path(), vec![one.clone()]), today()).unwrap();

    let mut more = settings(dir.path(), vec![two.clone(), one.clone()]);
    more.sessions = 7;
    let reloaded = tls.reload_settings(more.clone(), today()).unwrap();
    assert_eq!(reloaded.changed, [two.key.clone(), two.certificate.clone()]);
    assert_eq!(reloaded.warnings, [TlsWarning::SessionsAtNextStart]);
    assert_eq!(reloaded.certificates[0].names, ["two.test"]);

    more.pairs[0].key = one.key;
    assert!(tls.reload_settings(more, today()).is_err());
    let names: Vec<_> = tls
        .reload(today())
        .unwrap()
        .certificates
        .into_iter()
        .map(|c| c.names)
        .collect();
    assert_eq!(names, [["two.test"], ["one.test"]]);
    assert_eq!(tls.root_pem(), None);

    let reloaded = tls
        .reload_settings(settings(dir.path(), Vec::new()), today())
        .unwrap();
    assert!(reloaded.certificates[0].ours, "back to the private root");
    assert!(tls.root_pem().is_some());
}

#[test]
fn an_expiring_certificate_is_warned_of_at_each_reload() {
    let dir = tempfile::tempdir().unwrap();
    let root = papers::root("R");
    let pair = save(dir.path(), "a", &papers::leaf(&["ota.test"], &root), &[]);
    let (tls, warnings) = Tls::open(settings(dir.path(), vec![pair]), today()).unwrap();
    assert_eq!(warnings, []);
    for days in [80, 81] {
        let warnings = tls.reload(today() + days * DAY).unwrap().warnings;
        assert!(
            matches!(warnings[..], [TlsWarning::ExpiresSoon { .. }]),
            "{warnings:?}"
        );
    }
    // It expires with nothing new on the disk: it is still what there is.
    assert!(matches!(
        tls.reload(today() + 91 * DAY),
        Err(TlsError::Expired { .. })
    ));
    assert_eq!(tls.summary(today() + 91 * DAY)[0].days_left, -2);
}
