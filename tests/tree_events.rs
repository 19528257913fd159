//! Changes of the tree are noticed, and nothing else is.

use std::fs;
use std::os::unix::fs::FileExt;

use crate::house::{House, image8266, wait_until};
use crate::tree_kit::{NODE, assert_offered, folder, offered, wait_noticed};
use otatree::firmware::Md5;

#[test]
fn folders_that_are_made_and_filled_at_once_lose_nothing() {
    let house = House::new();
    wait_noticed(&house);
    for n in 0..200 {
        let slot = house.ota().join(format!("org{}/p{}/n{n}", n % 3, n % 7));
        fs::create_dir_all(&slot).unwrap();
        fs::write(slot.join("firmware.bin"), image8266(n)).unwrap();
    }
    for n in 0..200 {
        let node = format!("org{}/p{}/n{n}/key", n % 3, n % 7);
        wait_until(&format!("{node} is noticed"), || {
            offered(&house, &node) == Md5::of(&image8266(n)).to_string()
        });
    }
}

#[test]
fn a_populated_folder_that_is_moved_in_is_there_with_all_its_slots() {
    let house = House::new();
    wait_noticed(&house);
    let outside = house.dir.path().join("outside");
    for n in 0..30 {
        let slot = outside.join(format!("lotus/n{n}/key"));
        fs::create_dir_all(&slot).unwrap();
        fs::write(slot.join("firmware.bin"), image8266(n)).unwrap();
    }
    fs::rename(&outside, house.ota().join("dev")).unwrap();
    for n in 0..30 {
        house.wait_served(&format!("dev/lotus/n{n}/key"), &image8266(n));
    }
    house.put("dev/lotus/n7/key/firmware.bin", &image8266(77));
    house.wait_served("dev/lotus/n7/key", &image8266(77));
    house.put("dev/lotus/fresh/key/firmware.bin", &image8266(78));
    house.wait_served("dev/lotus/fresh/key", &image8266(78));
}

#[test]
fn a_renamed_folder_is_served_under_its_new_name_only_and_followed_there() {
    let house = House::new();
    for n in 0..20 {
        house.put(&format!("dev/lotus/n{n}/firmware.bin"), &image8266(n));
    }
    house.wait_served("dev/lotus/n19/key", &image8266(19));
    let moves = [
        (
            "dev/lotus/n1",
            "dev/lotus/m1",
            "dev/lotus/n1/key",
            "dev/lotus/m1/key",
        ),
        (
            "dev/lotus",
            "dev/rose",
            "dev/lotus/m1/key",
            "dev/rose/m1/key",
        ),
        ("dev", "prod", "dev/rose/m1/key", "prod/rose/m1/key"),
    ];
    for (turn, (from, to, old, new)) in moves.into_iter().enumerate() {
        fs::rename(house.ota().join(from), house.ota().join(to)).unwrap();
        house.wait_served(new, &image8266(1));
        house.wait_decision(old, "no-image");
        let (path, _) = new.rsplit_once('/').unwrap();
        let next = image8266(100 + turn as u64);
        house.put(&format!("{path}/firmware.bin"), &next);
        house.wait_served(new, &next);
        house.put(&format!("{path}/firmware.bin"), &image8266(1));
        house.wait_served(new, &image8266(1));
    }
    assert!(folder(&house, "dev").is_none());
    house.put("prod/rose/n9/key/firmware.bin", &image8266(500));
    house.wait_served("prod/rose/n9/key", &image8266(500));
}

