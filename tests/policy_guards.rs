//! The guards of `ota.toml`: older versions, nodes that were flashed by hand, texts that must be there.

use crate::house::{Answer, House, esp32, esp8266, image8266, wait_until};
use crate::publish::{publish_app, slot};
use crate::tree_kit::{problems, restarted};
use otatree::firmware::forge::{Esp32, gzipped};
use otatree::firmware::{ImageKind, Md5, Sha256};
use otatree::tree::{Back, Expect};

const SLOT: &str = "dev/+/key/firmware.bin";
const NODE: &str = "dev/lotus/node/key";
const OLD: &str = "00000000000000000000000000000001";
const AT_ONCE: &str = "settle = \"0s\"\nremoval_grace = \"0s\"\nquiet = \"0s\"";

fn versioned(version: &str) -> Vec<u8> {
    Esp32 {
        version,
        ..Esp32::default()
    }
    .build()
}

/// What a node hears that says that it runs this version.
fn poll(house: &House, version: &str) -> String {
    let mut headers = esp32(OLD, "");
    headers.retain(|(name, _)| *name != "x-ESP32-sketch-sha256");
    headers.push(("x-ESP32-version", version));
    let answer = house.request("HEAD", &format!("/ota_update/{NODE}"), "HTTP/1.0", &headers);
    answer.decision().to_owned()
}

#[test]
fn no_older_version_is_given_where_downgrade_is_never() {
    let house = House::new();
    house.put_renamed(SLOT, &versioned("1.4.0"));
    house.wait_decision(NODE, "update");
    assert_eq!(poll(&house, "1.5.0"), "update", "the tree says what runs");
    house.put("dev/ota.toml", b"downgrade = \"never\"");
    let end = "held downgrade";
    wait_until("it is held", || poll(&house, "1.5.0") == end);
    for (running, decision) in [
        ("1.4.1", end),
        ("1.10.0", end),
        ("1.4.0", "update"),
        ("1.4.0+build.9", "update"),
        ("1.4.0-rc.1", "update"),
        ("1.3.9", "update"),
        // These have no order.
        ("2", "update"),
        ("v2.0.0", "update"),
        ("9b1c2d3", "update"),
    ] {
        assert_eq!(poll(&house, running), decision, "{running}");
    }
    let answer = house.head(&format!("/ota_update/{NODE}"));
    assert_eq!(answer.decision(), "update", "who says no version");
}

#[test]
fn a_rollback_that_a_person_orders_is_given_although_it_is_older() {
    let house = House::new();
    house.put("dev/ota.toml", b"downgrade = \"never\"");
    let (old, new) = (versioned("1.0.0"), versioned("2.0.0"));
    let key = slot("dev/+/key");
    publish_app(&house, "dev/+/key", &old).unwrap();
    house.wait_decision(NODE, "update");
    wait_until("it is held", || poll(&house, "2.0.0") == "held downgrade");
    publish_app(&house, "dev/+/key", &new).unwrap();
    let back = |to| {
        let kind = ImageKind::Firmware;
        house.tree.rollback(&key, kind, to, Expect::Any)
    };
    assert_eq!(back(Back::Previous).unwrap().id, Sha256::of(&old));
    assert_eq!(poll(&house, "2.0.0"), "update");

    // What was ordered once is not ordered for ever.
    publish_app(&house, "dev/+/key", &new).unwrap();
    publish_app(&house, "dev/+/key", &old).unwrap();
    assert_eq!(poll(&house, "2.0.0"), "held downgrade");
    assert!(back(Back::To(Sha256::of(b"not kept"))).is_err());
    assert_eq!(poll(&house, "2.0.0"), "held downgrade");

    assert_eq!(back(Back::To(Sha256::of(&old))).unwrap().held, None);
    let house = restarted(house, AT_ONCE, |_| {});
    house.wait_decision(NODE, "update");
    assert_eq!(poll(&house, "2.0.0"), "update", "it is remembered");
    house.put_renamed(SLOT, &versioned("1.3.0"));
    wait_until("another one is held", || {
        poll(&house, "2.0.0") == "held downgrade"
    });
}

/// What a node hears that reports this MD5, without taking the image.
fn reports(house: &House, node: &str, md5: &str) -> Answer {
    house.request(
        "HEAD",
        &format!("/ota_update/dev/lotus/{node}/key"),
        "HTTP/1.0",
        &esp8266(md5),
    )
}

fn sum(seed: u64) -> String {
    Md5::of(&image8266(seed)).to_string()
}

#[test]
fn a_node_that_was_flashed_by_hand_keeps_it_until_a_newer_image_appears() {
    let house = House::new();
    house.put_renamed(SLOT, &image8266(1));
    house.wait_served(NODE, &image8266(1));
    assert_eq!(reports(&house, "node", &sum(1)).decision(), "up-to-date");
    let mine = sum(100);
    for _ in 0..3 {
        assert_eq!(reports(&house, "node", &mine).decision(), "held by-hand");
    }
    assert_eq!(reports(&house, "new", &mine).decision(), "update");
    assert_eq!(house.poll8266(NODE, &mine).status, 304);

    house.put("dev/ota.toml", b"by_hand = \"update\"");
    wait_until("it is updated", || {
        reports(&house, "node", &mine).decision() == "update"
    });
    house.remove("dev/ota.toml");
    wait_until("it is held again", || {
        reports(&house, "node", &mine).decision() == "held by-hand"
    });

    house.put_renamed(SLOT, &image8266(2));
    house.wait_served(NODE, &image8266(2));
    assert_eq!(reports(&house, "node", &mine).decision(), "update");
    // What comes back is no newer than the report.
    house.put_renamed(SLOT, &image8266(1));
    house.wait_served(NODE, &image8266(1));
    assert_eq!(reports(&house, "node", &mine).decision(), "held by-hand");
    // Flashed again, after the second image came.
    house.put_renamed(SLOT, &image8266(2));
    house.wait_served(NODE, &image8266(2));
    let again = reports(&house, "node", &sum(101));
    assert_eq!(again.decision(), "held by-hand");
}

