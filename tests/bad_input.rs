//! What no device should send: it is refused or read as far as it makes sense, and the next request is served.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::client::{NODE, SLOT, ask, is_closed, other_md5, path, read_one};
use crate::house::{Answer, House, esp8266, image8266};

/// Sends bytes and gives the status, or 0 where the connection was closed without an answer.
fn status(house: &House, bytes: &[u8]) -> u16 {
    let mut stream = house.connect();
    // The server may close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    Answer::parse(&all, false).map_or(0, |answer| answer.status)
}

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").into_bytes()
}

#[track_caller]
fn still_serves(house: &House) {
    assert_eq!(house.get(&path(NODE), &[]).status, 200);
}

fn house() -> House {
    let house = House::new();
    house.offer(&image8266(1));
    house
}

#[test]
fn what_cannot_be_a_word_is_400() {
    let house = house();
    house.put("dev/+/any/firmware.bin", &image8266(2));
    house.wait_served("dev/p/n/any", &image8266(2));
    let (long, longest) = ("x".repeat(65), "x".repeat(300));
    for word in [
        "..", ".", "%2e%2e", "%2E%2e", ".hidden", "%2f", "a%2fb", "a%5cb", "%00", "a%00", "+",
        "%2b", "a+b", "a%20b", "a%0d%0ab", "%c3%a9", "software", "", "a%", "a%2", "a%zz", "%ff",
        "a;b", "a,b", "~", "*", "$(id)", &long, &longest,
    ] {
        for at in 0..4 {
            if word.is_empty() && at == 3 {
                continue; // One slash at the end is tolerated, so this has three words.
            }
            let mut words = ["dev", "lotus", "node", "any"];
            words[at] = word;
            let target = format!("/ota_update/{}", words.join("/"));
            let answer = house.get(&target, &[]);
            assert_eq!(answer.status, 400, "{target}");
            assert!(answer.body.len() < 500, "{target}");
        }
    }
    still_serves(&house);
}

#[test]
fn the_longest_word_is_one() {
    let house = house();
    let word = "x".repeat(64);
    let answer = house.get(&format!("/ota_update/{word}/{word}/{word}/{word}"), &[]);
    assert_eq!((answer.status, answer.decision()), (304, "no-image"));
}

#[test]
fn the_servers_own_words_are_no_orgs() {
    let house = house();
    for org in [
        "api",
        "rest",
        "files",
        "ota_update",
        "ota_list",
        "healthz",
        "readyz",
        "metrics",
        "assets",
    ] {
        assert_eq!(
            house.get(&format!("/ota_update/{org}/p/n/k"), &[]).status,
            400
        );
        let elsewhere = house.get(&format!("/ota_update/dev/{org}/n/k"), &[]);
        assert_eq!(elsewhere.status, 304);
    }
}

#[test]
fn a_raw_space_in_the_request_line_is_no_request() {
    let house = house();
    for line in [
        "GET /ota_update/dev/my project/n/k HTTP/1.0",
        "GET  /ota_update/dev/p/n/k HTTP/1.0",
        "GET /ota_update/dev/p/n/k",
        "GET",
        "",
        "\u{0}\u{1}\u{2}",
        "GET /ota_update/dev/p/n/k HTTP/2.0",
        "GET /ota_update/dev/p/n/k HTTP/9",
        "GET /ota_update/dev/p/n/k ftp/1.0",
        "G\u{e9}T / HTTP/1.1",
    ] {
        let status = status(&house, format!("{line}\r\nHost: x\r\n\r\n").as_bytes());
        assert!([0, 400, 505].contains(&status), "{line:?}: {status}");
    }
    still_serves(&house);
}

