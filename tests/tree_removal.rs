//! A removal that would expose a less specific image counts only after a while.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::house::{House, image8266, wait_until};
use crate::tree_kit::{GRACE, NODE, SetAtTheEnd, offered, wait_noticed};
use otatree::firmware::Md5;

fn run(folder: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .envs([
            ("GIT_AUTHOR_NAME", "a"),
            ("GIT_AUTHOR_EMAIL", "a@a"),
            ("GIT_COMMITTER_NAME", "a"),
            ("GIT_COMMITTER_EMAIL", "a@a"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ])
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn after_the_grace_the_less_specific_image_is_served_and_not_before() {
    let house = House::patient(
        "settle = \"0s\"\nremoval_grace = \"1s\"\nquiet = \"0s\"",
        "",
    );
    house.put("dev/key/firmware.bin", &image8266(1));
    for slot in ["dev/node", "dev/lotus/node", "dev/lotus/node/key"] {
        house.put(&format!("{slot}/firmware.bin"), &image8266(2));
        house.wait_served(NODE, &image8266(2));
        let removed = Instant::now();
        house.remove(if slot == "dev/lotus/node/key" {
            "dev/lotus"
        } else {
            slot
        });
        house.wait_decision(NODE, "held just-removed");
        house.wait_served(NODE, &image8266(1));
        assert!(removed.elapsed() >= Duration::from_millis(950));
    }
}

#[test]
fn a_node_image_that_is_removed_and_put_back_never_exposes_the_key_image() {
    let house = House::patient(GRACE, "");
    let (key, node) = (image8266(1), image8266(2));
    house.put("dev/key/firmware.bin", &key);
    house.put("dev/lotus/node/firmware.bin", &node);
    house.wait_served(NODE, &node);
    let (over, key) = (AtomicBool::new(false), Md5::of(&key).to_string());
    std::thread::scope(|scope| {
        let _at_the_end = SetAtTheEnd(&over);
        let poller = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                assert_ne!(offered(&house, NODE), key);
            }
        });
        for n in 0..20 {
            match n % 4 {
                0 => house.remove("dev/lotus/node/firmware.bin"),
                1 => house.remove("dev/lotus/node"),
                2 => house.remove("dev/lotus"),
                _ => fs::rename(house.ota().join("dev/lotus"), house.dir.path().join("away"))
                    .unwrap(),
            }
            if n % 2 == 0 {
                house.wait_decision(NODE, "held just-removed");
            }
            let _ = fs::remove_dir_all(house.dir.path().join("away"));
            house.put("dev/lotus/node/firmware.bin", &node);
            house.wait_served(NODE, &node);
        }
        over.store(true, Ordering::Relaxed);
        poller.join().unwrap();
    });
}

/// 50 nodes with images of their own, and the less specific one that none of them may ever get.
struct Fleet {
    house: House,
    /// Complete images by node and release.
    releases: u64,
}

const NODES: u64 = 50;

fn image_of(node: u64, release: u64) -> Vec<u8> {
    image8266(1000 * (release + 1) + node)
}

fn write_release(folder: &Path, release: u64) {
    for node in 0..NODES {
        let slot = folder.join(format!("dev/lotus/n{node}"));
        fs::create_dir_all(&slot).unwrap();
        fs::write(slot.join("firmware.bin"), image_of(node, release)).unwrap();
    }
    fs::create_dir_all(folder.join("dev/key")).unwrap();
    fs::write(folder.join("dev/key/firmware.bin"), image8266(1)).unwrap();
}

impl Fleet {
    fn new() -> Self {
        let house = House::patient(GRACE, "");
        write_release(&house.ota(), 0);
        let fleet = Self { house, releases: 3 };
        fleet.wait_release(0);
        fleet
    }

    fn wait_release(&self, release: u64) {
        for node in 0..NODES {
            self.house
                .wait_served(&format!("dev/lotus/n{node}/key"), &image_of(node, release));
        }
    }

