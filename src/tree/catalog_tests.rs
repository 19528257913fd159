//! The search is held to its order.

use super::*;
use crate::firmware::{Family, Identities, Image, Md5};

fn offer(path: &str) -> Offer {
    let sum = Sha256::of(path.as_bytes());
    let md5 = Md5::of(path.as_bytes());
    let facts = Facts {
        size: 1,
        md5,
        sha256: sum,
        family: Family::Unknown,
        version: None,
        title: None,
        flash_size: None,
        inflated_size: None,
        espressif_sdk: false,
        signed: false,
        proves_whole: true,
        texts: Default::default(),
        seal: None,
        identities: Identities::default(),
    };
    let image = Image {
        kind: ImageKind::Firmware,
        path: Path::new(path).into(),
        facts: Arc::new(facts),
        stamp: Stamp {
            inode: 1,
            size: 1,
            modified: 0,
            changed: 0,
        },
        note: None,
        ordered: false,
    };
    Offer {
        image: Arc::new(image),
        compressed: None,
    }
}

fn with(slots: &[&str]) -> Catalog {
    let mut catalog = Catalog::default();
    for slot in slots {
        catalog.edit(Path::new(slot), |folder| {
            folder.firmware = Candidate::Offered(offer(slot))
        });
    }
    catalog
}

fn found(catalog: &Catalog) -> String {
    let device = Device::parse("dev", "lotus", "node", "key").unwrap();
    match catalog.find(&device, ImageKind::Firmware) {
        Found::Offered(offer) => offer.image.path.display().to_string(),
        Found::Withheld(reason) => format!("held {reason}"),
        Found::Nothing => "nothing".to_owned(),
    }
}

const SEVEN: [&str; 7] = [
    "dev/lotus/node/key",
    "dev/lotus/node",
    "dev/+/node",
    "dev/node",
    "dev/lotus/key",
    "dev/+/key",
    "dev/key",
];

#[test]
fn a_node_beats_a_key_and_a_project_beats_any_project() {
    for n in 0..SEVEN.len() {
        assert_eq!(found(&with(&SEVEN[n..])), SEVEN[n]);
    }
    assert_eq!(
        found(&with(&["dev/other/node", "else/lotus/node", "dev/lotus"])),
        "nothing"
    );
}

#[test]
fn a_withheld_candidate_ends_the_search() {
    for n in 0..SEVEN.len() {
        let mut catalog = with(&SEVEN[n..]);
        catalog.edit(Path::new(SEVEN[n]), |folder| {
            folder.firmware = Candidate::Withheld {
                reason: HoldReason::NotSettled,
                file: None,
            };
        });
        assert_eq!(found(&catalog), "held not-settled");
    }
}

#[test]
fn a_folder_that_was_never_read_ends_the_search() {
    for path in ["dev/lotus", "dev/lotus/node", "dev/+"] {
        let mut catalog = with(&["dev/key"]);
        catalog.edit(Path::new(path), |folder| folder.unread = true);
        assert_eq!(found(&catalog), "held unreadable", "{path}");
    }
}

#[test]
fn a_firmware_is_no_filesystem() {
    let device = Device::parse("dev", "lotus", "node", "key").unwrap();
    assert_eq!(
        with(&SEVEN).find(&device, ImageKind::Filesystem),
        Found::Nothing
    );
}

#[test]
fn an_older_copy_is_untouched_by_an_edit() {
    let before = with(&["dev/key"]);
    let mut after = before.clone();
    after.remove(Path::new("dev/key"));
    assert_eq!(
        (found(&before).as_str(), found(&after).as_str()),
        ("dev/key", "nothing")
    );
}
