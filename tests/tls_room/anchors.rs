//! Devices that trust one root alone.

use otatree::server::tls::{Pair, TlsError, TlsWarning};

use super::configured::{refused, warned};
use super::papers::{self, save, write};
use super::settings;

#[test]
fn the_chain_must_lead_to_each_anchor_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let old = papers::root("Old");
    let new = papers::root("New");
    let middle = papers::intermediate("I", &new);
    let leaf = papers::leaf(&["*.ota.test"], &middle);
    let cross = papers::cross_sign("New", new.key(), &old);
    let short = save(path, "short", &leaf, &[&middle.pem()]);
    let long = save(path, "long", &leaf, &[&middle.pem(), &cross]);
    let old_pem = write(path, "old.pem", &old.pem());
    let new_pem = write(path, "new.pem", &new.pem());
    let stranger = write(path, "stranger.pem", &papers::root("Stranger").pem());
    let with = |pair: &Pair, anchors: &[&std::path::PathBuf]| {
        let mut settings = settings(path, vec![pair.clone()]);
        settings.anchors = anchors.iter().map(|anchor| (*anchor).clone()).collect();
        settings
    };

    assert_eq!(warned(&with(&short, &[&new_pem])), []);
    assert_eq!(warned(&with(&long, &[&new_pem, &old_pem])), []);
    let error = refused(&with(&short, &[&new_pem, &old_pem]));
    let TlsError::NotAnchored {
        certificate,
        anchor,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((certificate, anchor), (&short.certificate, &old_pem));
    assert!(matches!(
        refused(&with(&long, &[&stranger])),
        TlsError::NotAnchored { .. }
    ));
    assert!(matches!(
        refused(&with(&long, &[&path.join("none.pem")])),
        TlsError::Read { .. }
    ));
    assert!(matches!(
        refused(&with(&long, &[&write(path, "x.pem", "x")])),
        TlsError::NoCertificate { .. }
    ));

    let mut alone = settings(path, vec![]);
    alone.anchors = vec![new_pem];
    assert!(matches!(
        refused(&alone),
        TlsError::AnchorsWithoutCertificate
    ));
    assert!(!alone.identity.exists(), "a refused start makes nothing");
}

#[test]
fn a_self_signed_certificate_is_its_own_anchor() {
    let dir = tempfile::tempdir().unwrap();
    let root = papers::root("R");
    let key = rcgen::KeyPair::from_pem(&root.key().serialize_pem()).unwrap();
    let itself = papers::Leaf {
        pem: root.pem(),
        key,
    };
    let pair = save(dir.path(), "a", &itself, &[]);
    let mut settings = settings(dir.path(), vec![pair.clone()]);
    settings.anchors = vec![pair.certificate.clone()];
    let path = pair.certificate;
    assert_eq!(warned(&settings), [TlsWarning::NoNames { path }]);
}
