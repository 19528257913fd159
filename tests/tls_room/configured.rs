//! Certificates that the operator configured: what is refused, and in which words; what is warned of.

use std::path::Path;

use otatree::server::tls::{
    KeyKind, Pair, Tls, TlsError, TlsProblem, TlsSettings, TlsWarning, check,
};

use super::papers::{self, save, write};
use super::{DAY, settings, today};

pub fn refused(settings: &TlsSettings) -> TlsError {
    let error = Tls::open(settings.clone(), today()).unwrap_err();
    let found: Vec<_> = check(settings, today())
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        found.contains(&error.to_string()),
        "check says {found:?}, open says {error}"
    );
    error
}

pub fn warned(settings: &TlsSettings) -> Vec<TlsWarning> {
    let (_, warnings) = Tls::open(settings.clone(), today()).unwrap();
    let checked = check(settings, today())
        .into_iter()
        .map(|problem| match problem {
            TlsProblem::Warning(warning) => warning,
            TlsProblem::Error(error) => panic!("{error}"),
        });
    assert_eq!(checked.collect::<Vec<_>>(), warnings);
    warnings
}

fn pair(folder: &Path, certificate: &str, key: &str) -> TlsSettings {
    let pair = Pair {
        certificate: folder.join(certificate),
        key: folder.join(key),
    };
    settings(folder, vec![pair])
}

#[test]
fn a_good_pair_is_served_without_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let root = papers::root("R");
    let middle = papers::intermediate("I", &root);
    let leaf = papers::leaf(&["ota.test", "192.0.2.7"], &middle);
    let settings = settings(
        dir.path(),
        vec![save(dir.path(), "a", &leaf, &[&middle.pem()])],
    );
    assert_eq!(warned(&settings), []);
    let (tls, _) = Tls::open(settings.clone(), today()).unwrap();
    let [summary] = &tls.summary(today())[..] else {
        panic!()
    };
    assert_eq!(summary.names, ["ota.test"]);
    assert_eq!(
        summary.addresses,
        ["192.0.2.7".parse::<std::net::IpAddr>().unwrap()]
    );
    assert_eq!(
        (summary.days_left, summary.ours, summary.key),
        (89, false, KeyKind::P256)
    );
    assert_eq!(summary.issuer, "CN=I");
    assert_eq!(tls.root_pem(), None);
    assert!(
        !settings.identity.exists(),
        "nothing is made beside configured certificates"
    );
}

#[test]
fn a_file_that_is_not_what_it_should_be_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let root = papers::root("R");
    let leaf = papers::leaf(&["ota.test"], &root);
    let other = papers::leaf(&["ota.test"], &root);
    save(path, "good", &leaf, &[]);
    save(path, "other", &other, &[]);
    write(path, "garbage.pem", "not PEM at all");
    write(path, "torn.pem", &leaf.pem[..leaf.pem.len() / 2]);
    write(
        path,
        "base64.pem",
        "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
    );
    write(
        path,
        "no-der.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    write(
        path,
        "secret.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    write(path, "empty.pem", "");
    for (certificate, key, says) in [
        ("missing.pem", "good-key.pem", "cannot read"),
        ("good.pem", "missing.pem", "cannot read"),
        ("garbage.pem", "good-key.pem", "no certificate in"),
        ("empty.pem", "good-key.pem", "no certificate in"),
        ("torn.pem", "good-key.pem", "damaged PEM"),
        ("base64.pem", "good-key.pem", "damaged PEM"),
        ("no-der.pem", "good-key.pem", "certificate 1 in"),
        ("good.pem", "garbage.pem", "no private key in"),
        ("good.pem", "good.pem", "no private key in"),
        ("good.pem", "secret.pem", "is encrypted"),
        ("good.pem", "other-key.pem", "does not belong to"),
    ] {
        let error = refused(&pair(path, certificate, key)).to_string();
        assert!(error.contains(says), "{certificate} {key}: {error}");
        let named = if certificate == "good.pem" {
            key
        } else {
            certificate
        };
        assert!(
            error.contains(&path.join(named).display().to_string()),
            "{error}"
        );
    }
}

#[test]
fn the_chain_is_leaf_first_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let root = papers::root("R");
    let upper = papers::intermediate("Upper", &root);
    let lower = papers::intermediate("Lower", &upper);
    let leaf = papers::leaf(&["ota.test"], &lower);
    save(dir.path(), "good", &leaf, &[&lower.pem(), &upper.pem()]);
    assert_eq!(warned(&pair(dir.path(), "good.pem", "good-key.pem")), []);

    write(dir.path(), "late.pem", &(lower.pem() + &leaf.pem));
    let error = refused(&pair(dir.path(), "late.pem", "good-key.pem"));
    assert!(
        matches!(error, TlsError::LeafNotFirst { position: 2, .. }),
        "{error}"
    );

    write(
        dir.path(),
        "mixed.pem",
        &(leaf.pem.clone() + &upper.pem() + &lower.pem()),
    );
    let error = refused(&pair(dir.path(), "mixed.pem", "good-key.pem"));
    assert!(
        matches!(&error, TlsError::ChainOrder { position: 2, subject, issuer, .. } if subject == "CN=Upper" && issuer == "CN=Lower"),
        "{error}"
    );
}

