//! What people do with what was published: rolling back, deleting, promoting, describing.

use std::fs;

use crate::house::{House, image32, image8266, wait_until};
use crate::publish::{NEVER, files, publish, publish_app, slot};
use crate::tree_kit::{NODE, assert_offered, found, offered, restarted};
use otatree::firmware::forge::littlefs;
use otatree::firmware::{Found, ImageKind, Md5, Sha256};
use otatree::tree::{Back, Expect, Notes, Promotion, PublishError, Rules};

const APP: ImageKind = ImageKind::Firmware;

fn ids(house: &House, of: &str) -> Vec<Sha256> {
    let versions = house.tree.versions(&slot(of));
    versions.into_iter().map(|version| version.id).collect()
}

fn id(seed: u64) -> Sha256 {
    Sha256::of(&image8266(seed))
}

fn titled(title: &str) -> Rules {
    Rules {
        notes: Notes {
            title: Some(title.into()),
            ..Notes::default()
        },
        signature: Some(format!("signature of {title}").into()),
        ..Rules::default()
    }
}

fn title(house: &House) -> Option<String> {
    match found(house, NODE, APP) {
        Found::Offered(offer) => offer.image.facts.title.as_deref().map(str::to_owned),
        other => panic!("{other:?}"),
    }
}

#[test]
fn versions_are_the_images_of_a_slot_newest_first() {
    let house = House::with("[state]\nkeep_previous = 2");
    // Those of another kind have their own places.
    let (kind, data) = (ImageKind::Filesystem, littlefs(4096, 8));
    publish(&house, "dev/key", kind, &data, Rules::default()).unwrap();
    for n in 1..=5 {
        publish_app(&house, "dev/key", &image8266(n)).unwrap();
    }
    let versions = house.tree.versions(&slot("dev/key"));
    let apps: Vec<_> = versions
        .iter()
        .filter(|version| version.kind == APP)
        .collect();
    assert_eq!(
        apps.iter().map(|version| version.id).collect::<Vec<_>>(),
        [id(5), id(4), id(3)]
    );
    assert_eq!(
        apps.iter()
            .map(|version| version.current)
            .collect::<Vec<_>>(),
        [true, false, false]
    );
    assert!(
        apps.iter()
            .all(|version| version.kept.is_some() && version.size.is_some())
    );
    assert_eq!(versions.len(), 4);
    let copies = fs::read_dir(house.dir.path().join("state/kept")).unwrap();
    assert_eq!(copies.count(), 5, "four copies and the list");
    assert!(house.tree.versions(&slot("dev/other")).is_empty());
}

#[test]
fn a_rollback_gives_the_previous_image_with_all_that_was_said_of_it() {
    let house = House::patient(NEVER, "");
    publish(&house, "dev/key", APP, &image8266(1), titled("one")).unwrap();
    publish(&house, "dev/key", APP, &image8266(2), titled("two")).unwrap();
    publish_app(&house, "dev/key", &image8266(3)).unwrap();
    let key = slot("dev/key");
    let back = house
        .tree
        .rollback(&key, APP, Back::Previous, Expect::Any)
        .unwrap();
    assert_eq!(
        (back.id, back.before, back.held),
        (id(2), Some(id(3)), None)
    );
    assert_offered(&house, NODE, &image8266(2));
    assert_eq!(title(&house).as_deref(), Some("two"));
    let signature = house.ota().join("dev/key/firmware.bin.minisig");
    assert_eq!(fs::read_to_string(&signature).unwrap(), "signature of two");
    house
        .tree
        .rollback(&key, APP, Back::To(id(1)), Expect::Any)
        .unwrap();
    assert_offered(&house, NODE, &image8266(1));
    assert_eq!(title(&house).as_deref(), Some("one"));
    house
        .tree
        .rollback(&key, APP, Back::To(id(3)), Expect::Any)
        .unwrap();
    assert_eq!(title(&house), None);
    assert!(!signature.exists());
    let error = house.tree.rollback(&key, APP, Back::To(id(9)), Expect::Any);
    assert!(
        matches!(error, Err(PublishError::NotKept { .. })),
        "{error:?}"
    );
    let error = house
        .tree
        .rollback(&key, APP, Back::Previous, Expect::Absent);
    assert!(
        matches!(error, Err(PublishError::Changed { .. })),
        "{error:?}"
    );
    // The copy is not the file that is served: writing into the one leaves the other.
    fs::write(house.ota().join("dev/key/firmware.bin"), b"another").unwrap();
    let copy = house.dir.path().join("state/kept").join(id(3).to_string());
    assert_eq!(fs::read(copy).unwrap(), image8266(3));
}

