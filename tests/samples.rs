//! The samples that the repository ships.

use std::fs;
use std::path::Path;

use otatree::firmware::Md5;
use otatree::firmware::forge::{Esp32, Esp8266, FLASH_16_MIB};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// As examples/samples.rs forges it.
fn esp8266() -> Vec<u8> {
    Esp8266 {
        flash_size: FLASH_16_MIB,
        ..Esp8266::default()
    }
    .build()
}

/// As examples/samples.rs forges it.
fn esp32() -> Vec<u8> {
    Esp32 {
        version: "1.0.0",
        project: "sample",
        ..Esp32::default()
    }
    .build()
}

#[test]
fn the_shipped_samples_are_what_the_example_forges() {
    let slots = root().join("ota/demo/+");
    let mut names: Vec<_> = fs::read_dir(&slots)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["sample_esp32", "sample_esp8266"]);
    for (key, forged) in [("sample_esp32", esp32()), ("sample_esp8266", esp8266())] {
        let shipped = fs::read(slots.join(key).join("firmware.bin")).unwrap();
        assert!(
            shipped == forged,
            "cargo run --example samples -- ota ({key})"
        );
    }
}

#[test]
fn the_readme_polls_with_the_md5_of_the_sample() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let said: Vec<&str> = text
        .split("x-ESP8266-sketch-md5: ")
        .skip(1)
        .filter_map(|rest| rest.get(..32))
        .collect();
    assert_eq!(said, [Md5::of(&esp8266()).to_string()]);
}
