//! A node that comes back from complete downloads with something else is not given the same image for ever.

use std::io::{Read, Write};
use std::net::Shutdown;

use crate::client::{
    LARGE, NODE, SLOW, ask, hears_304, other_md5, path, request, reset, unhashed, update, with,
};
use crate::house::{Answer, House, esp8266, image8266};
use otatree::firmware::forge::Esp8266;

fn held() -> (u16, String) {
    hears_304("held does-not-stick")
}

#[test]
fn three_downloads_that_change_nothing_end_the_offers() {
    let house = House::new();
    house.offer(&image8266(1));
    let (old, older) = (other_md5(0), other_md5(1));
    for _ in 0..3 {
        assert_eq!(house.hears(&esp8266(&old)), update());
    }
    assert_eq!(house.hears(&esp8266(&old)), held());
    assert_eq!(house.hears(&esp8266(&older)), update(), "it moved");
    house.offer(&image8266(2));
    assert_eq!(house.hears(&esp8266(&old)), update(), "another image");
}

#[test]
fn six_downloads_in_a_week_end_the_offers_whatever_is_reported() {
    let house = House::new();
    house.offer(&image8266(1));
    for n in 0..6 {
        assert_eq!(house.hears(&esp8266(&other_md5(n))), update());
    }
    assert_eq!(house.hears(&esp8266(&other_md5(7))), held());
}

#[test]
fn two_images_that_point_at_each_other_come_to_an_end() {
    let house = House::new();
    let (one, other) = (image8266(1), image8266(2));
    let mut served = 0;
    for image in [&one, &other].into_iter().cycle().take(14) {
        house.offer(image);
        served += u32::from(house.hears(&esp8266(&other_md5(served))) == update());
    }
    assert_eq!(served, 12, "six of each");
}

#[test]
fn the_guard_can_be_switched_off() {
    let house = House::with("[guards]\nloop = 0");
    house.offer(&image8266(1));
    let old = other_md5(0);
    for _ in 0..8 {
        assert_eq!(house.hears(&esp8266(&old)), update());
    }
}

#[test]
fn the_limit_is_the_operators() {
    let house = House::with("[guards]\nloop = 1");
    house.offer(&image8266(1));
    let old = other_md5(0);
    assert_eq!(house.hears(&esp8266(&old)), update());
    assert_eq!(house.hears(&esp8266(&old)), held());
}

#[test]
fn another_board_under_the_same_name_counts_for_itself() {
    let house = House::with("[guards]\nloop = 1");
    house.offer(&image8266(1));
    let old = other_md5(0);
    let headers = esp8266(&old);
    assert_eq!(house.hears(&headers), update());
    assert_eq!(house.hears(&headers), held());
    let other = with(&headers, "x-ESP8266-STA-MAC", "48:3F:DA:00:00:01");
    assert_eq!(house.hears(&other), update());
    assert_eq!(house.hears(&other), held());
}

#[test]
fn a_download_that_is_cut_off_counts_for_nothing() {
    let house = House::with(&format!("[limits]\n{SLOW}\n[guards]\nloop = 1"));
    let image = Esp8266 {
        size: LARGE / 2,
        ..Esp8266::default()
    };
    house.offer(&image.build());
    let old = other_md5(0);
    let headers = with(&esp8266(&old), "x-ESP8266-free-space", "8000000");
    for n in 0..6 {
        let (stream, _) = house.begin_slowly(&headers);
        match n % 2 {
            0 => reset(stream),
            _ => drop(stream),
        }
        house.settled();
    }
    assert_eq!(house.hears(&headers), update());
    assert_eq!(house.hears(&headers), held());
}

#[test]
fn who_is_no_updater_changes_no_nodes_state() {
    let house = House::with("[guards]\nloop = 1");
    house.offer(&image8266(1));
    for _ in 0..8 {
        assert_eq!(house.hears(&[("User-Agent", "curl/8.5.0")]), update());
        assert_eq!(house.hears(&[]), update());
    }
    assert_eq!(house.hears(&unhashed()), update());
}

#[test]
fn a_head_request_counts_for_nothing() {
    let house = House::with("[guards]\nloop = 1");
    house.offer(&image8266(1));
    let old = other_md5(0);
    for _ in 0..3 {
        let answer = house.request("HEAD", &path(NODE), "HTTP/1.0", &esp8266(&old));
        assert_eq!((answer.status, answer.decision()), (200, "update"));
    }
    assert_eq!(house.hears(&esp8266(&old)), update());
}

/// A poll whose client has everything and then goes away in its own manner.
fn taken(house: &House, leave: impl FnOnce(std::net::TcpStream)) {
    let mut stream = house.connect();
    let old = other_md5(0);
    let text = request(&path(NODE), "HTTP/1.0", &esp8266(&old));
    stream.write_all(text.as_bytes()).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert_eq!(Answer::parse(&all, false).unwrap().status, 200);
    leave(stream);
    house.settled();
}

#[test]
fn a_reset_after_the_last_byte_is_a_complete_download() {
    let house = House::with("[guards]\nloop = 1");
    house.offer(&image8266(1));
    taken(&house, reset);
    let old = other_md5(0);
    assert_eq!(house.hears(&esp8266(&old)), held());
}

#[test]
fn a_client_that_closes_its_half_and_goes_is_complete() {
    let house = House::with("[guards]\nloop = 1");
    house.offer(&image8266(1));
    taken(&house, |stream| stream.shutdown(Shutdown::Both).unwrap());
    let old = other_md5(0);
    assert_eq!(house.hears(&esp8266(&old)), held());
}