#[test]
fn a_dropped_file_can_be_had_again_as_well() {
    let house = House::new();
    house.put("dev/key/firmware.bin", &image8266(1));
    house.put("other/key/firmware.bin", &image8266(1));
    house.wait_served(NODE, &image8266(1));
    // Overwritten by an upload, though nobody ever downloaded it.
    publish_app(&house, "dev/key", &image8266(2)).unwrap();
    let key = slot("dev/key");
    house
        .tree
        .rollback(&key, APP, Back::Previous, Expect::Any)
        .unwrap();
    assert_offered(&house, NODE, &image8266(1));
    // rsync --delete
    house.remove("dev/key");
    wait_until("it is gone", || {
        offered(&house, NODE) != Md5::of(&image8266(1)).to_string()
    });
    house
        .tree
        .rollback(&key, APP, Back::Previous, Expect::Any)
        .unwrap();
    assert_offered(&house, NODE, &image8266(1));
}

#[test]
fn a_copy_that_is_damaged_is_not_given() {
    let house = House::new();
    publish_app(&house, "dev/key", &image8266(1)).unwrap();
    publish_app(&house, "dev/key", &image8266(2)).unwrap();
    let copy = house.dir.path().join("state/kept").join(id(1).to_string());
    fs::write(&copy, b"damaged").unwrap();
    let error = house
        .tree
        .rollback(&slot("dev/key"), APP, Back::Previous, Expect::Any);
    assert!(
        matches!(error, Err(PublishError::NotKept { .. })),
        "{error:?}"
    );
    assert_offered(&house, NODE, &image8266(2));
}

#[test]
fn copies_that_somebody_tidied_away_stop_nobody() {
    let house = House::with("[state]\nkeep_previous = 1");
    publish_app(&house, "dev/key", &image8266(1)).unwrap();
    let kept = house.dir.path().join("state/kept");
    for n in 2..6 {
        for copy in fs::read_dir(&kept).unwrap() {
            let path = copy.unwrap().path();
            if !path.ends_with("slots.json") {
                fs::remove_file(path).unwrap();
            }
        }
        publish_app(&house, "dev/key", &image8266(n)).unwrap();
        assert_eq!(ids(&house, "dev/key"), [id(n), id(n - 1)]);
    }
    let key = slot("dev/key");
    let back = house.tree.rollback(&key, APP, Back::Previous, Expect::Any);
    assert_eq!(back.unwrap().id, id(4));
    assert!(!house.board.now().contains_key("kept-images"));
}

#[test]
fn a_rollback_works_after_a_restart_and_with_a_list_of_ids_alone() {
    let house = House::new();
    publish(&house, "dev/key", APP, &image8266(1), titled("one")).unwrap();
    publish_app(&house, "dev/key", &image8266(2)).unwrap();
    let house = restarted(house, NEVER, |_| {});
    wait_until("the tree is read", || house.tree.catalog().complete);
    house
        .tree
        .rollback(&slot("dev/key"), APP, Back::Previous, Expect::Any)
        .unwrap();
    assert_offered(&house, NODE, &image8266(1));
    assert_eq!(title(&house).as_deref(), Some("one"));
    let house = restarted(house, NEVER, |house| {
        let list = format!("{{\"dev/key\": [\"{}\", \"{}\"]}}", id(1), id(2));
        fs::write(house.dir.path().join("state/kept/slots.json"), list).unwrap();
    });
    wait_until("the tree is read", || house.tree.catalog().complete);
    house
        .tree
        .rollback(&slot("dev/key"), APP, Back::To(id(2)), Expect::Any)
        .unwrap();
    assert_offered(&house, NODE, &image8266(2));
}