    /// All nodes poll while the tree is changed; every answer must be nothing, or a whole image of that very node.
    fn polls_during(&self, change: impl FnOnce(&Path)) {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _at_the_end = SetAtTheEnd(&over);
            for worker in 0..10 {
                let over = &over;
                scope.spawn(move || {
                    let mut round = 0_u64;
                    while !over.load(Ordering::Relaxed) {
                        let node = (worker + 10 * round) % NODES;
                        round += 1;
                        self.poll(node);
                    }
                });
            }
            change(&self.house.ota());
            over.store(true, Ordering::Relaxed);
        });
    }

    fn poll(&self, node: u64) {
        let answer = self.house.poll8266(
            &format!("dev/lotus/n{node}/key"),
            &Md5::of(b"x").to_string(),
        );
        match answer.status {
            304 => assert!(answer.decision().starts_with("held "), "{answer:?}"),
            200 => {
                let known =
                    (0..self.releases).any(|release| image_of(node, release) == answer.body);
                assert!(known, "node {node} got {} bytes", answer.body.len());
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn cp_over_a_live_tree_gives_nobody_anything_but_whole_images_of_its_own() {
    let fleet = Fleet::new();
    let outside = tempfile::tempdir().unwrap();
    write_release(outside.path(), 1);
    fleet.polls_during(|ota| {
        let from = outside.path().join("dev");
        run(ota, "cp", &["-r", from.to_str().unwrap(), "."]);
        fleet.wait_release(1);
        fs::remove_dir_all(ota.join("dev/lotus")).unwrap();
        wait_noticed(&fleet.house);
        run(ota, "cp", &["-r", from.to_str().unwrap(), "."]);
        fleet.wait_release(1);
    });
}

#[test]
fn rsync_with_delete_gives_nobody_anything_but_whole_images_of_its_own() {
    let fleet = Fleet::new();
    let outside = tempfile::tempdir().unwrap();
    write_release(outside.path(), 1);
    fleet.polls_during(|ota| {
        let from = format!("{}/", outside.path().display());
        run(ota, "rsync", &["-rI", "--delete-before", &from, "."]);
        fleet.wait_release(1);
        write_release(outside.path(), 2);
        run(ota, "rsync", &["-rI", "--inplace", "--delete", &from, "."]);
        fleet.wait_release(2);
    });
}

#[test]
fn unzip_gives_nobody_anything_but_whole_images_of_its_own() {
    let fleet = Fleet::new();
    let outside = tempfile::tempdir().unwrap();
    write_release(outside.path(), 1);
    run(outside.path(), "zip", &["-qr", "all.zip", "dev"]);
    let zip = outside.path().join("all.zip");
    fleet.polls_during(|ota| {
        run(ota, "unzip", &["-qo", zip.to_str().unwrap()]);
        fleet.wait_release(1);
    });
}

#[test]
fn git_checkout_of_another_branch_and_back_gives_nobody_anything_but_its_own() {
    let fleet = Fleet::new();
    let ota = fleet.house.ota();
    run(&ota, "git", &["init", "-q", "-b", "one"]);
    run(&ota, "git", &["add", "dev"]);
    run(&ota, "git", &["commit", "-qm", "one"]);
    run(&ota, "git", &["checkout", "-q", "-b", "two"]);
    write_release(&ota, 1);
    run(&ota, "git", &["commit", "-qam", "two"]);
    fleet.wait_release(1);
    // A branch without any node's image.
    run(&ota, "git", &["checkout", "-q", "-b", "none"]);
    run(&ota, "git", &["rm", "-rq", "dev/lotus"]);
    run(&ota, "git", &["commit", "-qm", "none"]);
    run(&ota, "git", &["checkout", "-q", "one"]);
    fleet.wait_release(0);
    fleet.polls_during(|ota| {
        for (branch, release) in [("two", 1), ("none", 1), ("two", 1), ("one", 0)] {
            run(ota, "git", &["checkout", "-q", branch]);
            if branch == "none" {
                wait_noticed(&fleet.house);
            } else {
                fleet.wait_release(release);
            }
        }
    });
}

#[test]
fn a_copy_that_stalls_gives_nobody_anything_but_whole_images_of_its_own() {
    let fleet = Fleet::new();
    let ota = fleet.house.ota();
    fleet.polls_during(|_| {
        for release in [1, 2] {
            // As scp does it: the old file is cut to nothing, and the new bytes come into it.
            let stalled: Vec<_> = (0..NODES)
                .map(|node| {
                    let path = ota.join(format!("dev/lotus/n{node}/firmware.bin"));
                    let mut file = fs::File::create(path).unwrap();
                    let image = image_of(node, release);
                    let cut = image.len() * (usize::try_from(node).unwrap() + 1) / 51;
                    file.write_all(&image[..cut]).unwrap();
                    (file, image, cut)
                })
                .collect();
            wait_noticed(&fleet.house);
            for node in 0..NODES {
                let device = format!("dev/lotus/n{node}/key");
                wait_until("what is not whole is held", || {
                    // Without even a sketch in it, it looks like another file than the app.
                    let answer = fleet.house.head(&format!("/ota_update/{device}"));
                    ["held corrupt", "held not-an-app"].contains(&answer.decision())
                });
            }
            for (mut file, image, cut) in stalled {
                file.write_all(&image[cut..]).unwrap();
            }
            fleet.wait_release(release);
        }
    });
}
