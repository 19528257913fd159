//! Which file of a slot is given.

use std::fs;

use crate::house::{House, image32, image8266, wait_until};
use crate::tree_kit::{
    GRACE, NODE, assert_offered, folder, found, problems, put_at, restarted, set_time, wait_known,
    wait_noticed, wait_problem,
};
use otatree::firmware::forge::gzipped;
use otatree::firmware::{Found, ImageKind, Md5, Offer, Sha256};

const SLOT: &str = "dev/key";

fn offer(house: &House) -> Offer {
    match found(house, NODE, ImageKind::Firmware) {
        Found::Offered(offer) => offer,
        other => panic!("not offered: {other:?}"),
    }
}

#[test]
fn firmware_bin_beats_ino_bin_beats_any_other_bin() {
    let house = House::new();
    for (n, name) in ["zz.bin", "blink.ino.bin", "firmware.bin"]
        .iter()
        .enumerate()
    {
        let image = image8266(n as u64);
        // Older ones, so that age cannot be what decides.
        put_at(&house, &format!("{SLOT}/{name}"), &image, 100 - n as u64);
        house.wait_served(NODE, &image);
    }
    wait_known(&house, SLOT, 3);
    assert_offered(&house, NODE, &image8266(2));
    assert_eq!(problems(&house), "");
}

#[test]
fn build_products_are_never_given_as_an_app() {
    let house = House::new();
    for name in [
        "bootloader.bin",
        "blink.ino.bootloader.bin",
        "partitions.bin",
        "blink.ino.partitions.bin",
        "boot_app0.bin",
        "blink.ino.merged.bin",
        "firmware.factory.bin",
        ".firmware.bin",
        "firmware.bin.part",
        "firmware.bin~",
    ] {
        house.put(&format!("{SLOT}/{name}"), &image8266(1));
    }
    wait_noticed(&house);
    assert_eq!(found(&house, NODE, ImageKind::Firmware), Found::Nothing);
    house.put(&format!("{SLOT}/blink.ino.bin"), &image8266(2));
    house.wait_served(NODE, &image8266(2));
    assert_eq!(problems(&house), "");
}

#[test]
fn of_two_of_one_rank_the_newest_is_given_and_a_problem_names_both() {
    let house = House::new();
    put_at(&house, "dev/key/a.bin", &image8266(1), 10);
    house.wait_served(NODE, &image8266(1));
    put_at(&house, "dev/key/b.bin", &image8266(2), 20);
    house.wait_served(NODE, &image8266(2));
    wait_problem(
        &house,
        "2 images could be meant: a.bin, b.bin; b.bin is taken",
    );
    house.remove("dev/key/a.bin");
    wait_known(&house, SLOT, 1);
    assert_eq!(problems(&house), "");
}

#[test]
fn a_touch_of_the_older_candidate_changes_nothing() {
    let house = House::new();
    put_at(&house, "dev/key/a.bin", &image8266(1), 10);
    put_at(&house, "dev/key/b.bin", &image8266(2), 20);
    wait_known(&house, SLOT, 2);
    house.wait_served(NODE, &image8266(2));
    set_time(&house, "dev/key/a.bin", 30);
    wait_known(&house, SLOT, 2);
    assert_offered(&house, NODE, &image8266(2));
}

#[test]
fn a_restore_with_scrambled_times_changes_nothing() {
    let house = House::patient(GRACE, "");
    for n in 1..5 {
        put_at(&house, &format!("dev/key/{n}.bin"), &image8266(n), n * 10);
        house.wait_served(NODE, &image8266(n));
    }
    for n in 1..5 {
        house.remove(&format!("dev/key/{n}.bin"));
    }
    for n in 1..5 {
        put_at(&house, &format!("dev/key/{n}.bin"), &image8266(n), 100 - n);
    }
    wait_known(&house, SLOT, 4);
    house.wait_served(NODE, &image8266(4));
    wait_noticed(&house);
    assert_offered(&house, NODE, &image8266(4));
}

