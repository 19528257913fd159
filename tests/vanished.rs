//! Peers that vanish: no reset, no end, no acknowledgement, as a node whose battery is empty. Their packets are lost by
//! taking down the only interface of a network namespace, in which this binary runs itself once more.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::client::{NODE, SLOT, connect_slow, other_md5, path, request};
use crate::clients::needed;
use crate::house::{esp8266, wait_until};
use crate::program::{Place, Program, ask};
use otatree::firmware::forge::Esp8266;

const INSIDE: &str = "OTATREE_TEST_INSIDE";

/// Runs this test once more where the network is its own; says whether this is there already.
fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let unshare = || {
        let mut command = Command::new(needed("unshare", "util-linux"));
        command.args(["--user", "--map-root-user", "--net"]);
        command
    };
    if !unshare().arg("true").output().unwrap().status.success() {
        eprintln!("skipped: {test} needs a network namespace, and this machine gives none");
        return false;
    }
    let done = unshare()
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "yes")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
    false
}

fn loopback(state: &str) {
    let mut ip = Command::new(needed("ip", "iproute2"));
    let done = ip.args(["link", "set", "lo", state]).status();
    assert!(done.unwrap().success());
}

/// Sockets that the server holds: listeners and connections.
fn sockets(program: &Program) -> usize {
    fs::read_dir(format!("/proc/{}/fd", program.id()))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

#[test]
fn a_peer_that_vanishes_is_let_go() {
    if !is_inside("vanished::a_peer_that_vanishes_is_let_go") {
        return;
    }
    loopback("up");
    let place = Place::new("[limits]\nhead = \"3s\"\nhandshake = \"3s\"\ndead_peer = \"2s\"\n");
    let image = Esp8266 {
        size: 1024 * 1024,
        ..Esp8266::default()
    }
    .build();
    place.put(&format!("{SLOT}/firmware.bin"), &image);
    let program = place.serve();
    let before = sockets(&program);
    let (http, https) = program.addresses();
    wait_until("it is offered", || {
        ask(http, "HEAD", &path(NODE), &[]).decision() == "update"
    });
    wait_until("nobody is connected", || sockets(&program) == before);

    let other = other_md5(1);
    let headers = esp8266(&other);
    // In the middle of a download, between two requests, in a head, in a handshake.
    let mut vanishing = Vec::new();
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        let mut stream = connect_slow(http);
        stream
            .write_all(request(&path(NODE), version, &headers).as_bytes())
            .unwrap();
        stream.read_exact(&mut [0; 4096]).unwrap();
        vanishing.push(stream);
    }
    for (to, said) in [
        (
            http,
            &b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        ),
        (http, b"GET /"),
        (https, b"\x16\x03\x01"),
    ] {
        let mut stream = connect_slow(to);
        stream.write_all(said).unwrap();
        vanishing.push(stream);
    }
    wait_until("all are connected", || {
        sockets(&program) == before + vanishing.len()
    });
    loopback("down");
    let begun = Instant::now();
    wait_until("all are let go", || sockets(&program) == before);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    program.wait_said("a download was cut off");
    wait_until("both downloads are said", || {
        program.lines("a download was cut off").len() == 2
    });

    // Nor does the kernel go on with the images.
    wait_until("the kernel has nothing more to send", || {
        let all = fs::read_to_string("/proc/self/net/tcp").unwrap();
        !all.lines().skip(1).any(|line| {
            let mut words = line.split_whitespace().skip(4);
            let (unsent, _) = words.next().unwrap().split_once(':').unwrap();
            u32::from_str_radix(unsent, 16).unwrap() > 1024
        })
    });
    // Who comes then is served.
    loopback("up");
    assert_eq!(ask(http, "GET", "/healthz", &[]).status, 200);
    drop(vanishing);
}