#[test]
fn unusual_targets_are_answered() {
    let house = house();
    let whole = format!("http://ota.example{}", path(NODE));
    assert_eq!(status(&house, &get(&whole)), 200);
    let query = format!("{}?id=1&x=/../..", path(NODE));
    assert_eq!(status(&house, &get(&query)), 200);
    for (target, wanted) in [
        ("*", [404, 400]),
        ("//", [404, 404]),
        ("/", [404, 404]),
        ("/nowhere", [404, 404]),
        ("/ota_update/a/b/c/d/e/f", [404, 404]),
        ("/ota_update/a/b/c/d/e", [404, 404]),
        ("/ota%5fupdate/dev/p/n/k", [404, 404]),
        ("/OTA_UPDATE/dev/p/n/k", [404, 404]),
        ("/../ota_update/dev/p/n/k", [404, 404]),
        ("ota_update/dev/p/n/k", [404, 400]),
        ("ota.example:443", [404, 400]),
        ("http://", [404, 400]),
        ("/%", [404, 400]),
    ] {
        let status = status(&house, &get(target));
        assert!(wanted.contains(&status), "{target}: {status}");
    }
    still_serves(&house);
}

#[test]
fn only_get_and_head_are_for_devices() {
    let house = house();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"] {
        for target in [path(NODE), format!("/files/{SLOT}/firmware.bin")] {
            let answer = house.request(method, &target, "HTTP/1.1", &[]);
            assert_eq!(answer.status, 405, "{method} {target}");
            assert_eq!(answer.header("allow"), Some("GET, HEAD"));
        }
        let answer = house.request(method, "/healthz", "HTTP/1.1", &[]);
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("GET, HEAD"))
        );
        let answer = house.request(method, "/nowhere", "HTTP/1.1", &[]);
        assert_eq!(answer.status, 404);
    }
    assert!(house.ota().join(SLOT).join("firmware.bin").exists());
    let _ = status(
        &house,
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    still_serves(&house);
}

