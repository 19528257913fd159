//! The head is never in one record with the body, whatever its length: an ESP8266 fails when the first record with
//! body bytes holds fewer than 4 of them.

use std::net::SocketAddr;
use std::time::SystemTime;

use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use otatree::config::Config;
use otatree::http::{Answer, Body, HttpDoor, Records, Reply, Request};
use otatree::server::tls::{Tls, TlsSettings};
use otatree::server::{self, Shared};
use tokio::sync::oneshot;

use crate::by_record::{ByRecord, trusting};
use crate::clients::{Call, Chip};

const BODY: usize = 1500;

/// Answers `/<n>` with n bytes of padding in the head.
struct Padded;

impl HttpDoor for Padded {
    fn answer(&self, request: &Request) -> Answer {
        let padding: usize = request.path()[1..].parse().unwrap();
        request.wire().set_records(Records::Tiny);
        let mut reply = Reply::new(Body::Whole(Bytes::from(vec![0xE9; BODY])));
        let headers = reply.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(BODY));
        let value = HeaderValue::try_from("p".repeat(padding)).unwrap();
        headers.insert(HeaderName::from_static("x-padding"), value);
        Answer::Now(reply)
    }
}

/// A server with that door only.
struct Heads {
    address: SocketAddr,
    root_pem: String,
    _stop: oneshot::Sender<()>,
    _dir: tempfile::TempDir,
}

impl Heads {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::parse(
            "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = true",
            dir.path(),
        );
        let config = config.unwrap();
        let settings = TlsSettings {
            pairs: Vec::new(),
            anchors: Vec::new(),
            client_cas: Vec::new(),
            names: Vec::new(),
            sessions: 10,
            identity: dir.path().join("identity"),
        };
        let (tls, _) = Tls::open(settings, SystemTime::now()).unwrap();
        let root_pem = tls.root_pem().unwrap();
        let listeners = server::bind(&config.listen, &config.limits).unwrap();
        let address = listeners[0].address().unwrap();
        let shared = Shared::new(vec![Box::new(Padded)], Some(tls), config.limits, Vec::new());
        let (stop, stopped) = oneshot::channel();
        std::thread::spawn(move || {
            tokio::runtime::Runtime::new()
                .unwrap()
                .block_on(server::run(listeners, shared, async {
                    let _ = stopped.await;
                }))
        });
        Self {
            address,
            root_pem,
            _stop: stop,
            _dir: dir,
        }
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    Some(bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4)
}

#[test]
fn the_body_begins_in_a_record_of_its_own_after_heads_of_all_lengths() {
    let server = Heads::new();
    let mut client = ByRecord::connect(server.address, &trusting(&server.root_pem));
    let (mut shortest, mut longest) = (usize::MAX, 0);
    for padding in 280..=1050 {
        client.ask(&format!(
            "GET /{padding} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ));
        let mut head = Vec::new();
        let end = loop {
            let record = client.record().unwrap();
            assert!(record.len() <= 512);
            head.extend(record);
            if let Some(end) = end_of_head(&head) {
                break end;
            }
        };
        assert_eq!(
            end,
            head.len(),
            "a record with the end of the head holds {} bytes more",
            head.len() - end
        );
        (shortest, longest) = (shortest.min(end), longest.max(end));
        let mut body = client.record().unwrap().len();
        assert!(
            body >= 4,
            "the first record of the body has {body} bytes after a head of {end}"
        );
        while body < BODY {
            body += client.record().unwrap().len();
        }
        assert_eq!(body, BODY);
    }
    assert!(
        shortest <= 400 && longest >= 1100,
        "{shortest}..{longest} were tried"
    );
}

#[test]
fn bearssl_reads_four_bytes_after_heads_that_nearly_fill_a_record() {
    let server = Heads::new();
    let head = {
        let report = Call::get(Chip::Esp8266, server.address, "/0", &[]).run();
        let headers = report.0["headers"].as_object().unwrap();
        let lines: usize = headers
            .iter()
            .map(|(name, value)| name.len() + 4 + value.as_str().unwrap().len())
            .sum();
        "HTTP/1.0 200 OK\r\n".len() + lines + 2
    };
    for length in (508..=514).chain(1020..=1026) {
        let report = Call::get(
            Chip::Esp8266,
            server.address,
            &format!("/{}", length - head),
            &[],
        )
        .with("in", 512)
        .run();
        assert_eq!(report.text("outcome"), "ok", "{report:?}");
        assert_eq!(report.number("body_bytes"), BODY as i64);
        assert_eq!(
            report.number("first_body_record_bytes"),
            512,
            "after a head of {length}"
        );
    }
}
