//! The same image under every hash that a device may report of it: else it flashes itself for ever.

use crate::client::{hears_304, other_md5, update};
use crate::house::{House, esp32, esp8266, image32, image8266};
use otatree::firmware::forge::{gzipped, secure_boot_signed, signed};
use otatree::firmware::{Md5, Sha256};

fn md5(bytes: &[u8]) -> String {
    Md5::of(bytes).to_string()
}

fn footer(image: &[u8]) -> String {
    let footer = image[image.len() - 32..].try_into().unwrap();
    Sha256::from_bytes(footer).to_string().to_uppercase()
}

/// As the updater leaves it in flash when the board was flashed with another mode before.
fn in_mode(image: &[u8], mode: u8) -> Vec<u8> {
    let mut patched = image.to_vec();
    patched[2] = mode;
    patched
}

#[track_caller]
fn is_known(house: &House, flash: &[u8]) {
    let heard = house.hears(&esp8266(&md5(flash)));
    assert_eq!(heard, hears_304("up-to-date"));
}

#[test]
fn an_esp8266_image_is_the_same_in_every_flash_mode() {
    let house = House::new();
    let image = image8266(1);
    house.offer(&image);
    assert_eq!(house.hears(&esp8266(&md5(&in_mode(&image, 4)))), update());
    for mode in 0..4 {
        is_known(&house, &in_mode(&image, mode));
    }
}

#[test]
fn a_compressed_image_is_the_same_as_what_it_inflates_to() {
    let house = House::new();
    let image = image8266(1);
    house.offer(&gzipped(&image));
    assert_eq!(house.hears(&esp8266(&other_md5(0))), update());
    for mode in 0..4 {
        is_known(&house, &in_mode(&image, mode));
    }
}

#[test]
fn a_signed_image_is_the_same_without_its_signature() {
    let house = House::new();
    let image = image8266(1);
    house.offer(&signed(&image, 256));
    for mode in 0..4 {
        is_known(&house, &in_mode(&image, mode));
    }
    let packed = signed(&gzipped(&image), 256);
    house.offer(&packed);
    is_known(&house, &image);
}

#[test]
fn an_esp32_with_encrypted_flash_is_known_by_its_digest() {
    let house = House::new();
    let image = image32(1);
    house.offer(&image);
    let (cipher, digest) = (other_md5(0), footer(&image));
    let heard = house.hears(&esp32(&cipher, &digest));
    assert_eq!(heard, hears_304("up-to-date"));
    let heard = house.hears(&esp32(&cipher, &digest.to_lowercase()));
    assert_eq!(heard, hears_304("up-to-date"));
    // The sum of the whole file is not what the device reports, but it is no other image either.
    let whole = Sha256::of(&image).to_string();
    let heard = house.hears(&esp32(&cipher, &whole));
    assert_eq!(heard, hears_304("up-to-date"));
}

#[test]
fn a_secure_boot_image_is_the_same_with_and_without_its_signature() {
    let house = House::new();
    let image = image32(1);
    let file = secure_boot_signed(&image);
    house.offer(&file);
    let (wrong_md5, wrong_sha) = (other_md5(0), Sha256::of(b"x").to_string());
    assert_eq!(house.hears(&esp32(&wrong_md5, &wrong_sha)), update());
    for (sum, digest) in [
        (md5(&file), &wrong_sha),
        (md5(&image), &wrong_sha),
        (wrong_md5.clone(), &footer(&image)),
    ] {
        let heard = house.hears(&esp32(&sum, digest));
        assert_eq!(heard, hears_304("up-to-date"));
    }
}

#[test]
fn another_image_is_not_the_same() {
    let house = House::new();
    house.offer(&image8266(1));
    assert_eq!(house.hears(&esp8266(&md5(&image8266(2)))), update());
}