#[test]
fn a_deletion_counts_at_once_and_can_be_taken_back() {
    let house = House::patient(NEVER, "");
    publish_app(&house, "dev/key", &image8266(1)).unwrap();
    publish(&house, "dev/lotus/node", APP, &image8266(2), titled("two")).unwrap();
    house.put("dev/lotus/node/old.ino.bin", &image8266(3));
    let node = slot("dev/lotus/node");
    let other = Expect::Revision(Sha256::of(b"another"));
    assert!(matches!(
        house.tree.delete(&node, APP, other),
        Err(PublishError::Changed { .. })
    ));
    let error = house.tree.delete(&node, ImageKind::Filesystem, Expect::Any);
    assert!(
        matches!(error, Err(PublishError::Nothing { .. })),
        "{error:?}"
    );
    let removed = house.tree.delete(&node, APP, Expect::Any).unwrap();
    // Nothing that lay behind it comes to light instead.
    assert_eq!((removed.files.len(), removed.before), (2, Some(id(2))));
    assert_offered(&house, NODE, &image8266(1));
    assert_eq!(
        files(&house),
        [
            "dev",
            "dev/key",
            "dev/key/firmware.bin",
            "dev/lotus",
            "dev/lotus/node"
        ]
    );
    assert_eq!(ids(&house, "dev/lotus/node"), [id(2), id(3)]);
    let back = house
        .tree
        .rollback(&node, APP, Back::Previous, Expect::Absent)
        .unwrap();
    assert_eq!((back.id, back.before), (id(2), None));
    assert_offered(&house, NODE, &image8266(2));
    assert_eq!(title(&house).as_deref(), Some("two"));
}

#[test]
fn a_promotion_moves_the_image_and_what_is_said_of_it_in_one_step() {
    let house = House::patient(NEVER, "");
    publish_app(&house, "dev/lotus/key", &image8266(1)).unwrap();
    publish(&house, "dev/lotus/node", APP, &image8266(2), titled("two")).unwrap();
    let (node, key) = (slot("dev/lotus/node"), slot("dev/lotus/key"));
    let meant = |seed| Promotion {
        image: Some(id(seed)),
        ..Promotion::default()
    };
    let error = house.tree.promote(&node, &key, APP, meant(7));
    assert!(
        matches!(error, Err(PublishError::Changed { .. })),
        "{error:?}"
    );
    let error = house.tree.promote(&node, &node, APP, meant(2));
    assert!(
        matches!(error, Err(PublishError::Refused { .. })),
        "{error:?}"
    );
    let promoted = house.tree.promote(&node, &key, APP, meant(2)).unwrap();
    assert_eq!((promoted.id, promoted.before), (id(2), Some(id(1))));
    assert_offered(&house, NODE, &image8266(2));
    assert_offered(&house, "dev/lotus/another/key", &image8266(2));
    assert_eq!(title(&house).as_deref(), Some("two"));
    assert!(
        house
            .ota()
            .join("dev/lotus/key/firmware.bin.minisig")
            .exists()
    );
    assert_eq!(
        fs::read_dir(house.ota().join("dev/lotus/node"))
            .unwrap()
            .count(),
        0
    );
    let error = house.tree.promote(&node, &key, APP, meant(2));
    assert!(
        matches!(error, Err(PublishError::Nothing { .. })),
        "{error:?}"
    );
    // Both slots can go back.
    house
        .tree
        .rollback(&key, APP, Back::Previous, Expect::Any)
        .unwrap();
    house
        .tree
        .rollback(&node, APP, Back::Previous, Expect::Any)
        .unwrap();
    assert_offered(&house, "dev/lotus/another/key", &image8266(1));
    assert_offered(&house, NODE, &image8266(2));
}

