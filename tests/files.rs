//! `/files/<path in the tree>`: images by name, for clients that want one (Tasmota).

use crate::client::{hears_304, other_md5, unhashed, update, with};
use crate::house::{House, esp8266, image32, image8266, wait_until};
use otatree::firmware::Esp32Chip;
use otatree::firmware::Md5;
use otatree::firmware::forge::{esp32_boot_loader, gzipped, littlefs, partition_table};

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

/// What a file's name hears: status and decision, with the download at its end.
fn hears(house: &House, name: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let answer = house.request("GET", &file(name), "HTTP/1.0", headers);
    house.settled();
    (answer.status, answer.decision().to_owned())
}

/// Headers without what tells this board from another.
fn nobody<'a>(headers: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    with(
        &with(headers, "x-ESP8266-STA-MAC", ""),
        "x-ESP8266-Chip-ID",
        "",
    )
}

#[test]
fn an_updater_without_a_hash_gets_a_file_once() {
    let (house, ..) = tasmota();
    for name in ["tasmota.bin", "tasmota-minimal.bin"] {
        assert_eq!(hears(&house, name, &unhashed()), update());
        assert_eq!(hears(&house, name, &unhashed()), hears_304("up-to-date"));
    }
    let other = with(&unhashed(), "x-ESP8266-STA-MAC", "48:3F:DA:00:00:01");
    assert_eq!(hears(&house, "tasmota-minimal.bin", &other), update());
    let newer = image8266(3);
    house.put_renamed(&format!("{FOLDER}/tasmota.bin"), &newer);
    let md5 = Md5::of(&newer).to_string();
    wait_until("the newer is there", || {
        house.head(&file("tasmota.bin")).header("x-md5") == Some(&md5)
    });
    assert_eq!(hears(&house, "tasmota.bin", &unhashed()), update());
}

#[test]
fn a_filesystem_is_given_once_by_its_name() {
    let (house, ..) = tasmota();
    house.put_renamed(&format!("{FOLDER}/littlefs.bin"), &littlefs(4096, 16));
    let name = "littlefs.bin";
    wait_until(name, || house.head(&file(name)).status == 200);
    let old = other_md5(0);
    let sketch = esp8266(&old);
    let headers = with(&sketch, "x-ESP8266-mode", "spiffs");
    assert_eq!(hears(&house, name, &headers), update());
    assert_eq!(hears(&house, name, &headers), hears_304("up-to-date"));
}

#[test]
fn who_tells_neither_what_it_runs_nor_who_it_is_gets_no_file() {
    let (house, ..) = tasmota();
    let held = || hears_304("held bad-report");
    let old = other_md5(0);
    assert_eq!(hears(&house, "tasmota.bin", &nobody(&unhashed())), held());
    let agent = [("User-Agent", "ESP8266-http-Update")];
    assert_eq!(hears(&house, "tasmota.bin", &agent), held());
    assert_eq!(
        house
            .request("HEAD", &file("tasmota.bin"), "HTTP/1.0", &agent)
            .status,
        304
    );
    let hashed = esp8266(&old);
    assert_eq!(hears(&house, "tasmota.bin", &nobody(&hashed)), update());
    assert_eq!(hears(&house, "tasmota.bin", &[]), update(), "a person");
    let curl = [("User-Agent", "curl/8.5.0")];
    for _ in 0..2 {
        assert_eq!(hears(&house, "tasmota.bin", &curl), update());
    }
}

#[test]
fn a_file_that_does_not_stick_is_held() {
    let (house, ..) = tasmota();
    let old = other_md5(0);
    for _ in 0..3 {
        assert_eq!(hears(&house, "tasmota.bin", &esp8266(&old)), update());
    }
    let held = hears_304("held does-not-stick");
    assert_eq!(hears(&house, "tasmota.bin", &esp8266(&old)), held);
    let minimal = hears(&house, "tasmota-minimal.bin", &esp8266(&old));
    assert_eq!(minimal, update(), "another image");
}

