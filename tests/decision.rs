//! What a device hears on the main door, by who it is and what lies in its slot.

use crate::client::{NODE, SLOT, hears_304, other_md5, path, unhashed, update, with};
use crate::house::{House, esp32, esp8266, image32, image8266};
use otatree::firmware::forge::{
    Esp8266, FLASH_16_MIB, esp8266_plain, esp8266_sdk_v2, gzipped, littlefs,
};
use otatree::firmware::{Md5, Sha256};

/// Headers of arduino-pico's updater: its prefix is empty, and it sends no hash.
fn pico() -> Vec<(&'static str, &'static str)> {
    vec![
        ("User-Agent", "-http-Update"),
        ("x--Chip-ID", "E6614104037A2C2F"),
        ("x--STA-MAC", "28:CD:C1:01:02:03"),
        ("x--mode", "sketch"),
    ]
}

/// An image of no family that we know, such as a Pico's.
fn unknown_image(seed: u8) -> Vec<u8> {
    (0..20_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed)
        .collect()
}

#[test]
fn an_image_goes_to_its_own_family_only() {
    let house = House::new();
    let (old, old_sha) = (other_md5(0), Sha256::of(b"old").to_string());
    let wrong = || hears_304("held wrong-family");
    for (image, by_8266, by_32, by_pico) in [
        (image8266(1), update(), wrong(), wrong()),
        (image32(1), wrong(), update(), wrong()),
        (unknown_image(1), wrong(), wrong(), update()),
    ] {
        house.offer(&image);
        assert_eq!(house.hears(&esp8266(&old)), by_8266);
        assert_eq!(house.hears(&esp32(&old, &old_sha)), by_32);
        assert_eq!(house.hears(&pico()), by_pico);
        assert_eq!(house.hears(&[("User-Agent", "curl/8.5.0")]), update());
        assert_eq!(house.hears(&[]), update());
    }
}

#[test]
fn a_client_that_names_its_chip_only_is_guarded_too() {
    let house = House::new();
    let (idf, old_idf) = (
        [("User-Agent", "ESP32 HTTP Client/1.0")],
        [("User-Agent", "ESP8266HTTPClient")],
    );
    house.offer(&image8266(1));
    assert_eq!(house.hears(&idf), hears_304("held wrong-family"));
    assert_eq!(house.hears(&old_idf), update());
    house.offer(&image32(1));
    assert_eq!(house.hears(&idf), update());
    assert_eq!(house.hears(&old_idf), hears_304("held wrong-family"));
}

#[test]
fn an_arduino_node_gets_no_image_of_espressifs_own_sdks() {
    let house = House::new();
    let old = other_md5(0);
    let wrong = || hears_304("held wrong-family");
    for image in [
        esp8266_plain(1),
        esp8266_sdk_v2(1),
        gzipped(&esp8266_plain(2)),
    ] {
        house.offer(&image);
        assert_eq!(house.hears(&esp8266(&old)), wrong());
        assert_eq!(
            house.hears(&[("User-Agent", "ESP8266-http-Update")]),
            wrong()
        );
        let file = format!("/files/{SLOT}/firmware.bin");
        let answer = house.request("GET", &file, "HTTP/1.0", &esp8266(&old));
        assert_eq!(
            (answer.status, answer.decision()),
            (304, "held wrong-family")
        );
        // These are no Arduino updaters.
        for agent in ["ESP8266HTTPClient", "ESP8266", "curl/8.5.0"] {
            assert_eq!(house.hears(&[("User-Agent", agent)]), update(), "{agent}");
        }
        assert_eq!(house.hears(&esp32(&old, &"0".repeat(64))), wrong());
        // A node that runs it says so, whatever its headers are.
        assert_eq!(
            house.hears(&esp8266(&Md5::of(&image).to_string())),
            match image[0] {
                0x1F => wrong(),
                _ => hears_304("up-to-date"),
            }
        );
    }
}

#[test]
fn two_families_in_one_request_are_no_ground_to_decide_on() {
    let house = House::new();
    house.offer(&image8266(1));
    let old = other_md5(0);
    let mixed = with(&esp8266(&old), "x-ESP32-free-space", "1966080");
    assert_eq!(house.hears(&mixed), hears_304("held bad-report"));
    let mixed = with(&esp8266(&old), "User-Agent", "ESP32-http-Update");
    assert_eq!(house.hears(&mixed), hears_304("held bad-report"));
}

