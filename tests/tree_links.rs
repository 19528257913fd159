//! Links, and what else is no file: followed inside the tree, never out of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::house::{House, image8266};
use crate::tree_kit::{
    NODE, SetAtTheEnd, assert_offered, offered, restarted, wait_noticed, wait_problem,
};
use otatree::firmware::Md5;

const AT_ONCE: &str = "settle = \"0s\"\nremoval_grace = \"0s\"\nquiet = \"0s\"";

#[test]
fn a_link_to_a_file_in_the_tree_is_served_and_its_target_is_followed() {
    let house = House::new();
    house.put("dev/.releases/1.bin", &image8266(1));
    house.put("dev/lotus/other/firmware.bin", &image8266(2));
    fs::create_dir_all(house.ota().join("dev/lotus/node")).unwrap();
    let link = house.ota().join("dev/lotus/node/firmware.bin");
    symlink("../other/firmware.bin", &link).unwrap();
    house.wait_served(NODE, &image8266(2));
    house.put("dev/lotus/other/firmware.bin", &image8266(3));
    house.wait_served(NODE, &image8266(3));
    fs::remove_file(&link).unwrap();
    symlink("../../.releases/1.bin", &link).unwrap();
    house.wait_served(NODE, &image8266(1));
}

#[test]
fn a_link_to_a_folder_in_the_tree_is_served_and_its_target_is_followed() {
    let house = House::new();
    house.put("dev/lotus/n1/firmware.bin", &image8266(1));
    house.put("dev/.hidden/n2/firmware.bin", &image8266(2));
    symlink("lotus", house.ota().join("dev/rose")).unwrap();
    symlink(".hidden", house.ota().join("dev/tulip")).unwrap();
    house.wait_served("dev/rose/n1/key", &image8266(1));
    house.wait_served("dev/tulip/n2/key", &image8266(2));
    house.put("dev/lotus/n1/firmware.bin", &image8266(3));
    house.wait_served("dev/rose/n1/key", &image8266(3));
    house.put("dev/.hidden/n2/firmware.bin", &image8266(4));
    house.wait_served("dev/tulip/n2/key", &image8266(4));
    house.put("dev/lotus/n5/firmware.bin", &image8266(5));
    house.wait_served("dev/rose/n5/key", &image8266(5));
}

#[test]
fn a_folder_that_becomes_a_link_does_not_take_the_notifications_of_its_target() {
    let house = House::new();
    let rose = house.ota().join("dev/rose");
    house.put("dev/lotus/n1/firmware.bin", &image8266(1));
    house.wait_served("dev/lotus/n1/key", &image8266(1));
    for n in 0..40 {
        house.put("dev/rose/n2/firmware.bin", &image8266(100 + n));
        house.wait_served("dev/rose/n2/key", &image8266(100 + n));
        fs::remove_dir_all(&rose).unwrap();
        symlink("lotus", &rose).unwrap();
        house.wait_served("dev/rose/n1/key", &image8266(1));
        let new = format!("dev/lotus/n{}/firmware.bin", 10 + n);
        house.put(&new, &image8266(200 + n));
        house.wait_served(&format!("dev/lotus/n{}/key", 10 + n), &image8266(200 + n));
        house.wait_served(&format!("dev/rose/n{}/key", 10 + n), &image8266(200 + n));
        fs::remove_file(&rose).unwrap();
    }
}

