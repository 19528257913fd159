//! Behind a proxy: who the client is, and who is believed about it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::client::{ask, is_closed, read_one, request};
use crate::house::{Answer, DEADLINE, House, image8266};

const SAMPLE: &str = "/ota_update/demo/p/n/sample";
const SAMPLE_FILE: &str = "/files/demo/sample/firmware.bin";

/// A house that has the samples for this machine only, and an image for everybody.
fn with_samples(more: &str) -> House {
    let house = House::with(more);
    house.put("demo/sample/firmware.bin", &image8266(1));
    house.put("dev/key/firmware.bin", &image8266(2));
    house
}

/// A PROXY protocol v2 header (HAProxy, `proxy-protocol.txt`, 2.2).
fn proxy_header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, family]);
    header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    header.extend(rest);
    header
}

fn from_client(client: Ipv4Addr) -> Vec<u8> {
    let mut rest = client.octets().to_vec();
    rest.extend([127, 0, 0, 1, 0x30, 0x39, 0x1F, 0x90]);
    // One type-length-value behind the addresses, as proxies like to send.
    rest.extend([4, 0, 2, 0, 0]);
    proxy_header(1, 0x11, &rest)
}

fn connect(to: SocketAddr, first: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(first).unwrap();
    stream
}

/// Asks behind this header until the tree is read.
fn hears(house: &House, header: &[u8], path: &str) -> Answer {
    ask(&mut connect(house.http, header), path, "HTTP/1.0", &[])
}

fn wait_for_samples(ask: impl Fn(&str) -> u16) {
    crate::house::wait_until("the samples are there", || ask(SAMPLE) == 200);
    let other = "/ota_update/dev/p/n/key";
    crate::house::wait_until("the image is there", || ask(other) == 200);
}

const BEHIND: &str = "trusted_proxies = [\"127.0.0.1/32\"]\n#proxy_protocol";

#[test]
fn the_samples_are_served_to_this_machine_only() {
    let house = with_samples("trusted_proxies = [\"127.0.0.1/32\"]");
    let near = [("X-Forwarded-For", "127.0.0.1")];
    wait_for_samples(|path| house.get(path, &near).status);
    for (from, local) in [
        ("127.0.0.1", true),
        ("::1", true),
        ("203.0.113.9", false),
        ("203.0.113.9:4711", false),
        ("2001:db8::1", false),
        ("[2001:db8::1]:4711", false),
        ("[2001:db8::1]", false),
        ("127.0.0.1, 203.0.113.9", false),
        ("203.0.113.9, 127.0.0.1", false),
        ("192.168.1.7", false),
        ("unknown", false),
        ("127.0.0.1, _hidden", false),
    ] {
        let headers = [("X-Forwarded-For", from)];
        let answer = house.get(SAMPLE, &headers);
        let wanted = if local {
            (200, "update")
        } else {
            (304, "no-image")
        };
        assert_eq!((answer.status, answer.decision()), wanted, "{from}");
        let sum = house.get(&format!("{SAMPLE}/image.bin.md5"), &headers);
        assert_eq!(sum.status == 200, local, "{from}");
        let file = house.get(SAMPLE_FILE, &headers);
        assert_eq!(file.status, if local { 200 } else { 404 }, "{from}");
        let other = house.get("/ota_update/dev/p/n/key", &headers);
        assert_eq!(other.status, 200, "{from}: other orgs are for all");
    }
}

/// A request without a forwarded address came over the proxy, from anybody.
#[test]
fn a_proxy_that_names_nobody_is_not_taken_for_the_client() {
    let house = with_samples("trusted_proxies = [\"127.0.0.1/32\"]");
    let near = [("X-Forwarded-For", "127.0.0.1")];
    wait_for_samples(|path| house.get(path, &near).status);
    for headers in [
        &[][..],
        &[("X-Forwarded-Proto", "https")],
        &[("Forwarded", "for=127.0.0.1")],
        &[("X-Forwarded-For", "")],
    ] {
        let answer = house.get(SAMPLE, headers);
        let heard = (answer.status, answer.decision());
        assert_eq!(heard, (304, "no-image"), "{headers:?}");
        assert_eq!(house.get(SAMPLE_FILE, headers).status, 404, "{headers:?}");
        let other = house.get("/ota_update/dev/p/n/key", headers);
        assert_eq!(other.status, 200, "{headers:?}: other orgs are for all");
    }
}

/// A health check of the proxy (LOCAL), and clients of it that have no TCP address.
#[test]
fn a_proxy_header_without_an_address_makes_nobody_local() {
    let house = with_samples(BEHIND);
    let near = from_client(Ipv4Addr::LOCALHOST);
    wait_for_samples(|path| hears(&house, &near, path).status);
    let mut loopback = vec![127, 0, 0, 1, 127, 0, 0, 1, 0x30, 0x39, 0x1F, 0x90];
    let datagram = proxy_header(1, 0x12, &loopback);
    let local = proxy_header(0, 0x11, &loopback);
    loopback.resize(216, 0);
    for header in [
        proxy_header(0, 0, &[]),
        local,
        proxy_header(1, 0, &[]),
        datagram,
        proxy_header(1, 0x31, &loopback),
    ] {
        let command = &header[12..14];
        assert_eq!(
            hears(&house, &header, "/healthz").status,
            200,
            "{command:x?}"
        );
        let answer = hears(&house, &header, SAMPLE);
        let heard = (answer.status, answer.decision());
        assert_eq!(heard, (304, "no-image"), "{command:x?}");
        // Nor is it a proxy itself, whose word would count.
        let forged = [("X-Forwarded-For", "127.0.0.1")];
        let mut stream = connect(house.http, &header);
        let answer = ask(&mut stream, SAMPLE, "HTTP/1.0", &forged);
        assert_eq!(answer.status, 304, "{command:x?}");
    }
}