#[test]
fn a_pico_gets_an_image_once_and_again_when_it_changes() {
    let house = House::new();
    house.offer(&unknown_image(1));
    assert_eq!(house.hears(&pico()), update());
    assert_eq!(house.hears(&pico()), hears_304("up-to-date"));
    house.offer(&unknown_image(2));
    assert_eq!(house.hears(&pico()), update());
    assert_eq!(house.hears(&pico()), hears_304("up-to-date"));
}

#[test]
fn an_old_core_without_a_hash_gets_an_image_once() {
    let house = House::with("[guards]\nloop = 0");
    house.offer(&image8266(1));
    assert_eq!(house.hears(&unhashed()), update());
    assert_eq!(house.hears(&unhashed()), hears_304("up-to-date"));
    let other = with(&unhashed(), "x-ESP8266-STA-MAC", "48:3F:DA:00:00:01");
    assert_eq!(house.hears(&other), update(), "another board, same name");
    house.offer(&image8266(2));
    assert_eq!(house.hears(&unhashed()), update());
}

#[test]
fn without_a_hash_an_equal_version_is_the_same_image() {
    let house = House::new();
    let image = image8266(1);
    house.put(
        &format!("{SLOT}/firmware.bin.toml"),
        b"version = \"1.2.3\"\n",
    );
    house.offer(&image);
    let runs = |version| with(&unhashed(), "x-ESP8266-version", version);
    assert_eq!(house.hears(&runs("1.2.3")), hears_304("up-to-date"));
    assert_eq!(house.hears(&runs("1.2.2")), update());
    let hashed = with(&esp8266("-"), "x-ESP8266-version", "1.2.3");
    let old = other_md5(0);
    let hashed = with(&hashed, "x-ESP8266-sketch-md5", &old);
    assert_eq!(house.hears(&hashed), update(), "a hash is the better word");
}

#[test]
fn an_app_larger_than_the_free_space_is_held() {
    let house = House::new();
    let (image, old) = (image8266(1), other_md5(0));
    house.offer(&image);
    let size = image.len().to_string();
    let less = (image.len() - 1).to_string();
    let headers = esp8266(&old);
    let free = |size| house.hears(&with(&headers, "x-ESP8266-free-space", size));
    assert_eq!(free(&less), hears_304("held does-not-fit"));
    assert_eq!(free(&size), update());

    let (image, old_sha) = (image32(1), Sha256::of(b"old").to_string());
    house.offer(&image);
    let less = (image.len() - 1).to_string();
    let headers = esp32(&old, &old_sha);
    let heard = house.hears(&with(&headers, "x-ESP32-free-space", &less));
    assert_eq!(heard, hears_304("held does-not-fit"));
}

#[test]
fn an_app_for_a_larger_flash_is_held() {
    let house = House::new();
    let image = Esp8266 {
        flash_size: FLASH_16_MIB,
        ..Esp8266::default()
    };
    house.offer(&image.build());
    let old = other_md5(0);
    let headers = esp8266(&old);
    let chip = |size| house.hears(&with(&headers, "x-ESP8266-chip-size", size));
    assert_eq!(chip("4194304"), hears_304("held does-not-fit"));
    assert_eq!(chip("16777216"), update());
}

#[test]
fn a_compressed_twin_goes_to_an_esp8266_that_is_short_of_space() {
    let house = House::new();
    let (image, old) = (image8266(1), other_md5(0));
    let packed = gzipped(&image);
    house.put(&format!("{SLOT}/firmware.bin.gz"), &packed);
    house.offer(&image);
    let size = packed.len().to_string();
    let less = (packed.len() - 1).to_string();
    let headers = esp8266(&old);
    let ample = house.poll(&headers);
    assert!(ample.body == image, "it is chosen for want of space only");
    let short = house.poll(&with(&headers, "x-ESP8266-free-space", &size));
    assert_eq!(short.status, 200);
    assert!(short.body == packed);
    assert_eq!(
        short.header("x-md5"),
        Some(Md5::of(&packed).to_string().as_str())
    );
    assert_eq!(short.header("content-encoding"), None);
    let heard = house.hears(&with(&headers, "x-ESP8266-free-space", &less));
    assert_eq!(heard, hears_304("held does-not-fit"));
    let runs = Md5::of(&image).to_string();
    let runs_it = esp8266(&runs);
    let heard = house.hears(&with(&runs_it, "x-ESP8266-free-space", &size));
    assert_eq!(heard, hears_304("up-to-date"));
}