#[test]
fn new_bytes_change_the_choice_whatever_file_they_are_in() {
    let house = House::new();
    put_at(&house, "dev/key/a.bin", &image8266(1), 10);
    put_at(&house, "dev/key/b.bin", &image8266(2), 20);
    wait_known(&house, SLOT, 2);
    put_at(&house, "dev/key/c.bin", &image8266(3), 30);
    house.wait_served(NODE, &image8266(3));
    put_at(&house, "dev/key/a.bin", &image8266(4), 40);
    house.wait_served(NODE, &image8266(4));
    put_at(&house, "dev/key/a.bin", &image8266(5), 50);
    house.wait_served(NODE, &image8266(5));
}

#[test]
fn the_choice_survives_a_restart_and_what_was_touched_meanwhile() {
    let house = House::patient(GRACE, "");
    put_at(&house, "dev/key/a.bin", &image8266(1), 10);
    put_at(&house, "dev/key/b.bin", &image8266(2), 20);
    wait_known(&house, SLOT, 2);
    house.wait_served(NODE, &image8266(2));
    let house = restarted(house, GRACE, |house| set_time(house, "dev/key/a.bin", 30));
    house.wait_served(NODE, &image8266(2));
    wait_known(&house, SLOT, 2);
    assert_offered(&house, NODE, &image8266(2));
    let house = restarted(house, GRACE, |house| {
        put_at(house, "dev/key/a.bin", &image8266(3), 40);
    });
    house.wait_served(NODE, &image8266(3));
}

#[test]
fn a_compressed_twin_goes_with_its_image_and_is_no_rival() {
    let house = House::new();
    let image = image8266(1);
    house.put("dev/key/firmware.bin.gz", &gzipped(&image));
    house.put("dev/key/firmware.bin", &image);
    wait_known(&house, SLOT, 2);
    house.wait_served(NODE, &image);
    let twin = offer(&house).compressed.expect("the twin is there");
    assert_eq!(twin.facts.md5, Md5::of(&gzipped(&image)));
    assert_eq!(problems(&house), "");

    house.put("dev/key/firmware.bin.gz", &gzipped(&image8266(2)));
    wait_known(&house, SLOT, 2);
    wait_noticed(&house);
    assert_eq!(offer(&house).compressed, None);
    assert_offered(&house, NODE, &image);
}

#[test]
fn a_note_beside_an_image_tells_its_version_and_a_broken_one_tells_nothing() {
    let house = House::new();
    house.put("dev/key/firmware.bin", &image32(1));
    house.wait_served(NODE, &image32(1));
    let own = offer(&house).image.facts.version.clone();
    house.put(
        "dev/key/firmware.bin.toml",
        b"title = \"Lamp\"\nversion = \"7.1\"\ndescription = \"dimmer\"\n",
    );
    wait_noticed(&house);
    let image = offer(&house).image;
    assert_eq!(
        (
            image.facts.title.as_deref(),
            image.facts.version.as_deref(),
            image.note.as_deref()
        ),
        (Some("Lamp"), Some("7.1"), Some("dimmer"))
    );
    house.put("dev/key/firmware.bin.toml", b"versoin = \"7.2\"\n");
    wait_problem(&house, "dev/key/firmware.bin.toml");
    wait_problem(&house, "until then it is not used");
    wait_noticed(&house);
    assert_eq!(offer(&house).image.facts.version, own);
}

#[test]
fn a_sum_beside_an_image_that_is_another_withholds_it() {
    let house = House::new();
    let image = image8266(1);
    for (end, right, wrong) in [
        (
            "md5",
            Md5::of(&image).to_string(),
            Md5::of(b"x").to_string(),
        ),
        (
            "sha256",
            Sha256::of(&image).to_string(),
            Sha256::of(b"x").to_string(),
        ),
    ] {
        let beside = format!("dev/key/firmware.bin.{end}");
        house.put("dev/key/firmware.bin", &image);
        house.put(&beside, format!("{wrong}  firmware.bin\n").as_bytes());
        house.wait_decision(NODE, "held corrupt");
        wait_problem(&house, "do not have the sum");
        house.put(&beside, format!("{right} *firmware.bin\n").as_bytes());
        house.wait_served(NODE, &image);
        house.put(&beside, b"no sum at all");
        wait_problem(&house, "it holds no");
        fs::remove_dir_all(house.ota().join(SLOT)).unwrap();
        house.wait_decision(NODE, "no-image");
    }
    wait_until("the slot is forgotten", || folder(&house, SLOT).is_none());
}