#[test]
fn a_promotion_that_is_refused_leaves_both_slots_as_they_are() {
    let house = House::patient(NEVER, "");
    publish_app(&house, "dev/key", &image8266(1)).unwrap();
    publish_app(&house, "dev/node", &image32(2)).unwrap();
    let before = files(&house);
    let error = house.tree.promote(
        &slot("dev/node"),
        &slot("dev/key"),
        APP,
        Promotion::default(),
    );
    assert!(
        matches!(error, Err(PublishError::WrongFamily { .. })),
        "{error:?}"
    );
    assert_eq!(files(&house), before);
    assert_offered(&house, "dev/lotus/other/key", &image8266(1));
    assert_offered(&house, NODE, &image32(2));
}

#[test]
fn promotions_in_a_circle_do_not_wait_for_each_other() {
    let house = House::patient(NEVER, "");
    publish_app(&house, "dev/a", &image8266(1)).unwrap();
    std::thread::scope(|scope| {
        for (from, to) in [("dev/a", "dev/b"), ("dev/b", "dev/c"), ("dev/c", "dev/a")] {
            let house = &house;
            scope.spawn(move || {
                for _ in 0..8 {
                    let _ = house
                        .tree
                        .promote(&slot(from), &slot(to), APP, Promotion::default());
                }
            });
        }
    });
    let holders = ["a", "b", "c"].iter().filter(|key| {
        offered(&house, &format!("dev/p/n/{key}")) == Md5::of(&image8266(1)).to_string()
    });
    assert_eq!(holders.count(), 1);
}

#[test]
fn a_description_is_told_at_once_and_changes_the_revision() {
    let house = House::patient(NEVER, "");
    let first = publish_app(&house, "dev/key", &image8266(1)).unwrap();
    let key = slot("dev/key");
    let notes = titled("Lamp").notes;
    let expect = Expect::Revision(first.revision.unwrap());
    let revision = house.tree.describe(&key, APP, &notes, expect).unwrap();
    assert_eq!(title(&house).as_deref(), Some("Lamp"));
    assert_ne!(revision, first.revision);
    let error = house.tree.describe(&key, APP, &notes, expect);
    assert!(
        matches!(error, Err(PublishError::Changed { now }) if now == revision),
        "{error:?}"
    );
    // It is kept with the image.
    publish_app(&house, "dev/key", &image8266(2)).unwrap();
    house
        .tree
        .rollback(&key, APP, Back::Previous, Expect::Any)
        .unwrap();
    assert_eq!(title(&house).as_deref(), Some("Lamp"));
    house
        .tree
        .describe(&key, APP, &Notes::default(), Expect::Any)
        .unwrap();
    assert_eq!(title(&house), None);
    assert!(!house.ota().join("dev/key/firmware.bin.toml").exists());
    let error = house
        .tree
        .describe(&slot("dev/none"), APP, &notes, Expect::Any);
    assert!(
        matches!(error, Err(PublishError::Nothing { .. })),
        "{error:?}"
    );
}

#[test]
fn a_title_does_not_make_a_dropped_file_count_sooner() {
    let house = House::patient(NEVER, "");
    publish_app(&house, "dev/key", &image8266(1)).unwrap();
    house.put("dev/key/firmware.bin", &image8266(2));
    wait_until("it is seen", || offered(&house, NODE) == "held not-settled");
    house
        .tree
        .describe(&slot("dev/key"), APP, &titled("x").notes, Expect::Any)
        .unwrap();
    assert_eq!(offered(&house, NODE), "held not-settled");
    publish_app(&house, "marks/key", &image8266(77)).unwrap();
    assert_eq!(offered(&house, NODE), "held not-settled");
}