#[test]
fn a_compressed_twin_never_goes_to_an_esp32() {
    let house = House::new();
    let (image, old, old_sha) = (image32(1), other_md5(0), Sha256::of(b"old").to_string());
    let packed = gzipped(&image);
    house.put(&format!("{SLOT}/firmware.bin.gz"), &packed);
    house.offer(&image);
    let size = packed.len().to_string();
    let headers = esp32(&old, &old_sha);
    let heard = house.hears(&with(&headers, "x-ESP32-free-space", &size));
    assert_eq!(heard, hears_304("held does-not-fit"));
}

#[test]
fn a_firmware_is_never_sent_for_a_filesystem() {
    let house = House::new();
    house.offer(&image8266(1));
    let (old, old_sha) = (other_md5(0), Sha256::of(b"old").to_string());
    for mode in ["spiffs", "littlefs"] {
        let (one, other) = (esp8266(&old), esp32(&old, &old_sha));
        let heard = house.hears(&with(&one, "x-ESP8266-mode", mode));
        assert_eq!(heard, hears_304("no-image"));
        let heard = house.hears(&with(&other, "x-ESP32-mode", mode));
        assert_eq!(heard, hears_304("no-image"));
        for (headers, path) in [(&one, "x-ESP8266-mode"), (&other, "x-ESP32-mode")] {
            let answer = house.request(
                "GET",
                &format!("/files/{SLOT}/firmware.bin"),
                "HTTP/1.0",
                &with(headers, path, mode),
            );
            assert_eq!((answer.status, answer.body.len()), (304, 0), "by name");
            assert_eq!(answer.decision(), "held wrong-kind");
        }
    }
}

#[test]
fn a_filesystem_is_never_sent_for_a_firmware() {
    let house = House::new();
    let filesystem = littlefs(4096, 16);
    house.put_renamed(&format!("{SLOT}/littlefs.bin"), &filesystem);
    let file = format!("/files/{SLOT}/littlefs.bin");
    crate::house::wait_until("it is there", || house.head(&file).status == 200);
    let old = other_md5(0);
    for headers in [esp8266(&old), pico()] {
        assert_eq!(house.hears(&headers), hears_304("no-image"));
        let answer = house.request("GET", &file, "HTTP/1.0", &headers);
        assert_eq!((answer.status, answer.decision()), (304, "held wrong-kind"));
    }
    assert!(house.get(&file, &[]).body == filesystem, "people may");
}

#[test]
fn a_filesystem_is_delivered_once() {
    let house = House::new();
    let (image, old) = (image8266(1), other_md5(0));
    let filesystem = littlefs(4096, 16);
    house.put_renamed(&format!("{SLOT}/littlefs.bin"), &filesystem);
    house.offer(&image);
    let running = esp8266(&old);
    let headers = with(&running, "x-ESP8266-mode", "spiffs");
    crate::house::wait_until("the filesystem is offered", || {
        let version = with(&headers, "Range", "bytes=0-0");
        house.poll(&version).status == 206
    });
    let answer = house.poll(&headers);
    assert_eq!(answer.status, 200);
    assert!(answer.body == filesystem);
    assert_eq!(house.hears(&headers), hears_304("up-to-date"));
    let sketch = esp8266(&old);
    assert_eq!(house.hears(&sketch), update(), "the app is another matter");
    house.put_renamed(&format!("{SLOT}/littlefs.bin"), &littlefs(4096, 17));
    crate::house::wait_until("a new filesystem is delivered", || {
        house.poll(&headers).status == 200
    });
}

