//! The server ends in order: what runs may finish, what is idle is closed at once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::client::{LARGE, NODE, SLOW, ask, connect_slow, is_closed, path, request};
use crate::house::{House, image32, wait_until};
use otatree::doors::probes::DRAINING;
use otatree::firmware::forge::Esp32;
use otatree::server::Ended;

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

fn large() -> Vec<u8> {
    Esp32 {
        size: LARGE,
        ..Esp32::default()
    }
    .build()
}

/// Well below every deadline that a server could wait for by mistake.
const AT_ONCE: Duration = Duration::from_secs(5);

#[test]
fn a_running_download_is_finished() {
    let mut house = House::with(&format!("[limits]\n{SLOW}"));
    let image = large();
    house.offer(&image);
    let (mut stream, mut got) = house.begin_slowly(&[]);
    let address = house.http;
    let stopper = std::thread::spawn(move || house.stop());
    wait_until("nobody is let in any more", || {
        TcpStream::connect(address).is_err()
    });
    stream.read_to_end(&mut got).unwrap();
    assert!(got.ends_with(&image));
    drop(stream);
    assert_eq!(stopper.join().unwrap(), Some(Ended::Drained));
}

#[test]
fn a_running_download_on_a_kept_connection_is_finished_and_the_connection_closed() {
    let image = large();
    for secure in [false, true] {
        let mut house = House::with(&format!("[limits]\n{SLOW}"));
        house.offer(&image);
        let slow = connect_slow(if secure { house.https } else { house.http });
        let mut stream: Box<dyn ReadWrite> = match secure {
            true => Box::new(house.connect_tls_over(slow)),
            false => Box::new(slow),
        };
        let text = request(&path(NODE), "HTTP/1.1", &[]);
        stream.write_all(text.as_bytes()).unwrap();
        let mut got = vec![0; 9000];
        stream.read_exact(&mut got).unwrap();
        let address = house.http;
        let stopper = std::thread::spawn(move || house.stop());
        wait_until("nobody is let in any more", || {
            TcpStream::connect(address).is_err()
        });
        let end = stream.read_to_end(&mut got);
        assert!(
            got.ends_with(&image),
            "secure: {secure}, {end:?}, {}",
            got.len()
        );
        end.unwrap();
        drop(stream);
        assert_eq!(stopper.join().unwrap(), Some(Ended::Drained));
    }
}

#[test]
fn a_download_that_takes_longer_than_the_drain_is_cut_off() {
    let mut house = House::with(&format!("[limits]\n{SLOW}\ndrain = \"200ms\""));
    house.offer(&large());
    let (stream, _) = house.begin_slowly(&[]);
    assert_eq!(house.stop(), Some(Ended::CutOff(1)));
    drop(stream);
}

#[test]
fn idle_connections_are_closed_at_once() {
    let mut house = House::new();
    house.offer(&image32(1));
    let mut plain = house.connect();
    let mut tls = house.connect_tls();
    assert_eq!(ask(&mut plain, "/healthz", "HTTP/1.1", &[]).status, 200);
    assert_eq!(ask(&mut tls, "/healthz", "HTTP/1.1", &[]).status, 200);
    let mut kept = house.connect();
    assert_eq!(ask(&mut kept, &path(NODE), "HTTP/1.1", &[]).status, 200);
    let mut fresh = house.connect();
    wait_until("all are let in", || house.shared.open() == 4);
    let closer = std::thread::spawn(move || {
        is_closed(&mut plain);
        is_closed(&mut kept);
        is_closed(&mut fresh);
        is_closed(&mut tls);
    });
    let start = Instant::now();
    assert_eq!(house.stop(), Some(Ended::Drained));
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    closer.join().unwrap();
}

#[test]
fn a_silent_tls_client_does_not_hold_the_end_up() {
    let mut house = House::new();
    let silent = TcpStream::connect(house.https).unwrap();
    wait_until("it is let in", || house.shared.open() == 1);
    let start = Instant::now();
    assert_eq!(house.stop(), Some(Ended::Drained));
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    drop(silent);
}

#[test]
fn a_balancer_hears_that_the_server_ends() {
    let house = House::new();
    assert_eq!(house.get("/readyz", &[]).status, 200);
    house
        .board
        .progress(DRAINING, Some("the server ends".to_owned()));
    let answer = house.get("/readyz", &[]);
    assert_eq!(answer.status, 503);
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.contains("the server ends"), "{text}");
    assert_eq!(house.get("/healthz", &[]).status, 200);
    house.board.progress(DRAINING, None);
    assert_eq!(house.get("/readyz", &[]).status, 200);
}
