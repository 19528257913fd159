//! What is in the tree and cannot be given: every device hears 304, and `x-ota-decision` says why.

use crate::client::{NODE, SLOT, hears_304, other_md5};
use crate::house::{House, esp8266, image32, image8266};
use otatree::firmware::forge::{Esp32, Esp8266};
use otatree::firmware::forge::{merged, partition_table};

#[test]
fn a_file_that_is_no_app_is_held_with_its_reason() {
    let house = House::new();
    let image = image8266(1);
    let mut damaged = image32(1);
    damaged[4000] ^= 1;
    let old = other_md5(0);
    for (bytes, reason) in [
        (&[][..], "held corrupt"),
        (&[0xFF; 4096], "held corrupt"),
        (&image[..image.len() - 16], "held corrupt"),
        (&image[..0x1800], "held corrupt"),
        (&damaged, "held corrupt"),
        (&partition_table(), "held not-an-app"),
        (&merged(Esp32::default()), "held not-an-app"),
        (
            b"<!DOCTYPE html><html><body>404</body></html>",
            "held not-an-app",
        ),
    ] {
        house.put_renamed(&format!("{SLOT}/firmware.bin"), bytes);
        house.wait_decision(NODE, reason);
        assert_eq!(house.hears(&esp8266(&old)), hears_304(reason));
        assert_eq!(house.hears(&[]), hears_304(reason), "nor to people");
        // A sound image, so that the next answer cannot be the last one's.
        house.offer(&image);
    }
}

#[test]
fn an_empty_folder_is_as_good_as_none() {
    let house = House::new();
    let old = other_md5(0);
    // Before the tree is read it is `held not-ready`.
    house.wait_decision(NODE, "no-image");
    std::fs::create_dir_all(house.ota().join(SLOT)).unwrap();
    house.put(&format!("{SLOT}/notes.txt"), b"soon");
    house.put("dev/marker/firmware.bin", &image8266(1));
    house.wait_served("dev/p/n/marker", &image8266(1));
    assert_eq!(house.hears(&esp8266(&old)), hears_304("no-image"));
    let answer = house.poll8266(NODE, &old);
    assert!(
        answer
            .header("content-length")
            .is_none_or(|length| length == "0")
    );
}

#[test]
fn a_withheld_image_of_a_node_is_not_replaced_by_a_general_one() {
    let house = House::new();
    house.offer(&image8266(1));
    house.put_renamed(
        "dev/lotus/esp8266-85ea2b/firmware.bin",
        &image8266(2)[..0x1800],
    );
    house.wait_decision(NODE, "held corrupt");
    let old = other_md5(0);
    assert_eq!(house.hears(&esp8266(&old)), hears_304("held corrupt"));
}

#[test]
fn the_first_of_the_seven_slots_wins() {
    let house = House::new();
    let slots = [
        "dev/sht30_d1_mini",
        "dev/+/sht30_d1_mini",
        "dev/lotus/sht30_d1_mini",
        "dev/esp8266-85ea2b",
        "dev/+/esp8266-85ea2b",
        "dev/lotus/esp8266-85ea2b",
        "dev/lotus/esp8266-85ea2b/sht30_d1_mini",
    ];
    let old = other_md5(0);
    for (seed, slot) in (1..).zip(slots) {
        let image = image8266(seed);
        house.put_renamed(&format!("{slot}/firmware.bin"), &image);
        house.wait_served(NODE, &image);
        assert!(house.poll8266(NODE, &old).body == image, "{slot}");
    }
}

#[test]
fn a_file_above_the_largest_image_is_held_and_its_problem_names_the_setting() {
    let house = House::patient(
        "settle = \"0s\"\nremoval_grace = \"0s\"\nquiet = \"0s\"\nlargest_image = \"16 KiB\"",
        "",
    );
    let (small, large) = (image8266(1), sized(16 * 1024 + 16));
    let old = other_md5(0);
    house.offer(&small);
    house.put_renamed(&format!("{SLOT}/firmware.bin"), &large);
    house.wait_decision(NODE, "held unreadable");
    assert_eq!(house.hears(&esp8266(&old)), hears_304("held unreadable"));
    let catalog = house.tree.catalog();
    let problems: Vec<String> = catalog.problems().iter().map(ToString::to_string).collect();
    let wanted = format!(
        "it has {} bytes; [tree] largest_image allows 16384",
        large.len()
    );
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].contains(&format!("{SLOT}/firmware.bin")) && problems[0].contains(&wanted),
        "{problems:?}"
    );
    house.offer(&sized(16 * 1024));
    assert_eq!(house.tree.catalog().problems(), []);
}

fn sized(size: usize) -> Vec<u8> {
    Esp8266 {
        size,
        ..Esp8266::default()
    }
    .build()
}
