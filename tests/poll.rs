//! A poll from socket to flash, on the main door.

use std::io::Write as _;
use std::net::Shutdown;

use crate::client::{LARGE, connect_slow, path, request};
use crate::house::{Answer, House, image32, image8266, wait_until};
use otatree::firmware::forge::Esp8266;
use otatree::firmware::{Md5, Sha256};

const NODE: &str = "dev/lotus/esp8266-85ea2b/sht30_d1_mini";

#[test]
fn a_node_gets_a_new_image_and_then_hears_304() {
    let house = House::new();
    let image = image8266(1);
    house.put("dev/lotus/sht30_d1_mini/firmware.bin", &image);
    house.wait_served(NODE, &image);

    let answer = house.poll8266(NODE, &Md5::of(b"old").to_string());
    assert_eq!(
        (answer.status, answer.version.as_str(), answer.decision()),
        (200, "HTTP/1.0", "update")
    );
    assert_eq!(
        answer.header("content-length"),
        Some(image.len().to_string().as_str())
    );
    assert_eq!(
        answer.header("x-md5"),
        Some(Md5::of(&image).to_string().as_str())
    );
    assert_eq!(
        answer.header("x-sha256"),
        Some(Sha256::of(&image).to_string().as_str())
    );
    assert_eq!(answer.header("transfer-encoding"), None);
    assert!(answer.body == image);

    let answer = house.poll8266(NODE, &Md5::of(&image).to_string());
    assert_eq!(
        (answer.status, answer.decision(), answer.body.len()),
        (304, "up-to-date", 0)
    );
}

#[test]
fn an_esp32_is_known_by_either_hash() {
    let house = House::new();
    let image = image32(1);
    house.put("dev/+/key/firmware.bin", &image);
    house.wait_served("dev/p/n/key", &image);
    let (md5, footer) = (Md5::of(&image).to_string(), &image[image.len() - 32..]);
    let footer = Sha256::from_bytes(footer.try_into().unwrap())
        .to_string()
        .to_uppercase();
    let (other_md5, other_sha) = (Md5::of(b"x").to_string(), Sha256::of(b"x").to_string());
    assert_eq!(house.poll32("dev/p/n/key", &md5, &other_sha).status, 304);
    assert_eq!(house.poll32("dev/p/n/key", &other_md5, &footer).status, 304);
    assert_eq!(
        house.poll32("dev/p/n2/key", &other_md5, &other_sha).status,
        200
    );
}

#[test]
fn a_dropped_file_reaches_an_https_client() {
    let house = House::new();
    let image = image8266(7);
    house.put("dev/key/firmware.bin", &image);
    house.wait_served("dev/p/n/key", &image);
    let answer = house.get_tls("/ota_update/dev/p/n/key", &[]);
    assert_eq!(answer.status, 200);
    assert!(answer.body == image);
}

/// `printf 'GET …' | nc -N` and the like: nothing more is said, and the answer is waited for.
#[test]
fn a_client_that_closes_its_half_after_the_request_gets_the_whole_answer() {
    let house = House::new();
    // More than the kernel's buffers on the way.
    let image = Esp8266 {
        size: LARGE,
        ..Esp8266::default()
    }
    .build();
    house.put("dev/lotus/sht30_d1_mini/firmware.bin", &image);
    house.wait_served(NODE, &image);
    for (path, version, status) in [
        (path(NODE), "HTTP/1.0", 200),
        (path(NODE), "HTTP/1.1", 200),
        (format!("{}/image.bin.md5", path(NODE)), "HTTP/1.1", 200),
        (path("dev/lotus/node/other"), "HTTP/1.1", 304),
    ] {
        let mut stream = connect_slow(house.http);
        stream
            .write_all(request(&path, version, &[]).as_bytes())
            .unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let answer = Answer::read(&mut stream, false);
        assert_eq!(answer.status, status, "{path} {version}");
        let whole = answer.header("content-length").unwrap_or("0");
        assert_eq!(answer.body.len().to_string(), whole, "{path} {version}");
        assert!(!path.ends_with("mini") || answer.body == image);
    }
    wait_until("no connection is left", || house.shared.open() == 0);
}
