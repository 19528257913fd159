//! Caps and deadlines: a client that is slow, silent or one of too many delays nobody else.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::client::{
    LARGE, NODE, SLOT, SLOW, ask, hears_304, is_closed, other_md5, path, request, update, with,
};
use crate::house::{House, esp8266, image8266, wait_until};
use otatree::firmware::forge::Esp8266;

/// Well below the deadlines that are not under test.
const AT_ONCE: Duration = Duration::from_secs(5);

fn impatient() -> House {
    let house = House::with("[limits]\nhead = \"300ms\"\nhandshake = \"300ms\"");
    house.offer(&image8266(1));
    house
}

#[test]
fn half_a_head_is_closed_at_the_deadline() {
    let house = impatient();
    for half in [
        "",
        "G",
        "GET /ota_update/dev/p/n/k HTTP/1.1\r\n",
        "GET /ota_update/dev/p/n/k HTTP/1.1\r\nHost: x\r\nX: ",
    ] {
        let mut stream = house.connect();
        stream.write_all(half.as_bytes()).unwrap();
        let start = Instant::now();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(start.elapsed() < AT_ONCE, "{half:?}");
        let text = String::from_utf8_lossy(&rest);
        assert!(
            rest.is_empty() || text.starts_with("HTTP/1.1 408"),
            "{text}"
        );
    }
    let mut tls = house.connect_tls();
    tls.write_all(b"GET / HT").unwrap();
    tls.flush().unwrap();
    let start = Instant::now();
    let mut rest = Vec::new();
    let _ = tls.read_to_end(&mut rest);
    assert!(start.elapsed() < AT_ONCE);
}

#[test]
fn a_head_that_drips_is_closed_at_the_deadline() {
    let house = impatient();
    let mut stream = house.connect();
    stream
        .set_read_timeout(Some(Duration::from_millis(10)))
        .unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nX: ").unwrap();
    let start = Instant::now();
    wait_until("the server closes", || {
        let dead = stream.write_all(b"x").is_err();
        dead || matches!(stream.read(&mut [0; 256]), Ok(0))
    });
    assert!(start.elapsed() < AT_ONCE);
}

#[test]
fn a_kept_connection_that_says_nothing_is_closed_at_the_deadline() {
    let house = impatient();
    let mut stream = house.connect();
    assert_eq!(ask(&mut stream, "/healthz", "HTTP/1.1", &[]).status, 200);
    let start = Instant::now();
    is_closed(&mut stream);
    assert!(start.elapsed() < AT_ONCE);
}

#[test]
fn a_silent_tls_client_is_closed_at_the_deadline() {
    let house = impatient();
    for half in [&b""[..], &[0x16, 3, 1, 2, 0, 1, 0]] {
        let mut stream = TcpStream::connect(house.https).unwrap();
        stream.set_read_timeout(Some(AT_ONCE)).unwrap();
        stream.write_all(half).unwrap();
        is_closed(&mut stream);
    }
}

#[test]
fn silent_clients_delay_nobody() {
    let house = House::new();
    house.offer(&image8266(1));
    let mut silent = Vec::new();
    for n in 0..60 {
        let to = if n % 2 == 0 { house.http } else { house.https };
        let mut stream = TcpStream::connect(to).unwrap();
        if n % 6 == 3 {
            stream.write_all(&[0x16, 3, 1, 2]).unwrap();
        }
        silent.push(stream);
    }
    let start = Instant::now();
    assert_eq!(house.get_tls(&path(NODE), &[]).status, 200);
    assert_eq!(house.get(&path(NODE), &[]).status, 200);
    assert!(start.elapsed() < AT_ONCE);
    wait_until("all are let in", || house.shared.open() >= 60);
}

#[test]
fn beyond_the_cap_clients_wait_and_are_then_served() {
    let house = House::with("[limits]\nconnections = 2");
    let mut held = [house.connect(), house.connect()];
    for stream in &mut held {
        assert_eq!(ask(stream, "/healthz", "HTTP/1.1", &[]).status, 200);
    }
    let mut waiting = house.connect();
    waiting
        .write_all(request("/healthz", "HTTP/1.0", &[]).as_bytes())
        .unwrap();
    waiting
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    assert!(waiting.read(&mut [0; 1]).is_err(), "it waits");
    assert_eq!(house.shared.open(), 2);
    let [first, _second] = held;
    drop(first);
    waiting.set_read_timeout(Some(AT_ONCE)).unwrap();
    assert_eq!(crate::client::read_one(&mut waiting).status, 200);
}

#[test]
fn no_listener_keeps_a_place_from_another() {
    let house = House::with("[limits]\nconnections = 1");
    house.offer(&image8266(1));
    for _ in 0..3 {
        assert_eq!(house.get_tls(&path(NODE), &[]).status, 200);
        assert_eq!(house.get(&path(NODE), &[]).status, 200);
    }
}