#[test]
fn http_1_1_needs_a_host_and_1_0_does_not() {
    let house = house();
    let line = format!("GET {} HTTP/1.", path(NODE));
    let close = format!("{line}1\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&house, close.as_bytes()), 400);
    assert_eq!(status(&house, format!("{line}0\r\n\r\n").as_bytes()), 200);
}

#[test]
fn a_head_that_is_too_large_is_431() {
    let house = house();
    let large = "x".repeat(20 * 1024);
    let answer = house.get(&path(NODE), &[("X-Large", &large)]);
    assert_eq!(answer.status, 431);
    let target = format!("/ota_update/{large}");
    assert!([400, 414, 431].contains(&status(&house, &get(&target))));
    let many: Vec<(String, String)> = (0..200).map(|n| (format!("x-{n}"), "y".into())).collect();
    let many: Vec<_> = many.iter().map(|(n, v)| (&n[..], &v[..])).collect();
    assert_eq!(house.get(&path(NODE), &many).status, 431);
    let some = "x".repeat(12 * 1024);
    assert_eq!(house.get(&path(NODE), &[("X-Large", &some)]).status, 200);
    still_serves(&house);
}

#[test]
fn headers_that_come_twice_or_make_no_sense_do_no_harm() {
    let house = house();
    let twice = [
        ("Range", "bytes=0-0"),
        ("Range", "bytes=5-9"),
        ("If-None-Match", "\"a\""),
        ("If-None-Match", "\"b\""),
        ("Host", "other"),
        ("User-Agent", "a"),
        ("User-Agent", "b"),
    ];
    assert!([200, 206, 400].contains(&house.get(&path(NODE), &twice).status));
    let old = other_md5(0);
    for (name, value) in [
        ("x-ESP8266-free-space", "many"),
        ("x-ESP8266-free-space", "-1"),
        ("x-ESP8266-free-space", "99999999999999999999999"),
        ("x-ESP8266-chip-size", "4MB"),
        ("x-ESP8266-STA-MAC", "\u{fffd}\u{fffd}"),
        ("x-ESP8266-version", ""),
        ("x-ESP8266-", "x"),
    ] {
        let headers = crate::client::with(&esp8266(&old), name, value)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect::<Vec<_>>();
        let headers: Vec<_> = headers.iter().map(|(n, v)| (&n[..], &v[..])).collect();
        let status = house.poll(&headers).status;
        assert!([200, 304].contains(&status), "{name}: {value}: {status}");
    }
    for line in [
        "no colon",
        ": no name",
        "bad name: x",
        "a: b\u{0}c",
        " folded",
    ] {
        let text = format!("GET {} HTTP/1.0\r\n{line}\r\n\r\n", path(NODE));
        let status = status(&house, text.as_bytes());
        assert!([0, 200, 400].contains(&status), "{line:?}: {status}");
    }
    still_serves(&house);
}

#[test]
fn a_get_with_a_body_is_answered() {
    let house = house();
    let line = format!(
        "GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n",
        path(NODE)
    );
    let small = format!("{line}Content-Length: 5\r\n\r\nhello");
    assert_eq!(status(&house, small.as_bytes()), 200);
    let chunked = format!("{line}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(status(&house, chunked.as_bytes()), 200);
    let broken = format!("{line}Transfer-Encoding: chunked\r\n\r\nzz\r\nhello");
    assert!([0, 200, 400].contains(&status(&house, broken.as_bytes())));
    let both = format!(
        "{line}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    );
    assert!([200, 400].contains(&status(&house, both.as_bytes())));
    for length in ["-1", "5, 6", "99999999999999999999999", "x"] {
        let wrong = format!("{line}Content-Length: {length}\r\n\r\n");
        assert_eq!(status(&house, wrong.as_bytes()), 400, "{length}");
    }
    let mut large = format!("{line}Content-Length: 4000000\r\n\r\n").into_bytes();
    large.resize(large.len() + 4_000_000, b'x');
    assert_eq!(status(&house, &large), 200);
    still_serves(&house);
}

#[test]
fn an_answer_that_comes_before_the_end_of_a_body_is_heard() {
    let house = house();
    let mut large = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n",
        path(NODE)
    )
    .into_bytes();
    large.resize(large.len() + 4_000_000, b'x');
    assert_eq!(status(&house, &large), 405);
    let mut stream = house.connect_tls();
    stream.write_all(&large).unwrap();
    assert_eq!(read_one(&mut stream).status, 405);
    still_serves(&house);
}

#[test]
fn a_body_is_never_taken_for_the_next_request() {
    let house = house();
    let mut stream = house.connect();
    let hidden = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    // In one piece and without a half-close, so that nothing is left unread and no answer is lost to a reset.
    let text = format!(
        "GET /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{hidden}\
         GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        hidden.len()
    );
    stream.write_all(text.as_bytes()).unwrap();
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    let text = String::from_utf8_lossy(&all);
    assert!(text.starts_with("HTTP/1.1 404"), "{text}");
    assert!(
        !text.contains("HTTP/1.1 200"),
        "the hidden one was answered: {text}"
    );
}

#[test]
fn requests_that_come_at_once_are_answered_in_turn() {
    let house = house();
    let mut stream = house.connect();
    let one = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path(NODE));
    stream.write_all(one.repeat(3).as_bytes()).unwrap();
    for _ in 0..3 {
        assert_eq!(read_one(&mut stream).status, 200);
    }
    let last = ask(&mut stream, "/healthz", "HTTP/1.0", &[]);
    assert_eq!(last.status, 200);
    is_closed(&mut stream);
}

#[test]
fn bytes_that_are_no_tls_do_no_harm() {
    let house = house();
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0x16, 3, 1, 0xFF, 0xFF],
        &[0x16, 3, 1, 0, 4, 1, 0, 0, 0],
        &[0; 64],
        &[0x80, 0x2E, 1, 0, 2],
    ] {
        let mut stream = TcpStream::connect(house.https).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer[0] == 0x15, "an alert at most");
    }
    assert_eq!(house.get_tls(&path(NODE), &[]).status, 200);
}

/// The last answer of a connection waits for the words that end it; when the end is not at hand, it waits for nothing.
#[test]
fn a_last_answer_leaves_though_a_promised_body_never_comes() {
    let house = house();
    for request in [
        "POST /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100\r\n\r\n",
        "GET /healthz HTTP/1.0\r\nContent-Length: 100\r\n\r\nabc",
        "GET /healthz HTTP/1.0\r\n\r\nGET /healthz HTTP/1.0\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n",
    ] {
        let mut stream = house.connect_tls();
        stream.write_all(request.as_bytes()).unwrap();
        assert!(
            [200, 405].contains(&read_one(&mut stream).status),
            "{request}"
        );
    }
    let mut stream = house.connect_tls();
    for _ in 0..3 {
        let headers = [("Connection", "keep-alive")];
        assert_eq!(
            ask(&mut stream, "/healthz", "HTTP/1.1", &headers).status,
            200
        );
    }
}