#[test]
fn a_node_that_runs_an_older_image_of_the_tree_was_not_flashed_by_hand() {
    let house = House::new();
    for seed in 1..4 {
        house.put_renamed(SLOT, &image8266(seed));
        house.wait_served(NODE, &image8266(seed));
        assert_eq!(
            reports(&house, "node", &sum(1)).decision(),
            match seed {
                1 => "up-to-date",
                _ => "update",
            }
        );
    }
}

#[test]
fn what_a_node_reports_after_it_took_an_image_in_full_is_not_by_hand() {
    let house = House::new();
    house.put_renamed(SLOT, &image8266(1));
    house.wait_served(NODE, &image8266(1));
    assert_eq!(reports(&house, "node", &sum(1)).decision(), "up-to-date");
    house.put_renamed(SLOT, &image8266(2));
    house.wait_served(NODE, &image8266(2));
    assert_eq!(house.poll8266(NODE, &sum(1)).status, 200);
    // Its boot loader patched the flash in a way that nobody knows.
    wait_until("the download counts", || {
        reports(&house, "node", &sum(102)).decision() == "update"
    });
}

fn app(knows_its_way: bool, version: &str) -> Vec<u8> {
    Esp32 {
        knows_its_way,
        version,
        ..Esp32::default()
    }
    .build()
}

#[test]
fn an_image_that_lacks_a_text_is_withheld_until_the_policy_is_another() {
    let house = House::new();
    house.put_renamed(SLOT, &app(true, "greenhouse"));
    house.wait_served(NODE, &app(true, "greenhouse"));
    for (folder, wanted) in [
        ("dev/+/key", "withheld"),
        ("dev", "withheld"),
        ("dev/lotus", "offered, and held for this device"),
    ] {
        let policy = format!("{folder}/ota.toml");
        house.put(&policy, b"must_contain = [\"ota_update\", \"green\"]");
        crate::tree_kit::wait_noticed(&house);
        house.wait_decision(NODE, "update");
        house.put(&policy, b"must_contain = [\"ota_update\", \"blue\"]");
        house.wait_decision(NODE, "held lacks-bytes");
        let problem = "dev/+/key/firmware.bin: it does not contain \"blue\"";
        assert_eq!(
            problems(&house).contains(problem),
            wanted == "withheld",
            "{folder}: {}",
            problems(&house)
        );
        let file = house.head(&format!("/files/{SLOT}"));
        let held = file.decision() == "held lacks-bytes";
        assert_eq!(held, wanted == "withheld", "{folder}: {file:?}");
        house.remove(&policy);
        house.wait_decision(NODE, "update");
    }
}

#[test]
fn a_text_is_looked_for_in_what_a_compressed_image_inflates_to() {
    let house = House::new();
    house.put("dev/ota.toml", b"must_contain = [\"ota_update\"]");
    let image = gzipped(&image8266(1));
    house.put_renamed("dev/+/key/firmware.bin.gz", &image);
    house.wait_served(NODE, &image);
    house.put("dev/ota.toml", b"must_contain = [\"OTA_update\"]");
    house.wait_decision(NODE, "held lacks-bytes");
}

#[test]
fn an_app_that_does_not_know_its_way_back_is_a_problem_and_is_given() {
    let house = House::new();
    house.put_renamed(SLOT, &app(false, "1"));
    house.wait_served(NODE, &app(false, "1"));
    assert!(problems(&house).contains("does not contain \"ota_update\""));
    house.put("dev/ota.toml", b"must_contain = []");
    wait_until("it is meant so", || problems(&house).is_empty());
    house.wait_decision(NODE, "update");
    let other = House::with("[doors.frugal_iot]\nprefix = \"greenhouse\"");
    other.put_renamed(SLOT, &app(true, "1"));
    crate::tree_kit::wait_problem(&other, "does not contain \"greenhouse\"");
}

#[test]
fn what_was_found_in_an_image_is_known_after_a_restart() {
    let house = House::new();
    house.put("dev/ota.toml", b"must_contain = [\"ota_update\"]");
    house.put_renamed(SLOT, &app(true, "1"));
    house.wait_served(NODE, &app(true, "1"));
    // What changed a moment ago is examined again, whatever is cached.
    wait_until("the file is at rest", || {
        let folder = crate::tree_kit::folder(&house, "dev/+/key");
        folder.is_some_and(|folder| folder.files.iter().all(|file| !file.racy))
    });
    let house = restarted(house, AT_ONCE, |_| {});
    house.wait_served(NODE, &app(true, "1"));
    assert_eq!(house.tree.examined(), 0);
    let house = restarted(house, AT_ONCE, |house| {
        house.put("dev/ota.toml", b"must_contain = [\"blue\"]");
    });
    house.wait_decision(NODE, "held lacks-bytes");
}