#[test]
fn mode_version_says_what_would_be_offered() {
    let house = House::new();
    let (image, old) = (image8266(1), other_md5(0));
    let headers = esp8266(&old);
    let headers = with(&headers, "x-ESP8266-mode", "version");
    let ask = |headers: &[(&str, &str)]| house.request("GET", &path(NODE), "HTTP/1.0", headers);

    let none = ask(&headers);
    assert_eq!((none.status, none.header("x-version")), (404, None));
    let own = ask(&with(&headers, "x-ESP8266-version", "0.9"));
    assert_eq!((own.status, own.header("x-version")), (200, Some("0.9")));
    assert_eq!((own.header("x-md5"), own.body.len()), (None, 0));

    house.offer(&image);
    let answer = ask(&headers);
    let digits = &Sha256::of(&image).to_string()[..12];
    let md5 = Md5::of(&image).to_string();
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.header("x-version"), Some(digits));
    assert_eq!(answer.header("x-md5"), Some(md5.as_str()));
    assert_eq!(answer.header("content-length"), Some("0"));

    house.put(
        &format!("{SLOT}/firmware.bin.toml"),
        b"version = \"1.2.3\"\n",
    );
    crate::house::wait_until("the version is read", || {
        ask(&headers).header("x-version") == Some("1.2.3")
    });
}

#[test]
fn mode_version_never_announces_an_image_that_the_device_would_not_get() {
    let house = House::new();
    house.offer(&image32(1));
    let old = other_md5(0);
    let headers = esp8266(&old);
    let headers = with(&headers, "x-ESP8266-mode", "version");
    let headers = with(&headers, "x-ESP8266-version", "0.9");
    let answer = house.request("GET", &path(NODE), "HTTP/1.0", &headers);
    assert_eq!(
        (answer.status, answer.header("x-version")),
        (200, Some("0.9"))
    );
}

#[test]
fn an_unknown_mode_is_held() {
    let house = House::new();
    house.offer(&image8266(1));
    let old = other_md5(0);
    let headers = esp8266(&old);
    for mode in ["eeprom", "SKETCH", "sketch,spiffs"] {
        let heard = house.hears(&with(&headers, "x-ESP8266-mode", mode));
        assert_eq!(heard, hears_304("held bad-report"), "{mode}");
    }
    for second in ["spiffs", "version"] {
        let mut both = headers.clone();
        both.push(("x-ESP8266-mode", second));
        assert_eq!(house.hears(&both), hears_304("held bad-report"), "{second}");
        both.swap(9, 11);
        assert_eq!(house.hears(&both), hears_304("held bad-report"), "{second}");
    }
}

#[test]
fn a_hash_that_cannot_be_one_is_held() {
    let house = House::new();
    let image = image8266(1);
    house.offer(&image);
    let md5 = Md5::of(&image).to_string();
    let (short, long) = (&md5[..31], format!("{md5}0"));
    let no_hex = "z".repeat(32);
    for wrong in [short, &long, &no_hex, "0x", "\u{e9}"] {
        let heard = house.hears(&esp8266(wrong));
        assert_eq!(heard, hears_304("held bad-report"), "{wrong}");
    }
    let mut twice = esp8266(&md5);
    twice.push(("X-ESP8266-Sketch-MD5", &md5));
    assert_eq!(
        house.hears(&twice),
        hears_304("up-to-date"),
        "the same twice"
    );
    let other = other_md5(0);
    twice.push(("x-esp8266-sketch-md5", &other));
    assert_eq!(house.hears(&twice), hears_304("held bad-report"));
    let upper = md5.to_uppercase();
    assert_eq!(house.hears(&esp8266(&upper)), hears_304("up-to-date"));
    let padded = format!("  {md5}\t");
    assert_eq!(house.hears(&esp8266(&padded)), hears_304("up-to-date"));
}

#[test]
fn header_names_have_no_case() {
    let house = House::new();
    let image = image8266(1);
    house.offer(&image);
    let md5 = Md5::of(&image).to_string();
    for name in ["X-ESP8266-SKETCH-MD5", "x-esp8266-sketch-md5"] {
        let headers = [("User-Agent", "ESP8266-http-Update"), (name, &md5[..])];
        assert_eq!(house.hears(&headers), hears_304("up-to-date"));
    }
}