#[test]
fn who_is_no_proxy_is_not_believed() {
    let house = with_samples("trusted_proxies = [\"10.0.0.0/8\"]");
    wait_for_samples(|path| house.get(path, &[]).status);
    let headers = [("X-Forwarded-For", "203.0.113.9")];
    assert_eq!(house.get(SAMPLE, &headers).status, 200);
}

#[test]
fn a_proxy_header_tells_the_client() {
    let house = with_samples(BEHIND);
    let (near, far) = (
        from_client(Ipv4Addr::LOCALHOST),
        from_client(Ipv4Addr::new(203, 0, 113, 9)),
    );
    wait_for_samples(|path| hears(&house, &near, path).status);
    let answer = hears(&house, &far, SAMPLE);
    assert_eq!((answer.status, answer.decision()), (304, "no-image"));
    assert_eq!(hears(&house, &far, SAMPLE_FILE).status, 404);
    assert_eq!(hears(&house, &far, "/ota_update/dev/p/n/key").status, 200);
    let mut six = "2001:db8::1"
        .parse::<std::net::Ipv6Addr>()
        .unwrap()
        .octets()
        .to_vec();
    six.resize(36, 0);
    let six = proxy_header(1, 0x21, &six);
    assert_eq!(hears(&house, &six, SAMPLE).status, 304);
    let itself = proxy_header(0, 0, &[]);
    assert_eq!(hears(&house, &itself, "/healthz").status, 200);
    // The far client is no proxy of ours: what it says of others does not count.
    let mut stream = connect(house.http, &far);
    let forged = [("X-Forwarded-For", "127.0.0.1")];
    assert_eq!(ask(&mut stream, SAMPLE, "HTTP/1.0", &forged).status, 304);
}

#[test]
fn a_proxy_header_comes_before_tls() {
    let house = with_samples(BEHIND);
    let far = from_client(Ipv4Addr::new(203, 0, 113, 9));
    let near = from_client(Ipv4Addr::LOCALHOST);
    wait_for_samples(|path| {
        let mut tls = house.connect_tls_over(connect(house.https, &near));
        ask(&mut tls, path, "HTTP/1.0", &[]).status
    });
    let mut tls = house.connect_tls_over(connect(house.https, &far));
    assert_eq!(ask(&mut tls, SAMPLE, "HTTP/1.0", &[]).status, 304);
}

#[test]
fn a_proxy_header_that_comes_in_pieces_is_read() {
    let house = with_samples(BEHIND);
    let near = from_client(Ipv4Addr::LOCALHOST);
    wait_for_samples(|path| hears(&house, &near, path).status);
    let mut bytes = near.clone();
    bytes.extend(request(SAMPLE, "HTTP/1.0", &[]).as_bytes());
    let mut stream = connect(house.http, &[]);
    stream.set_nodelay(true).unwrap();
    for byte in &bytes {
        stream.write_all(std::slice::from_ref(byte)).unwrap();
    }
    assert_eq!(read_one(&mut stream).status, 200);
    let mut stream = connect(house.http, &bytes);
    assert_eq!(read_one(&mut stream).status, 200, "and all at once");
}

#[test]
fn a_stranger_on_the_proxys_listener_is_refused() {
    let house = House::with("trusted_proxies = [\"10.0.0.0/8\"]\n#proxy_protocol");
    for to in [house.http, house.https] {
        let mut bytes = from_client(Ipv4Addr::LOCALHOST);
        bytes.extend(request("/healthz", "HTTP/1.0", &[]).as_bytes());
        is_closed(&mut connect(to, &bytes));
    }
}

#[test]
fn without_its_header_a_proxy_is_refused() {
    let house = House::with(&format!("{BEHIND}\n[limits]\nhandshake = \"300ms\""));
    let mut wrong_version = from_client(Ipv4Addr::LOCALHOST);
    wrong_version[12] = 0x11;
    let mut too_long = from_client(Ipv4Addr::LOCALHOST);
    too_long[14] = 0xFF;
    let too_short = proxy_header(1, 0x11, &[1, 2, 3]);
    for first in [
        &b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"[..],
        b"",
        b"\r\n\r\n\0\r\nQU",
        &wrong_version,
        &too_long,
        &too_short,
    ] {
        let mut bytes = first.to_vec();
        if first.len() > 20 {
            bytes.extend(request("/healthz", "HTTP/1.0", &[]).as_bytes());
        }
        let mut stream = connect(house.http, &bytes);
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
        assert!(answer.is_empty(), "{first:?}");
    }
    let near = from_client(Ipv4Addr::LOCALHOST);
    assert_eq!(hears(&house, &near, "/healthz").status, 200);
}
