//! When a file is given: its folder is quiet, and it is known to be whole.

use std::fs;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::house::{House, image8266, wait_until};
use crate::tree_kit::{NODE, SetAtTheEnd, found, offered, restarted, wait_noticed};
use otatree::firmware::{Found, HoldReason, ImageKind, Md5};

fn patience(settle: &str, quiet: &str) -> String {
    format!("settle = \"{settle}\"\nremoval_grace = \"0s\"\nquiet = \"{quiet}\"")
}

#[test]
fn a_file_in_a_folder_that_changed_a_moment_ago_is_held() {
    let house = House::patient(&patience("1s", "0s"), "");
    fs::create_dir_all(house.ota().join("dev/key")).unwrap();
    for n in 1..3 {
        let put = Instant::now();
        house.put("dev/key/firmware.bin", &image8266(n));
        house.wait_decision(NODE, "held not-settled");
        house.wait_served(NODE, &image8266(n));
        assert!(put.elapsed() >= Duration::from_millis(950));
    }
}

#[test]
fn a_folder_that_comes_back_has_to_be_quiet_again() {
    let house = House::patient(&patience("1s", "0s"), "");
    // A tree that is suddenly empty would change nothing.
    fs::create_dir_all(house.ota().join("other/key")).unwrap();
    house.put("dev/key/firmware.bin", &image8266(1));
    house.wait_served(NODE, &image8266(1));
    house.remove("dev");
    house.wait_decision(NODE, "no-image");
    let put = Instant::now();
    house.put("dev/key/firmware.bin", &image8266(2));
    house.wait_served(NODE, &image8266(2));
    assert!(put.elapsed() >= Duration::from_millis(950));
}

#[test]
fn a_stalled_copy_is_never_offered_and_becomes_offered_when_it_is_completed() {
    let house = House::new();
    let image = image8266(1);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _at_the_end = SetAtTheEnd(&over);
        let watcher = scope.spawn(|| {
            let mut answers = std::collections::BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                answers.insert(offered(&house, NODE));
            }
            answers
        });
        let path = house.ota().join("dev/key/firmware.bin");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = fs::File::create(path).unwrap();
        for piece in image.chunks(image.len() / 5) {
            file.write_all(piece).unwrap();
            wait_noticed(&house);
        }
        house.wait_served(NODE, &image);
        over.store(true, Ordering::Relaxed);
        let whole = Md5::of(&image).to_string();
        for answer in watcher.join().unwrap() {
            assert!(
                answer == whole || answer == "nothing" || answer.starts_with("held "),
                "{answer}"
            );
        }
    });
}

#[test]
fn a_half_image_is_a_problem_and_held_as_corrupt() {
    let house = House::new();
    let image = image8266(1);
    house.put("dev/key/firmware.bin", &image[..image.len() / 2]);
    house.wait_decision(NODE, "held corrupt");
    house.put_renamed("dev/key/firmware.bin", &image);
    house.wait_served(NODE, &image);
}

/// What is found of a file that cannot prove that it is whole.
fn filesystem(house: &House) -> Result<Md5, Option<HoldReason>> {
    match found(house, NODE, ImageKind::Filesystem) {
        Found::Offered(offer) => Ok(offer.image.facts.md5),
        Found::Withheld(reason) => Err(Some(reason)),
        Found::Nothing => Err(None),
    }
}

const OPAQUE: [u8; 8192] = [0xA5; 8192];

#[test]
fn a_file_that_cannot_prove_that_it_is_whole_waits_for_quiet() {
    let house = House::patient(&patience("0s", "2s"), "");
    let put = Instant::now();
    house.put("dev/key/spiffs.bin", &OPAQUE);
    wait_until("it is held", || {
        filesystem(&house) == Err(Some(HoldReason::NotSettled))
    });
    wait_until("it is offered", || {
        filesystem(&house) == Ok(Md5::of(&OPAQUE))
    });
    // The kernel's time of a change is up to a tick early.
    assert!(put.elapsed() >= Duration::from_millis(1950));
}

#[test]
fn a_rename_into_place_or_a_sum_proves_that_a_file_is_whole() {
    let house = House::patient(&patience("0s", "1h"), "");
    fs::create_dir_all(house.ota().join("dev/key")).unwrap();
    wait_noticed(&house);
    house.put("dev/key/spiffs.bin", &OPAQUE);
    wait_until("it is held", || {
        filesystem(&house) == Err(Some(HoldReason::NotSettled))
    });
    let sum = Md5::of(&OPAQUE).to_string();
    house.put("dev/key/spiffs.bin.md5", sum.as_bytes());
    wait_until("the sum proves it", || {
        filesystem(&house) == Ok(Md5::of(&OPAQUE))
    });
    house.remove("dev/key/spiffs.bin.md5");
    house.put("dev/key/spiffs.bin", &OPAQUE[..4096]);
    wait_until("written over, it proves nothing", || {
        filesystem(&house) == Err(Some(HoldReason::NotSettled))
    });
    house.put_renamed("dev/key/spiffs.bin", &OPAQUE);
    wait_until("the rename proves it", || {
        filesystem(&house) == Ok(Md5::of(&OPAQUE))
    });
}

#[test]
fn a_file_from_the_future_is_offered_and_not_examined_for_ever() {
    let lines = patience("1s", "0s");
    let house = House::patient(&lines, "");
    let house = restarted(house, &lines, |house| {
        house.put("dev/key/firmware.bin", &image8266(1));
        let file = fs::File::options()
            .append(true)
            .open(house.ota().join("dev/key/firmware.bin"))
            .unwrap();
        let later = SystemTime::now() + Duration::from_secs(1_000_000);
        file.set_modified(later).unwrap();
    });
    house.wait_served(NODE, &image8266(1));
    let began = Instant::now();
    wait_until("some time has passed", || {
        began.elapsed() > Duration::from_secs(5)
    });
    // Once at first, and once more because it was changed just before.
    assert!(house.tree.examined() <= 3, "{}", house.tree.examined());
}
