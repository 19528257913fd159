//! `/files/<path in the tree>`: images by name, for clients that want one (Tasmota).

use crate::client::{hears_304, other_md5, update};
use crate::house::{House, esp8266, image32, image8266, wait_until};
use otatree::firmware::Esp32Chip;
use otatree::firmware::Md5;
use otatree::firmware::forge::{esp32_boot_loader, gzipped};

const FOLDER: &str = "dev/lotus/tasmota";

fn file(name: &str) -> String {
    format!("/files/{FOLDER}/{name}")
}

/// A house with three builds of Tasmota beside each other.
fn tasmota() -> (House, Vec<u8>, Vec<u8>) {
    let house = House::new();
    let (full, minimal) = (image8266(1), image8266(2));
    house.put_renamed(&format!("{FOLDER}/tasmota.bin"), &full);
    house.put_renamed(&format!("{FOLDER}/tasmota.bin.gz"), &gzipped(&full));
    house.put_renamed(&format!("{FOLDER}/tasmota-minimal.bin"), &minimal);
    for name in ["tasmota.bin", "tasmota.bin.gz", "tasmota-minimal.bin"] {
        wait_until(name, || house.head(&file(name)).status == 200);
    }
    (house, full, minimal)
}

#[test]
fn every_sound_image_of_a_folder_can_be_had_by_its_name() {
    let (house, full, minimal) = tasmota();
    assert!(house.get(&file("tasmota.bin"), &[]).body == full);
    assert!(house.get(&file("tasmota.bin.gz"), &[]).body == gzipped(&full));
    assert!(house.get(&file("tasmota-minimal.bin"), &[]).body == minimal);
    let answer = house.get(&file("tasmota.bin"), &[("Range", "bytes=16-31")]);
    assert!(answer.status == 206 && answer.body == full[16..32]);
}

#[test]
fn a_name_is_under_the_same_decision() {
    let (house, full, minimal) = tasmota();
    let (runs, old) = (Md5::of(&full).to_string(), other_md5(0));
    let hears = |name: &str, headers: &[(&str, &str)]| {
        let answer = house.request("GET", &file(name), "HTTP/1.0", headers);
        (answer.status, answer.decision().to_owned())
    };
    for name in ["tasmota.bin", "tasmota.bin.gz"] {
        assert_eq!(hears(name, &esp8266(&runs)), hears_304("up-to-date"));
        assert_eq!(hears(name, &esp8266(&old)), update());
    }
    assert_eq!(hears("tasmota-minimal.bin", &esp8266(&runs)), update());
    let small = crate::client::with(&esp8266(&old), "x-ESP8266-free-space", "9000")
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect::<Vec<_>>();
    let small: Vec<_> = small.iter().map(|(n, v)| (&n[..], &v[..])).collect();
    assert!(minimal.len() > 9000 && gzipped(&full).len() < 9000);
    let short = hears_304("held does-not-fit");
    assert_eq!(hears("tasmota-minimal.bin", &small), short);
    assert_eq!(hears("tasmota.bin.gz", &small), update());
    let foreign = crate::house::esp32(&old, &old);
    let foreign = crate::client::with(&foreign, "x-ESP32-sketch-sha256", "");
    let wrong = hears_304("held wrong-family");
    assert_eq!(hears("tasmota.bin", &foreign), wrong);
}

#[test]
fn there_are_no_listings() {
    let (house, ..) = tasmota();
    for path in [
        "/files",
        "/files/",
        "/files/dev",
        "/files/dev/",
        "/files/dev/lotus/tasmota",
        "/files/dev/lotus/tasmota/",
        "/ota_update",
        "/ota_update/",
        "/ota_update/dev/lotus",
    ] {
        let answer = house.get(path, &[]);
        assert_eq!(answer.status, 404, "{path}");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!text.contains("tasmota"), "{path}: {text}");
    }
}

#[test]
fn what_is_no_image_of_the_tree_is_not_found() {
    let (house, full, _) = tasmota();
    let outside = house.dir.path().join("secret.bin");
    std::fs::write(&outside, &full).unwrap();
    for name in [
        ".hidden.bin",
        "~old.bin",
        "#x.bin#",
        "new.bin.part",
        "new.bin.tmp",
        "new.bin.filepart",
        "notes.txt",
        "tasmota.bin.toml",
        "bootloader.bin",
        "tasmota.merged.bin",
    ] {
        house.put(&format!("{FOLDER}/{name}"), &full);
    }
    house.put(
        &format!("{FOLDER}/app.bootloader.bin"),
        &esp32_boot_loader(Esp32Chip(0)),
    );
    std::os::unix::fs::symlink(&outside, house.ota().join(FOLDER).join("link.bin")).unwrap();
    house.put_renamed("dev/lotus/other/firmware.bin", &image32(1));
    let last = "/files/dev/lotus/other/firmware.bin";
    wait_until("a later file is there", || house.head(last).status == 200);
    for name in [
        ".hidden.bin",
        "~old.bin",
        "%23x.bin%23",
        "new.bin.part",
        "new.bin.tmp",
        "new.bin.filepart",
        "notes.txt",
        "tasmota.bin.toml",
        "bootloader.bin",
        "tasmota.merged.bin",
        "app.bootloader.bin",
        "link.bin",
        "missing.bin",
        "tasmota.bin.sha1",
        "../../../../secret.bin",
        "%2e%2e/%2e%2e/%2e%2e/%2e%2e/secret.bin",
        "..%2f..%2f..%2f..%2fsecret.bin",
        "./tasmota.bin",
        "tasmota.bin%00",
        "tasmota.bin/",
        "/tasmota.bin",
    ] {
        let answer = house.get(&file(name), &[]);
        match name {
            // One slash at the end is tolerated everywhere.
            "tasmota.bin/" => assert_eq!(answer.status, 200),
            _ => assert_eq!(answer.status, 404, "{name}"),
        }
    }
    for path in [
        "/files/dev%2Flotus%2Ftasmota%2Ftasmota.bin",
        "/files//etc/passwd",
    ] {
        assert_eq!(house.get(path, &[]).status, 404, "{path}");
    }
}