#[test]
fn a_certificate_out_of_its_dates_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let root = papers::root("R");
    for (from, life, says) in [
        (
            today() - 90 * DAY,
            89 * DAY,
            "expired on 2026-06-30 00:00 UTC",
        ),
        (
            today() + DAY,
            90 * DAY,
            "valid only from 2026-07-02 00:00 UTC, and the clock says 2026-07-01 00:00 UTC",
        ),
    ] {
        let leaf = papers::dated_leaf(&["ota.test"], &root, papers::p256(), from, life);
        let error = refused(&settings(
            dir.path(),
            vec![save(dir.path(), "a", &leaf, &[])],
        ));
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn what_hurts_later_is_warned_of_now() {
    let dir = tempfile::tempdir().unwrap();
    let root = papers::root("R");
    let soon = |days| {
        papers::dated_leaf(
            &["ota.test"],
            &root,
            papers::p256(),
            today() - DAY,
            DAY + days * DAY,
        )
    };
    for (days, expected) in [(0, true), (13, true), (14, false), (15, false)] {
        let found = warned(&settings(
            dir.path(),
            vec![save(dir.path(), "a", &soon(days), &[])],
        ));
        let days_said = found.iter().find_map(|w| match w {
            TlsWarning::ExpiresSoon { days, .. } => Some(*days),
            _ => None,
        });
        assert_eq!(days_said, expected.then_some(i64::from(days)));
    }

    let slow = |key| papers::dated_leaf(&["ota.test"], &root, key, today() - DAY, 90 * DAY);
    for (key, kind) in [
        (papers::p384(), KeyKind::P384),
        (papers::rsa(), KeyKind::Rsa { bits: 2048 }),
    ] {
        let pair = save(dir.path(), "slow", &slow(key), &[]);
        let path = pair.certificate.clone();
        assert_eq!(
            warned(&settings(dir.path(), vec![pair])),
            [TlsWarning::SlowKey { path, kind }]
        );
    }

    let leaf = papers::leaf(&["ota.test"], &root);
    let pair = save(dir.path(), "rooted", &leaf, &[&root.pem()]);
    assert!(matches!(
        warned(&settings(dir.path(), vec![pair]))[..],
        [TlsWarning::RootSent { .. }]
    ));

    let pair = save(dir.path(), "nameless", &papers::leaf(&[], &root), &[]);
    assert!(matches!(
        warned(&settings(dir.path(), vec![pair]))[..],
        [TlsWarning::NoNames { .. }]
    ));

    let names: Vec<_> = (0..100)
        .map(|place| format!("a-rather-long-name-{place:03}.fleet.test"))
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let pair = save(dir.path(), "large", &papers::leaf(&names, &root), &[]);
    let found = warned(&settings(dir.path(), vec![pair]));
    let [TlsWarning::LargeFlight { bytes, .. }] = found[..] else {
        panic!("{found:?}")
    };
    assert!(found[0].to_string().contains(&bytes.to_string()));
    assert!((4097..5000).contains(&bytes));

    let pair = save(dir.path(), "open", &leaf, &[]);
    let text = std::fs::read_to_string(&pair.key).unwrap();
    std::fs::remove_file(&pair.key).unwrap();
    write(dir.path(), "open-key.pem", &text);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&pair.key, mode).unwrap();
    assert!(matches!(
        warned(&settings(dir.path(), vec![pair]))[..],
        [TlsWarning::KeyOpenToAll { .. }]
    ));
}

#[test]
fn check_says_all_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let root = papers::root("R");
    let old = papers::dated_leaf(&["a.test"], &root, papers::p256(), today() - 90 * DAY, DAY);
    let slow = papers::dated_leaf(&["b.test"], &root, papers::p384(), today() - DAY, 90 * DAY);
    let missing = Pair {
        certificate: path.join("m.pem"),
        key: path.join("m-key.pem"),
    };
    let mut settings = settings(
        path,
        vec![
            save(path, "old", &old, &[]),
            missing,
            save(path, "slow", &slow, &[]),
        ],
    );
    settings.anchors = vec![write(path, "stranger.pem", &papers::root("S").pem())];
    let found = check(&settings, today());
    let [
        TlsProblem::Error(TlsError::Expired { .. }),
        TlsProblem::Error(TlsError::Read { .. }),
        TlsProblem::Error(TlsError::NotAnchored { .. }),
        TlsProblem::Warning(TlsWarning::SlowKey { .. }),
    ] = &found[..]
    else {
        panic!("{found:?}")
    };
}
