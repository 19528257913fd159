//! No device ever receives a mix of two images: all old bytes, or a connection that is cut.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::client::{LARGE, NODE, SLOT, SLOW, connect_slow, path, request};
use crate::house::{House, image32};
use otatree::firmware::forge::Esp32;

/// Reads the rest of a download; gives the body and whether all of it came.
fn finish(mut stream: TcpStream, mut got: Vec<u8>) -> (Vec<u8>, bool) {
    let whole = stream.read_to_end(&mut got).is_ok();
    let end = got.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&got[..end]).to_ascii_lowercase();
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap()
        .parse()
        .unwrap();
    let body = got.split_off(end + 4);
    let whole = whole && body.len() == length;
    (body, whole)
}

fn large(seed: u64) -> Vec<u8> {
    Esp32 {
        seed,
        size: LARGE,
        ..Esp32::default()
    }
    .build()
}

fn in_memory() -> House {
    House::with(&format!("[limits]\n{SLOW}"))
}

fn from_file() -> House {
    House::patient(
        "settle = \"0s\"\nremoval_grace = \"0s\"\nquiet = \"0s\"\nmemory = \"0 B\"",
        &format!("[limits]\n{SLOW}"),
    )
}

/// Something that happens to the file while a device reads it.
type Accident = fn(&House, &[u8]);

const ACCIDENTS: [(&str, Accident); 6] = [
    ("renamed over", |house, newer| {
        house.put_renamed(&format!("{SLOT}/firmware.bin"), newer);
    }),
    ("written over", |house, newer| {
        house.put(&format!("{SLOT}/firmware.bin"), newer);
    }),
    ("written over in place", |house, newer| {
        let path = house.ota().join(SLOT).join("firmware.bin");
        let mut file = OpenOptions::new().write(true).open(path).unwrap();
        file.write_all(newer).unwrap();
    }),
    ("truncated", |house, _| {
        let path = house.ota().join(SLOT).join("firmware.bin");
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(100_000).unwrap();
    }),
    ("deleted", |house, _| {
        house.remove(&format!("{SLOT}/firmware.bin"));
    }),
    ("its folder moved away", |house, _| {
        let folder = house.ota().join(SLOT);
        fs::rename(&folder, house.dir.path().join("away")).unwrap();
    }),
];

#[test]
fn an_image_in_memory_is_finished_whatever_becomes_of_its_file() {
    let (old, newer) = (large(1), large(2));
    for (what, accident) in ACCIDENTS {
        let house = in_memory();
        house.offer(&old);
        let (stream, got) = house.begin_slowly(&[]);
        accident(&house, &newer);
        let (body, whole) = finish(stream, got);
        assert!(whole, "{what}");
        assert!(body == old, "{what}");
    }
}

#[test]
fn an_image_from_a_file_is_finished_or_cut_off() {
    let (old, newer) = (large(1), large(2));
    for (what, accident) in ACCIDENTS {
        let house = from_file();
        house.offer(&old);
        let (stream, got) = house.begin_slowly(&[]);
        accident(&house, &newer);
        let (body, whole) = finish(stream, got);
        assert!(old.starts_with(&body), "{what}: {} bytes", body.len());
        assert!(!body.is_empty(), "{what}");
        if what.starts_with("written") || what == "truncated" {
            assert!(!whole, "{what}: its bytes are not there any more");
        }
    }
}

#[test]
fn over_https_an_image_from_a_file_is_finished_or_cut_off() {
    let (old, newer) = (large(1), large(2));
    let house = from_file();
    house.offer(&old);
    let mut tls = house.connect_tls_over(connect_slow(house.https));
    tls.write_all(request(&path(NODE), "HTTP/1.0", &[]).as_bytes())
        .unwrap();
    let mut got = vec![0; 9000];
    tls.read_exact(&mut got).unwrap();
    house.put(&format!("{SLOT}/firmware.bin"), &newer);
    let _ = tls.read_to_end(&mut got);
    let end = got.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let body = &got[end + 4..];
    assert!(old.starts_with(body));
    assert!(body.len() < old.len());
    assert!(!body.is_empty());
}

#[test]
fn an_unharmed_file_is_sent_whole() {
    let old = large(1);
    for house in [in_memory(), from_file()] {
        house.offer(&old);
        let (stream, got) = house.begin_slowly(&[]);
        let (body, whole) = finish(stream, got);
        assert!(whole && body == old);
        house.settled();
    }
}

#[test]
fn who_asks_after_a_replacement_gets_the_new_image_and_nobody_a_mix() {
    let house = in_memory();
    let (old, newer) = (large(1), large(2));
    house.offer(&old);
    let before = house.begin_slowly(&[]);
    house.offer(&newer);
    let after = house.begin_slowly(&[]);
    for ((stream, got), image) in [(before, &old), (after, &newer)] {
        let (body, whole) = finish(stream, got);
        assert!(whole && body == *image);
    }
}

#[test]
fn between_two_ranges_of_a_file_the_image_may_be_replaced() {
    let house = House::patient(
        "settle = \"0s\"\nremoval_grace = \"0s\"\nquiet = \"0s\"\nmemory = \"0 B\"",
        "",
    );
    let (old, newer) = (image32(1), image32(2));
    house.offer(&old);
    let first = house.get(&path(NODE), &[("Range", "bytes=0-4095")]);
    assert!(first.body == old[..4096]);
    house.offer(&newer);
    let second = house.get(&path(NODE), &[("Range", "bytes=4096-")]);
    assert_eq!(second.status, 416);
    let afresh = house.get(&path(NODE), &[]);
    assert!(afresh.body == newer);
}

#[test]
fn while_a_file_is_replaced_again_and_again_every_answer_is_one_image() {
    let house = House::new();
    let images: Vec<Vec<u8>> = (1..5).map(image32).collect();
    house.offer(&images[0]);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..40 {
                let image = &images[round % images.len()];
                if round % 2 == 0 {
                    house.put_renamed(&format!("{SLOT}/firmware.bin"), image);
                } else {
                    house.put(&format!("{SLOT}/firmware.bin"), image);
                }
            }
        });
        while !writer.is_finished() {
            let answer = house.get(&path(NODE), &[]);
            match answer.status {
                200 => assert!(images.contains(&answer.body)),
                status => assert_eq!((status, answer.body.len()), (304, 0)),
            }
        }
    });
    let last = images[39 % images.len()].clone();
    house.wait_served(NODE, &last);
}