#[test]
fn what_leaves_the_tree_or_is_no_file_is_a_problem_and_never_served() {
    let house = House::new();
    let outside = house.dir.path().join("outside");
    fs::create_dir_all(outside.join("node")).unwrap();
    fs::write(outside.join("firmware.bin"), image8266(1)).unwrap();
    fs::write(outside.join("node/firmware.bin"), image8266(1)).unwrap();
    let slot = house.ota().join("dev/lotus/node");
    fs::create_dir_all(&slot).unwrap();
    symlink(outside.join("firmware.bin"), slot.join("firmware.bin")).unwrap();
    symlink("nothing", slot.join("a.bin")).unwrap();
    symlink("b.bin", slot.join("b.bin")).unwrap();
    symlink("../../../../outside", house.ota().join("dev/rose")).unwrap();
    symlink("..", slot.join("key")).unwrap();
    let _socket = UnixListener::bind(slot.join("c.bin")).unwrap();
    let mkfifo = |path| {
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
    };
    mkfifo(slot.join("d.bin"));
    mkfifo(house.dir.path().join("ota/.pipe"));
    symlink("../../../.pipe", slot.join("e.bin")).unwrap();
    for (name, what) in [
        ("dev/lotus/node/firmware.bin", "leaves the tree"),
        ("dev/lotus/node/a.bin", "a link to nothing"),
        ("dev/lotus/node/b.bin", "a link that cannot be followed"),
        ("dev/rose", "leaves the tree"),
        ("dev/lotus/node/key", "a link to a folder above itself"),
        ("dev/lotus/node/c.bin", "socket, pipe or device"),
        ("dev/lotus/node/d.bin", "socket, pipe or device"),
        ("dev/lotus/node/e.bin", "a link to a socket, pipe or device"),
    ] {
        wait_problem(&house, name);
        wait_problem(&house, what);
    }
    assert_eq!(offered(&house, NODE), "nothing");
    assert_eq!(offered(&house, "dev/rose/node/key"), "nothing");
    wait_noticed(&house);
}

#[test]
fn a_folder_that_becomes_a_link_out_of_the_tree_is_not_served_for_a_moment() {
    let house = House::new();
    let outside = house.dir.path().join("outside");
    fs::create_dir_all(outside.join("node")).unwrap();
    fs::write(outside.join("node/firmware.bin"), image8266(666)).unwrap();
    let (over, foreign) = (AtomicBool::new(false), Md5::of(&image8266(666)).to_string());
    std::thread::scope(|scope| {
        let _at_the_end = SetAtTheEnd(&over);
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                assert_ne!(offered(&house, NODE), foreign);
            }
        });
        let lotus = house.ota().join("dev/lotus");
        for n in 0..20 {
            house.put("dev/lotus/node/firmware.bin", &image8266(n));
            house.wait_served(NODE, &image8266(n));
            fs::remove_dir_all(&lotus).unwrap();
            symlink(&outside, &lotus).unwrap();
            wait_problem(&house, "leaves the tree");
            fs::remove_file(&lotus).unwrap();
        }
    });
}

#[test]
fn before_the_first_scan_a_link_out_of_the_tree_is_not_followed_either() {
    let house = House::new();
    let mut house = restarted(house, AT_ONCE, |house| {
        let outside = house.dir.path().join("outside/node");
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("firmware.bin"), image8266(1)).unwrap();
        house.put("dev/key/firmware.bin", &image8266(2));
        symlink("../../outside", house.ota().join("dev/lotus")).unwrap();
    });
    for _ in 0..5 {
        let answer = house.poll8266(NODE, &Md5::of(b"x").to_string());
        assert!(answer.status == 200 && answer.body == image8266(2));
        house = restarted(house, AT_ONCE, |_| {});
    }
}

#[test]
fn a_file_that_is_swapped_for_a_link_out_of_the_tree_is_not_sent() {
    let house = House::patient(&format!("{AT_ONCE}\nmemory = \"1KiB\""), "");
    house.put("dev/key/firmware.bin", &image8266(1));
    house.wait_served(NODE, &image8266(1));
    let secret = house.dir.path().join("secret");
    fs::write(&secret, image8266(2)).unwrap();
    let path = house.ota().join("dev/key/firmware.bin");
    fs::remove_file(&path).unwrap();
    symlink(&secret, &path).unwrap();
    let answer = house.poll8266(NODE, &Md5::of(b"x").to_string());
    assert_eq!((answer.status, answer.body.len()), (304, 0));
    house.wait_decision(NODE, "no-image");
    fs::remove_file(&path).unwrap();
    house.put("dev/key/firmware.bin", &image8266(1));
    house.wait_served(NODE, &image8266(1));
    assert_offered(&house, NODE, &image8266(1));
}