#[test]
fn folders_that_swap_their_names_swap_their_images() {
    let house = House::new();
    for n in 0..12 {
        house.put(&format!("dev/a/n{n}/firmware.bin"), &image8266(n));
        house.put(&format!("dev/b/n{n}/firmware.bin"), &image8266(100 + n));
    }
    house.wait_served("dev/a/n11/key", &image8266(11));
    house.wait_served("dev/b/n11/key", &image8266(111));
    let ota = house.ota();
    for turn in 0..3_u64 {
        fs::rename(ota.join("dev/a"), ota.join("dev/c")).unwrap();
        fs::rename(ota.join("dev/b"), ota.join("dev/a")).unwrap();
        fs::rename(ota.join("dev/c"), ota.join("dev/b")).unwrap();
        let (a, b) = if turn % 2 == 0 { (100, 0) } else { (0, 100) };
        for n in 1..12 {
            house.wait_served(&format!("dev/a/n{n}/key"), &image8266(a + n));
            house.wait_served(&format!("dev/b/n{n}/key"), &image8266(b + n));
        }
        // Both are followed under their new names.
        house.put("dev/a/n0/firmware.bin", &image8266(1000 + turn));
        house.put("dev/b/n0/firmware.bin", &image8266(2000 + turn));
        house.wait_served("dev/a/n0/key", &image8266(1000 + turn));
        house.wait_served("dev/b/n0/key", &image8266(2000 + turn));
    }
}

#[test]
fn what_is_deleted_is_forgotten_at_every_depth() {
    let house = House::new();
    house.put("keep/key/firmware.bin", &image8266(9));
    for path in ["dev/lotus/node/key", "dev/lotus/node", "dev/lotus", "dev"] {
        house.put("dev/lotus/node/key/firmware.bin", &image8266(1));
        house.wait_served(NODE, &image8266(1));
        house.remove(path);
        house.wait_decision(NODE, "no-image");
        wait_until("it is forgotten", || folder(&house, path).is_none());
    }
    assert_offered(&house, "keep/p/n/key", &image8266(9));
}

#[test]
fn a_folder_made_again_under_its_name_at_once_is_followed() {
    let house = House::new();
    house.put("keep/key/firmware.bin", &image8266(9));
    for n in 0..40 {
        let _ = fs::remove_dir_all(house.ota().join("dev/lotus"));
        house.put("dev/lotus/node/firmware.bin", &image8266(n));
        if n % 3 == 0 {
            house.wait_served(NODE, &image8266(n));
        }
    }
    house.wait_served(NODE, &image8266(39));
    house.put("dev/lotus/node/firmware.bin", &image8266(50));
    house.wait_served(NODE, &image8266(50));
}

#[test]
fn a_quiet_tree_stays_quiet_while_it_is_polled_and_downloaded() {
    // Images that do not fit into memory are read from disk for every download.
    let house = House::patient(
        "settle = \"0s\"\nremoval_grace = \"0s\"\nquiet = \"0s\"\nmemory = \"1KiB\"",
        "",
    );
    for n in 0..20 {
        house.put(&format!("dev/lotus/n{n}/firmware.bin"), &image8266(n));
        house.wait_served(&format!("dev/lotus/n{n}/key"), &image8266(n));
    }
    // What changed just now is examined once more.
    let racy = || {
        let mut racy = false;
        let catalog = house.tree.catalog();
        catalog.visit(|_, folder| racy |= folder.files.iter().any(|file| file.racy));
        racy
    };
    wait_until("nothing is to be examined again", || !racy());
    let (examined, generation) = (house.tree.examined(), *house.tree.changes().borrow());
    for _ in 0..10 {
        for n in 0..20 {
            let node = format!("dev/lotus/n{n}/key");
            let answer = house.poll8266(&node, &Md5::of(b"x").to_string());
            if answer.status == 200 {
                assert!(answer.body == image8266(n));
            }
            let file = house.ota().join(format!("dev/lotus/n{n}/firmware.bin"));
            let mut some = [0; 16];
            fs::File::open(file)
                .unwrap()
                .read_exact_at(&mut some, 0)
                .unwrap();
            fs::read_dir(house.ota().join("dev/lotus")).unwrap().count();
        }
    }
    assert_eq!(*house.tree.changes().borrow(), generation);
    assert_eq!(house.tree.examined(), examined);
}
