//! The private root, which devices trust, and the leaf under it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

use otatree::server::tls::{
    Issued, LeafReason, Tls, TlsError, TlsProblem, TlsSettings, TlsWarning, arduino_lines, check,
};

use super::{DAY, settings, today};

pub fn private(folder: &Path, names: &[&str]) -> TlsSettings {
    let mut settings = settings(folder, Vec::new());
    settings.names = names.iter().map(|name| (*name).to_owned()).collect();
    settings
}

pub fn open(settings: &TlsSettings, now: SystemTime) -> Tls {
    Tls::open(settings.clone(), now).unwrap().0
}

pub fn text(settings: &TlsSettings, file: &str) -> String {
    fs::read_to_string(settings.identity.join(file)).unwrap()
}

#[test]
fn the_first_start_makes_a_root_and_a_leaf() {
    let dir = tempfile::tempdir().unwrap();
    let settings = private(dir.path(), &["ota.home.arpa", "192.0.2.9"]);
    assert!(check(&settings, today()).is_empty());
    assert!(!dir.path().join("state").exists(), "check writes nothing");

    let (tls, warnings) = Tls::open(settings.clone(), today()).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(
        tls.issued(),
        Some(Issued {
            root: true,
            leaf: LeafReason::Missing
        })
    );
    let [summary] = &tls.summary(today())[..] else {
        panic!()
    };
    assert!(summary.ours);
    assert_eq!(summary.days_left, 396);
    assert!(
        summary.issuer.starts_with("CN=otatree root"),
        "{}",
        summary.issuer
    );
    assert!(
        ["ota.home.arpa", "localhost"]
            .iter()
            .all(|name| summary.names.iter().any(|n| n == name))
    );
    for address in ["192.0.2.9", "127.0.0.1", "::1"] {
        assert!(
            summary.addresses.contains(&address.parse().unwrap()),
            "{address}"
        );
    }
    assert_eq!(tls.root_pem(), Some(text(&settings, "root.pem")));
    assert!(arduino_lines(&tls.root_pem().unwrap()).contains("-----BEGIN CERTIFICATE-----"));
    for (file, mode) in [
        ("", 0o700),
        ("root-key.pem", 0o600),
        ("leaf-key.pem", 0o600),
    ] {
        let found = fs::metadata(settings.identity.join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(found & 0o777, mode, "{file}");
    }
    assert_eq!(fs::read_dir(&settings.identity).unwrap().count(), 4);
}

#[test]
fn a_root_key_that_everyone_can_read_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let settings = private(dir.path(), &[]);
    let tls = open(&settings, today());
    let path = settings.identity.join("root-key.pem");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let warnings = tls.reload(today()).unwrap().warnings;
    assert_eq!(warnings, [TlsWarning::KeyOpenToAll { path }]);
    assert_eq!(check(&settings, today()).len(), 1);
}

#[test]
fn a_second_start_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let settings = private(dir.path(), &[]);
    let first = open(&settings, today());
    let second = open(&settings, today() + 300 * DAY);
    assert_eq!(second.issued(), None);
    assert_eq!(
        first.summary(today())[0].sha256,
        second.summary(today())[0].sha256
    );
    assert!(check(&settings, today()).is_empty());
}

#[test]
fn a_new_name_reissues_the_leaf_with_its_key_and_never_the_root() {
    let dir = tempfile::tempdir().unwrap();
    let settings = private(dir.path(), &[]);
    let tls = open(&settings, today());
    let (root, key, leaf) = ["root.pem", "leaf-key.pem", "leaf.pem"]
        .map(|file| text(&settings, file))
        .into();

    let named = private(dir.path(), &["Ota.Home.Arpa"]);
    let reloaded = tls.reload_settings(named.clone(), today() + DAY).unwrap();
    let names = LeafReason::Names(vec!["ota.home.arpa".to_owned()]);
    assert_eq!(
        reloaded.issued,
        Some(Issued {
            root: false,
            leaf: names
        })
    );
    assert_eq!(reloaded.changed, [settings.identity.join("leaf.pem")]);
    assert_eq!(text(&settings, "root.pem"), root);
    assert_eq!(text(&settings, "leaf-key.pem"), key);
    assert_ne!(text(&settings, "leaf.pem"), leaf);

    // A name that is no longer wanted stays until the leaf is due.
    let reloaded = tls.reload_settings(settings, today() + DAY).unwrap();
    assert_eq!(reloaded.issued, None);
    assert_eq!(reloaded.changed, Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_leaf_is_reissued_when_its_dates_ask_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let settings = private(dir.path(), &[]);
    let tls = open(&settings, today());
    let key = text(&settings, "leaf-key.pem");
    let dates = Some(Issued {
        root: false,
        leaf: LeafReason::Dates,
    });
    assert_eq!(tls.reload(today() + 365 * DAY).unwrap().issued, None);
    let then = today() + 367 * DAY;
    assert_eq!(tls.reload(then).unwrap().issued, dates);
    assert_eq!(tls.summary(then)[0].days_left, 396);
    // The clock was wrong: the leaf begins in the future.
    assert_eq!(tls.reload(today()).unwrap().issued, dates);
    // Long after its end, after a pause of years.
    assert_eq!(open(&settings, today() + 3000 * DAY).issued(), dates);
    assert_eq!(text(&settings, "leaf-key.pem"), key);
}

#[test]
fn a_first_start_without_a_clock_makes_a_root_that_holds() {
    let dir = tempfile::tempdir().unwrap();
    let settings = private(dir.path(), &[]);
    let tls = open(&settings, SystemTime::UNIX_EPOCH + DAY);
    let root = tls.root_pem();
    let reloaded = tls.reload(today() + 20 * 365 * DAY).unwrap();
    assert_eq!(
        reloaded.issued,
        Some(Issued {
            root: false,
            leaf: LeafReason::Dates
        })
    );
    assert_eq!(tls.root_pem(), root);
}

#[test]
fn a_name_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let settings = private(dir.path(), &["ota.test", "http://ota.test"]);
    let error = Tls::open(settings.clone(), today()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("`http://ota.test` in [tls] names"),
        "{error}"
    );
    assert!(matches!(
        &check(&settings, today())[..],
        [TlsProblem::Error(TlsError::Name { .. })]
    ));
}