/// A file is held for everybody, and its sums are not told.
#[track_caller]
fn is_held(house: &House, name: &str, reason: &str) {
    wait_until(&format!("{name} is held {reason}"), || {
        house.head(&file(name)).decision() == format!("held {reason}")
    });
    let old = other_md5(0);
    let held = hears_304(&format!("held {reason}"));
    for headers in [&esp8266(&old)[..], &[]] {
        assert_eq!(hears(house, name, headers), held);
    }
    for sum in ["md5", "sha256"] {
        for method in ["GET", "HEAD"] {
            let path = file(&format!("{name}.{sum}"));
            let answer = house.request(method, &path, "HTTP/1.1", &[]);
            assert_eq!(answer.status, 404, "{path}");
        }
    }
}

#[test]
fn a_file_that_is_withheld_says_why() {
    let (house, full, minimal) = tasmota();
    house.put_renamed(&format!("{FOLDER}/tasmota.bin"), &full[..0x1800]);
    is_held(&house, "tasmota.bin", "corrupt");
    // Its neighbour is what it was.
    let rest = || hears(&house, "tasmota-minimal.bin", &[]);
    assert_eq!(rest(), update());
    let sum = house.get(&file("tasmota-minimal.bin.md5"), &[]);
    assert!(
        sum.body
            .starts_with(Md5::of(&minimal).to_string().as_bytes())
    );
    house.put_renamed(&format!("{FOLDER}/tasmota-minimal.bin"), &partition_table());
    is_held(&house, "tasmota-minimal.bin", "not-an-app");
}

#[test]
fn a_sum_beside_a_file_that_contradicts_it_holds_it_whether_it_is_the_choice_or_not() {
    let (house, full, minimal) = tasmota();
    for (name, bytes) in [("tasmota.bin", &full), ("tasmota-minimal.bin", &minimal)] {
        let beside = format!("{FOLDER}/{name}.md5");
        house.put(&beside, other_md5(0).as_bytes());
        is_held(&house, name, "corrupt");
        house.put(&beside, Md5::of(bytes).to_string().as_bytes());
        wait_until("it is given again", || {
            house.head(&file(name)).status == 200
        });
        let sum = house.head(&file(&format!("{name}.md5")));
        assert_eq!(sum.status, 200);
    }
}

#[test]
fn the_version_of_a_file_is_told_without_its_bytes() {
    let (house, full, _) = tasmota();
    let old = other_md5(0);
    let headers = esp8266(&old);
    let headers = with(&headers, "x-ESP8266-mode", "version");
    let answer = house.request("GET", &file("tasmota.bin"), "HTTP/1.0", &headers);
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    let md5 = Md5::of(&full).to_string();
    assert_eq!(answer.header("x-md5"), Some(md5.as_str()));
    assert!(answer.header("x-version").is_some());
}

#[test]
fn a_file_is_found_before_the_whole_tree_was_read() {
    let dir = tempfile::tempdir().unwrap();
    let image = image8266(1);
    for n in 0..2000 {
        std::fs::create_dir_all(dir.path().join(format!("ota/dev/p/n{n}"))).unwrap();
    }
    let folder = dir.path().join("ota").join(FOLDER);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("tasmota.bin"), &image).unwrap();
    std::fs::write(folder.join("cut.bin"), &image[..0x1800]).unwrap();
    let at_once = "settle = \"0s\"\nremoval_grace = \"0s\"\nquiet = \"0s\"";
    let house = House::build(dir, at_once, "");
    let (old, md5) = (other_md5(0), Md5::of(&image).to_string());
    let sum = house.get(&file("tasmota.bin.md5"), &[]);
    assert!(sum.body.starts_with(md5.as_bytes()), "{sum:?}");
    assert_eq!(hears(&house, "tasmota.bin", &esp8266(&old)), update());
    let cut = hears(&house, "cut.bin", &esp8266(&old));
    assert_eq!(cut, hears_304("held corrupt"));
    assert_eq!(house.get(&file("none.bin"), &esp8266(&old)).status, 404);
}