#[test]
fn too_many_downloads_at_once_are_held() {
    let house = House::with(&format!("[limits]\n{SLOW}\ndownloads_at_once = 2"));
    let image = Esp8266 {
        size: LARGE,
        ..Esp8266::default()
    };
    house.offer(&image.build());
    let old = other_md5(0);
    let headers = with(&esp8266(&old), "x-ESP8266-free-space", "8000000");
    let (first, second) = (house.begin_slowly(&headers), house.begin_slowly(&headers));
    let get = || {
        let answer = house.request("GET", &path(NODE), "HTTP/1.0", &headers);
        assert_eq!(answer.status == 304, answer.body.is_empty());
        (answer.status, answer.decision().to_owned())
    };
    assert_eq!(get(), hears_304("held busy"));
    let range = [("Range", "bytes=0-0")];
    let part = house.get(&path(NODE), &range);
    assert_eq!((part.status, part.decision()), (304, "held busy"));
    let runs = otatree::firmware::Md5::of(&image.build()).to_string();
    let other = path("dev/lotus/other/sht30_d1_mini");
    let same = house.request("GET", &other, "HTTP/1.0", &esp8266(&runs));
    assert_eq!(
        same.decision(),
        "up-to-date",
        "who is up to date is not held"
    );
    drop(first);
    wait_until("a place is free", || house.desk.downloads() == 1);
    assert_eq!(get(), update());
    drop(second);
    house.settled();
}

#[test]
fn many_downloads_at_once_all_arrive() {
    let house = House::with(&format!("[limits]\n{SLOW}\ndownloads_at_once = 0"));
    let image = Esp8266 {
        size: 300_000,
        ..Esp8266::default()
    };
    let image = image.build();
    house.offer(&image);
    std::thread::scope(|scope| {
        for n in 0..40 {
            let (house, image) = (&house, &image);
            scope.spawn(move || {
                let answer = if n % 2 == 0 {
                    house.get(&path(NODE), &[])
                } else {
                    house.get_tls(&path(NODE), &[])
                };
                assert!(answer.status == 200 && answer.body == *image);
            });
        }
    });
    house.settled();
    wait_until("all are gone", || house.shared.open() == 0);
}

#[test]
fn a_poll_is_answered_while_others_download_slowly() {
    let house = House::with(&format!("[limits]\n{SLOW}"));
    let image = Esp8266 {
        size: LARGE,
        ..Esp8266::default()
    };
    house.offer(&image.build());
    let slow: Vec<_> = (0..20).map(|_| house.begin_slowly(&[])).collect();
    let start = Instant::now();
    let runs = otatree::firmware::Md5::of(&image.build()).to_string();
    for _ in 0..20 {
        let answer = house.request("GET", &path(NODE), "HTTP/1.0", &esp8266(&runs));
        assert_eq!(answer.status, 304);
    }
    assert!(start.elapsed() < AT_ONCE);
    drop(slow);
}

#[test]
fn what_cannot_be_said_in_time_is_not_ready_and_given_later() {
    let dir = tempfile::tempdir().unwrap();
    let slot = dir.path().join("ota").join(SLOT);
    // Nobody examines so much in a millisecond, or reads it into memory.
    let image = Esp8266 {
        size: 15 << 20,
        ..Esp8266::default()
    }
    .build();
    std::fs::create_dir_all(&slot).unwrap();
    std::fs::write(slot.join("firmware.bin"), &image).unwrap();
    let at_once = "settle = \"0s\"\nremoval_grace = \"0s\"\nquiet = \"0s\"";
    let house = House::build(dir, at_once, "[limits]\nanswer = \"1ms\"");
    let old = other_md5(0);
    let headers = with(&esp8266(&old), "x-ESP8266-free-space", "20000000");
    let sum = format!("{}/image.bin.sha256", path(NODE));

    // It is being examined.
    assert_eq!(house.hears(&headers), hears_304("held not-ready"));
    assert_eq!(house.hears(&[]), hears_304("held not-ready"), "for people");
    assert_eq!(house.get(&sum, &[]).status, 404);
    wait_until("it is examined", || house.head(&sum).status == 200);
    // It is offered, and its bytes come from the disk.
    let offered = house.request("HEAD", &path(NODE), "HTTP/1.0", &headers);
    assert_eq!((offered.status, offered.decision()), (200, "update"));
    assert_eq!(house.hears(&headers), hears_304("held not-ready"));
    wait_until("its bytes are in memory", || {
        house.hears(&headers) == update()
    });
}

#[test]
fn who_asks_and_never_reads_is_let_go() {
    let house = impatient();
    let text = request("/nowhere", "HTTP/1.1", &[]).repeat(1000);
    let last = "GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    // Until nothing more is taken, and with an end that comes while little has been taken.
    for end in [None, Some(last)] {
        let mut plain = crate::client::connect_slow(house.http);
        let mut tls = house.connect_tls_over(crate::client::connect_slow(house.https));
        plain.set_write_timeout(Some(AT_ONCE)).unwrap();
        tls.sock.set_write_timeout(Some(AT_ONCE)).unwrap();
        match end {
            Some(end) => {
                let text = text[..text.len() / 4].to_owned() + end;
                plain.write_all(text.as_bytes()).unwrap();
                tls.write_all(text.as_bytes()).unwrap();
            }
            None => {
                while plain.write_all(text.as_bytes()).is_ok() {}
                while tls.write_all(text.as_bytes()).is_ok() {}
            }
        }
        wait_until("both are let go", || house.shared.open() == 0);
    }
}
