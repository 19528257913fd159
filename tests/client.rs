//! Clients that behave as they should not, or that say more than one thing on one connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::house::{Answer, DEADLINE, House, esp8266, wait_until};
use otatree::firmware::Md5;

/// The node of these tests, and the slot of its key.
pub const NODE: &str = "dev/lotus/esp8266-85ea2b/sht30_d1_mini";
pub const SLOT: &str = "dev/lotus/sht30_d1_mini";

/// Kernel buffers so small that a download is under way for as long as its client wants.
pub const SLOW: &str = "wide_downloads = 0\nsend_buffer = \"8 KiB\"";

/// Larger than all buffers between a tree and a slow client.
pub const LARGE: usize = 3 * 1024 * 1024;

/// The path of a device on the main door.
pub fn path(device: &str) -> String {
    format!("/ota_update/{device}")
}

/// An MD5 of nothing that a tree holds.
pub fn other_md5(seed: u32) -> String {
    Md5::of(&seed.to_le_bytes()).to_string()
}

/// These headers, with one of them changed, added, or (`""`) left out.
pub fn with<'a>(
    headers: &[(&'a str, &'a str)],
    name: &'a str,
    value: &'a str,
) -> Vec<(&'a str, &'a str)> {
    let mut all: Vec<_> = headers
        .iter()
        .copied()
        .filter(|(other, _)| !other.eq_ignore_ascii_case(name))
        .collect();
    if !value.is_empty() {
        all.push((name, value));
    }
    all
}

/// A request as text.
pub fn request(path: &str, version: &str, headers: &[(&str, &str)]) -> String {
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!("GET {path} {version}\r\nHost: localhost\r\n{lines}\r\n")
}

/// Connects with a receive buffer of a few KiB, so that nothing comes that is not read.
pub fn connect_slow(to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Closes with a reset, as a device that loses its power does not, but one that gives up does.
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}

/// Reads one answer and leaves the connection open.
#[track_caller]
pub fn read_one(stream: &mut impl Read) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        let got = stream.read(&mut byte).unwrap();
        assert!(
            got == 1,
            "closed after {:?}",
            String::from_utf8_lossy(&head)
        );
        head.push(byte[0]);
    }
    let mut answer = Answer::parse(&head, false).unwrap();
    let length = answer
        .header("content-length")
        .map_or(0, |length| length.parse().unwrap());
    if answer.status != 304 {
        answer.body = vec![0; length];
        stream.read_exact(&mut answer.body).unwrap();
    }
    answer
}

/// Asks again on a connection that stays open.
#[track_caller]
pub fn ask(
    stream: &mut (impl Read + Write),
    path: &str,
    version: &str,
    headers: &[(&str, &str)],
) -> Answer {
    stream
        .write_all(request(path, version, headers).as_bytes())
        .unwrap();
    read_one(stream)
}

/// The server closes a connection on which nothing more comes.
#[track_caller]
pub fn is_closed(stream: &mut impl Read) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => assert_eq!(String::from_utf8_lossy(&rest), ""),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

impl House {
    /// Puts an image into the slot of [`NODE`] and waits until it is offered.
    #[track_caller]
    pub fn offer(&self, image: &[u8]) {
        self.put_renamed(&format!("{SLOT}/firmware.bin"), image);
        self.wait_served(NODE, image);
    }

    /// Waits until the server knows how every download ended.
    #[track_caller]
    pub fn settled(&self) {
        wait_until("no download is under way", || self.desk.downloads() == 0);
    }

    /// A poll of [`NODE`] to its end.
    #[track_caller]
    pub fn poll(&self, headers: &[(&str, &str)]) -> Answer {
        let answer = self.request("GET", &path(NODE), "HTTP/1.0", headers);
        self.settled();
        answer
    }

    /// What [`NODE`] hears: status and decision.
    #[track_caller]
    pub fn hears(&self, headers: &[(&str, &str)]) -> (u16, String) {
        let answer = self.poll(headers);
        let whole = answer.header("content-length").unwrap_or("0").to_owned();
        if answer.status == 200 {
            assert_eq!(whole, answer.body.len().to_string());
        } else {
            assert_eq!(answer.body.len(), 0, "{answer:?}");
        }
        (answer.status, answer.decision().to_owned())
    }

    /// Begins a download of [`NODE`] and reads its head and some of its body; the rest waits.
    #[track_caller]
    pub fn begin_slowly(&self, headers: &[(&str, &str)]) -> (TcpStream, Vec<u8>) {
        let mut stream = connect_slow(self.http);
        stream
            .write_all(request(&path(NODE), "HTTP/1.0", headers).as_bytes())
            .unwrap();
        let mut got = Vec::new();
        let mut piece = [0; 1024];
        while got.len() < 8 * 1024 {
            let count = stream.read(&mut piece).unwrap();
            assert!(count > 0, "{:?}", String::from_utf8_lossy(&got));
            got.extend_from_slice(&piece[..count]);
        }
        (stream, got)
    }
}

/// An update of an ESP8266 that runs something else.
pub fn update() -> (u16, String) {
    (200, "update".to_owned())
}

/// 304, for this reason.
pub fn hears_304(decision: &str) -> (u16, String) {
    (304, decision.to_owned())
}

/// Headers of an ESP8266 without the hash of its sketch.
pub fn unhashed() -> Vec<(&'static str, &'static str)> {
    with(&esp8266("-"), "x-ESP8266-sketch-md5", "")
}