/// Its end came before our last byte, so it says nothing of it.
#[test]
fn a_client_that_closed_its_half_before_the_last_byte_is_not_known_to_have_it() {
    let house = House::with(&format!("[limits]\n{SLOW}\n[guards]\nloop = 1"));
    let image = Esp8266 {
        size: LARGE / 2,
        ..Esp8266::default()
    };
    house.offer(&image.build());
    let old = other_md5(0);
    let headers = with(&esp8266(&old), "x-ESP8266-free-space", "8000000");
    for _ in 0..2 {
        let (mut stream, mut got) = house.begin_slowly(&headers);
        stream.shutdown(Shutdown::Write).unwrap();
        stream.read_to_end(&mut got).unwrap();
        let answer = Answer::parse(&got, false).unwrap();
        assert_eq!(answer.status, 200);
        assert!(answer.body == image.build());
        house.settled();
    }
    assert_eq!(house.hears(&headers), update());
    assert_eq!(house.hears(&headers), held());
}

/// The same over HTTPS. Tiny clients know the length, read so much, and close without a word.
fn taken_by_tls(house: &House, to_the_end: bool, leave: impl FnOnce(std::net::TcpStream)) {
    let mut tls = house.connect_tls();
    let old = other_md5(0);
    let text = request(&path(NODE), "HTTP/1.0", &esp8266(&old));
    tls.write_all(text.as_bytes()).unwrap();
    let answer = crate::client::read_one(&mut tls);
    assert_eq!(answer.status, 200);
    if to_the_end {
        crate::client::is_closed(&mut tls);
    }
    leave(tls.sock);
    house.settled();
}

#[test]
fn over_https_a_close_without_a_word_after_the_last_byte_is_complete() {
    let house = House::with("[guards]\nloop = 1");
    house.offer(&image8266(1));
    taken_by_tls(&house, false, drop);
    let old = other_md5(0);
    assert_eq!(house.hears(&esp8266(&old)), held());
}

#[test]
fn over_https_a_reset_after_the_last_byte_is_complete() {
    let house = House::with("[guards]\nloop = 1");
    house.offer(&image8266(1));
    taken_by_tls(&house, true, reset);
    let old = other_md5(0);
    assert_eq!(house.hears(&esp8266(&old)), held());
}

#[test]
fn over_https_a_download_that_is_cut_off_counts_for_nothing() {
    let house = House::with(&format!("[limits]\n{SLOW}\n[guards]\nloop = 1"));
    let image = Esp8266 {
        size: LARGE / 2,
        ..Esp8266::default()
    };
    house.offer(&image.build());
    let old = other_md5(0);
    let headers = with(&esp8266(&old), "x-ESP8266-free-space", "8000000");
    for n in 0..4 {
        let mut tls = house.connect_tls_over(crate::client::connect_slow(house.https));
        let text = request(&path(NODE), "HTTP/1.0", &headers);
        tls.write_all(text.as_bytes()).unwrap();
        tls.read_exact(&mut [0; 2000]).unwrap();
        match n % 2 {
            0 => reset(tls.sock),
            _ => drop(tls.sock),
        }
        house.settled();
    }
    assert_eq!(house.hears(&headers), update());
    assert_eq!(house.hears(&headers), held());
}

#[test]
fn a_client_that_asks_again_on_its_connection_has_what_it_asked_for() {
    let house = House::new();
    house.offer(&image8266(1));
    let old = other_md5(0);
    let mut plain = house.connect();
    let mut answers = Vec::new();
    for _ in 0..4 {
        let answer = ask(&mut plain, &path(NODE), "HTTP/1.1", &esp8266(&old));
        answers.push(answer.decision().to_owned());
    }
    assert_eq!(
        answers,
        ["update", "update", "update", "held does-not-stick"]
    );
    let mut tls = house.connect_tls();
    let newer = other_md5(1);
    let first = ask(&mut tls, &path(NODE), "HTTP/1.1", &esp8266(&newer));
    assert_eq!(first.status, 200);
    for _ in 0..2 {
        let headers = esp8266(&newer);
        assert_eq!(ask(&mut tls, &path(NODE), "HTTP/1.1", &headers).status, 200);
    }
    let last = ask(&mut tls, &path(NODE), "HTTP/1.1", &esp8266(&newer));
    assert_eq!(last.decision(), "held does-not-stick");
}

#[test]
fn a_kept_connection_that_is_closed_after_the_last_byte_was_complete() {
    let house = House::with("[guards]\nloop = 1");
    house.offer(&image8266(1));
    let old = other_md5(0);
    let mut stream = house.connect();
    assert_eq!(
        ask(&mut stream, &path(NODE), "HTTP/1.1", &esp8266(&old)).status,
        200
    );
    drop(stream);
    house.settled();
    assert_eq!(house.hears(&esp8266(&old)), held());
    let newer = other_md5(1);
    let mut tls = house.connect_tls();
    let other = with(&esp8266(&newer), "x-ESP8266-STA-MAC", "48:3F:DA:00:00:01")
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect::<Vec<_>>();
    let other: Vec<(&str, &str)> = other.iter().map(|(n, v)| (&n[..], &v[..])).collect();
    assert_eq!(ask(&mut tls, &path(NODE), "HTTP/1.1", &other).status, 200);
    drop(tls.sock);
    house.settled();
    assert_eq!(house.hears(&other), held());
}
