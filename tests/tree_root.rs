//! The root may go, be emptied or be swapped: what was read before is served on, and it is said.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::house::{House, image8266, wait_until};
use crate::tree_kit::{NODE, assert_offered, offered, restarted, wait_noticed};
use otatree::desk::Errand;
use otatree::firmware::{Decision, Device, ImageKind, Md5, RunningImage, Visit};

const AT_ONCE: &str = "settle = \"0s\"\nremoval_grace = \"0s\"\nquiet = \"0s\"";

fn wait_shout(house: &House, text: &str) {
    wait_until(&format!("the board says {text:?}"), || {
        house
            .board
            .now()
            .get("tree")
            .is_some_and(|now| now.contains(text))
    });
}

fn wait_silence(house: &House) {
    wait_until("the board says nothing of the tree", || {
        !house.board.now().contains_key("tree")
    });
}

fn filled() -> House {
    let house = House::new();
    for n in 0..12 {
        house.put(&format!("dev/lotus/n{n}/firmware.bin"), &image8266(100 + n));
    }
    house.put("dev/key/firmware.bin", &image8266(1));
    house.wait_served(NODE, &image8266(1));
    // All of them: what is not examined when the root goes cannot be served on.
    for n in 0..12 {
        house.wait_served(&format!("dev/lotus/n{n}/key"), &image8266(100 + n));
    }
    house
}

/// The devices hear what they heard before, also after somebody wanted the bytes and everything was looked at.
fn assert_served_on(house: &House) {
    for _ in 0..3 {
        let answer = house.poll8266(NODE, &Md5::of(&image8266(1)).to_string());
        assert_eq!((answer.status, answer.decision()), (304, "up-to-date"));
        house.poll8266("dev/lotus/n3/key", &Md5::of(b"x").to_string());
        house.tree.sweep();
    }
    for n in 0..12 {
        assert_offered(house, &format!("dev/lotus/n{n}/key"), &image8266(100 + n));
    }
}

#[test]
fn a_root_that_is_gone_changes_nothing_and_is_said() {
    let house = filled();
    let away = house.dir.path().join("away");
    fs::rename(house.ota(), &away).unwrap();
    wait_shout(&house, "cannot be read");
    assert_served_on(&house);
    fs::rename(&away, house.ota()).unwrap();
    wait_silence(&house);
    wait_noticed(&house);
    assert_served_on(&house);
}

#[test]
fn a_root_that_is_empty_as_if_unmounted_changes_nothing_and_is_said() {
    let house = filled();
    let away = house.dir.path().join("away");
    fs::rename(house.ota(), &away).unwrap();
    fs::create_dir(house.ota()).unwrap();
    wait_shout(&house, "is suddenly empty");
    assert_served_on(&house);
    fs::remove_dir(house.ota()).unwrap();
    fs::rename(&away, house.ota()).unwrap();
    wait_silence(&house);
    wait_noticed(&house);
}

#[test]
fn a_root_that_is_emptied_by_moving_everything_out_changes_nothing_and_is_said() {
    let house = filled();
    let away = house.dir.path().join("away");
    fs::rename(house.ota().join("dev"), &away).unwrap();
    wait_shout(&house, "is suddenly empty");
    assert_served_on(&house);
    fs::rename(&away, house.ota().join("dev")).unwrap();
    wait_silence(&house);
    assert_served_on(&house);
}

fn other_tree(at: &Path) {
    fs::create_dir_all(at.join("dev/key")).unwrap();
    fs::write(at.join("dev/key/firmware.bin"), image8266(2)).unwrap();
}

#[test]
fn a_tree_that_takes_the_place_of_the_root_is_read_and_followed() {
    let house = filled();
    let (new, away) = (house.dir.path().join("new"), house.dir.path().join("away"));
    other_tree(&new);
    fs::rename(house.ota(), &away).unwrap();
    fs::rename(&new, house.ota()).unwrap();
    house.wait_served(NODE, &image8266(2));
    house.wait_served("dev/lotus/n3/key", &image8266(2));
    house.put("dev/lotus/n3/firmware.bin", &image8266(3));
    house.wait_served("dev/lotus/n3/key", &image8266(3));
    // The old tree is none of ours any more.
    fs::write(away.join("dev/lotus/n3/firmware.bin"), image8266(4)).unwrap();
    wait_noticed(&house);
    assert_offered(&house, "dev/lotus/n3/key", &image8266(3));
}

#[test]
fn a_root_that_is_a_link_may_be_pointed_elsewhere() {
    let house = House::new();
    let house = restarted(house, AT_ONCE, |house| {
        let dir = house.dir.path();
        fs::rename(house.ota(), dir.join("one")).unwrap();
        fs::create_dir_all(dir.join("one/dev/key")).unwrap();
        fs::write(dir.join("one/dev/key/firmware.bin"), image8266(1)).unwrap();
        other_tree(&dir.join("two"));
        symlink("one", house.ota()).unwrap();
    });
    house.wait_served(NODE, &image8266(1));
    symlink("two", house.dir.path().join("new")).unwrap();
    fs::rename(house.dir.path().join("new"), house.ota()).unwrap();
    house.wait_served(NODE, &image8266(2));
    house.put("dev/key/firmware.bin", &image8266(3));
    house.wait_served(NODE, &image8266(3));
}

#[test]
fn without_a_root_at_the_start_devices_are_held_until_it_comes() {
    let house = House::new();
    let elsewhere = format!("{AT_ONCE}\nroot = \"later\"");
    let house = restarted(house, &elsewhere, |_| {});
    let answer = house.poll8266(NODE, &Md5::of(b"x").to_string());
    assert_eq!((answer.status, answer.decision()), (304, "held not-ready"));
    wait_shout(&house, "cannot be read");
    house.put("../later/dev/key/firmware.bin", &image8266(1));
    house.wait_served(NODE, &image8266(1));
    wait_silence(&house);
    assert_ne!(offered(&house, NODE), "nothing");
}

#[test]
fn a_poll_is_decided_without_a_runtime_and_without_a_disk() {
    let mut house = filled();
    let device = |key| Errand::Device(Device::parse("dev", "lotus", "node", key).unwrap());
    let errand = device("key");
    let visit = |image: &[u8]| Visit {
        running: RunningImage::Hashed {
            md5: Some(Md5::of(image)),
            sha256: None,
        },
        ..Visit::plain(ImageKind::Firmware)
    };
    // No thread of the server is left; this one is in no runtime.
    house.stop();
    assert!(tokio::runtime::Handle::try_current().is_err());
    fs::rename(house.ota(), house.dir.path().join("away")).unwrap();
    fs::remove_dir_all(house.dir.path().join("away")).unwrap();
    let old = house.desk.check_in(&errand, &visit(b"old"));
    assert!(matches!(old, Some(Decision::Update(_))), "{old:?}");
    let runs = house.desk.check_in(&errand, &visit(&image8266(1)));
    assert_eq!(runs, Some(Decision::UpToDate));
    let nothing = house.desk.check_in(&device("none"), &visit(&image8266(1)));
    assert_eq!(nothing, Some(Decision::NoImage));
    wait_shout(&house, "cannot be read");
    let runs = house.desk.check_in(&errand, &visit(&image8266(1)));
    assert_eq!(runs, Some(Decision::UpToDate));
}
