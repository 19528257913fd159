//! The main door over TLS, asked by BearSSL as on an ESP8266 and by mbedTLS as on an ESP32.

mod endings;
mod heads;
mod patience;
mod records;
mod sessions;

use otatree::firmware::Md5;
use otatree::firmware::forge::{Esp32, Esp8266};

use crate::house::House;

const NODE: &str = "dev/lotus/node1/key";
const MIB: usize = 1024 * 1024;

/// An MD5 that belongs to no image here.
fn old() -> String {
    Md5::of(b"what ran before").to_string()
}

fn mebibyte8266() -> Vec<u8> {
    Esp8266 {
        size: MIB,
        ..Esp8266::default()
    }
    .build()
}

fn mebibyte32() -> Vec<u8> {
    Esp32 {
        size: MIB,
        ..Esp32::default()
    }
    .build()
}

/// A house that offers this image to [`NODE`].
fn house_with(image: &[u8], more: &str) -> House {
    let house = House::with(more);
    house.put("dev/key/firmware.bin", image);
    house.wait_served(NODE, image);
    house
}
