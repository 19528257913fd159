//! One node, by the rules of `ESP8266httpUpdate.cpp` with `Updater.cpp` (esp8266/Arduino), and of `HTTPUpdate.cpp`
//! (arduino-esp32) where they differ. What a real node would report as an error is a failed test here.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use otatree::firmware::{Md5, Sha256};
use rustls::ClientConfig;

use crate::by_record::ByRecord;
use crate::house::DEADLINE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chip {
    Esp8266,
    Esp32,
}

/// How the server is reached.
pub struct Ways {
    pub http: SocketAddr,
    pub https: SocketAddr,
    pub trust: Arc<ClientConfig>,
}

pub struct Node {
    pub chip: Chip,
    pub path: String,
    pub mac: String,
    /// What the boot loader part on its flash has at offset 2, whatever an image brings.
    pub flash_mode: u8,
    pub free_space: usize,
    pub secure: bool,
    /// What runs.
    pub flash: Vec<u8>,
    /// Updates since this was set to 0.
    pub flashed: u32,
}

/// Bytes as they come: one TLS record, or what one read gives.
enum Connection {
    Plain(TcpStream),
    Tls(Box<ByRecord>),
}

impl Connection {
    fn ask(&mut self, request: &str) {
        match self {
            Self::Plain(tcp) => tcp.write_all(request.as_bytes()).unwrap(),
            Self::Tls(tls) => tls.ask(request),
        }
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Plain(tcp) => {
                let mut piece = vec![0; 1460];
                let length = tcp.read(&mut piece).unwrap();
                piece.truncate(length);
                (length > 0).then_some(piece)
            }
            Self::Tls(tls) => tls.record(),
        }
    }
}

const CHIP_SIZE: usize = 4 * 1024 * 1024;

impl Node {
    /// One poll, and the update that may follow; says whether there was one.
    pub fn poll(&mut self, ways: &Ways) -> bool {
        let mut connection = if self.secure {
            Connection::Tls(Box::new(ByRecord::connect(ways.https, &ways.trust)))
        } else {
            let tcp = TcpStream::connect(ways.http).unwrap();
            tcp.set_read_timeout(Some(DEADLINE)).unwrap();
            Connection::Plain(tcp)
        };
        connection.ask(&self.request());
        let mut bytes = Vec::new();
        let end = loop {
            bytes.extend(connection.next().expect("a head"));
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        assert!(head.starts_with("HTTP/1."), "{head}");
        match head.split(' ').nth(1) {
            Some("304") => false,
            Some("200") => {
                let body = self.receive(connection, &head, bytes.split_off(end));
                self.update(body);
                true
            }
            _ => panic!("wrong HTTP code (-104): {head}"),
        }
    }

    fn request(&self) -> String {
        let (md5, free, chip) = (Md5::of(&self.flash), self.free_space, CHIP_SIZE);
        let (size, mac, path) = (self.flash.len(), &self.mac, &self.path);
        match self.chip {
            Chip::Esp8266 => format!(
                "GET {path} HTTP/1.0\r\nHost: localhost\r\nUser-Agent: ESP8266-http-Update\r\nConnection: close\r\n\
                 x-ESP8266-Chip-ID: 9807700\r\nx-ESP8266-STA-MAC: {mac}\r\nx-ESP8266-AP-MAC: {mac}\r\n\
                 x-ESP8266-free-space: {free}\r\nx-ESP8266-sketch-size: {size}\r\nx-ESP8266-sketch-md5: {md5}\r\n\
                 x-ESP8266-chip-size: {chip}\r\nx-ESP8266-sdk-version: 2.2.2-dev(38a443e)\r\n\
                 x-ESP8266-mode: sketch\r\nContent-Length: 0\r\n\r\n"
            ),
            Chip::Esp32 => {
                let footer = self.flash.last_chunk().copied().unwrap();
                let sha256 = Sha256::from_bytes(footer).to_string().to_uppercase();
                format!(
                    "GET {path} HTTP/1.0\r\nHost: localhost\r\nUser-Agent: ESP32-http-Update\r\nConnection: close\r\n\
                     Cache-Control: no-cache\r\nx-ESP32-STA-MAC: {mac}\r\nx-ESP32-AP-MAC: {mac}\r\n\
                     x-ESP32-free-space: {free}\r\nx-ESP32-sketch-size: {size}\r\nx-ESP32-sketch-md5: {md5}\r\n\
                     x-ESP32-sketch-sha256: {sha256}\r\nx-ESP32-chip-size: {chip}\r\n\
                     x-ESP32-sdk-version: v5.1.4\r\nx-ESP32-mode: sketch\r\n\r\n"
                )
            }
        }
    }

    /// Checks the head, then takes as many bytes as it promises, and checks their MD5.
    fn receive(&self, mut connection: Connection, head: &str, mut body: Vec<u8>) -> Vec<u8> {
        let header = |wanted: &str| {
            head.lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value)
        };
        assert_eq!(header("transfer-encoding"), None, "-101: {head}");
        assert_eq!(header("content-encoding"), None, "{head}");
        let length: usize = header("content-length").expect("-101").parse().unwrap();
        assert!(length > 0, "-101: {head}");
        assert!(length <= self.free_space, "-100: {head}");
        let md5 = header("x-md5").expect("the only check from end to end");
        assert_eq!(md5.len(), 32, "-105");
        if matches!(connection, Connection::Tls(_)) {
            // peekBytes(4) sees one record: the rest of the one with the head, or else the next.
            if body.is_empty() {
                body = connection.next().expect("a body");
            }
            assert!(body.len() >= 4, "-106: {} bytes", body.len());
        }
        while body.len() < length {
            body.extend(connection.next().expect("all of the body"));
        }
        assert_eq!(body.len(), length, "more came than was promised");
        assert_eq!(Md5::of(&body).to_string(), md5, "UPDATE_ERROR_MD5");
        // It closes as it is: no close_notify, unread bytes or not.
        body
    }

    /// Writes it to flash and starts again.
    fn update(&mut self, mut image: Vec<u8>) {
        match (self.chip, image[0]) {
            (Chip::Esp8266, 0xE9) => {
                let made_for = match image[3] >> 4 {
                    0 => 512 * 1024,
                    1 => 256 * 1024,
                    code @ 2..=4 => (1 << code) * 256 * 1024,
                    code => (1 << (code - 5)) * 1024 * 1024,
                };
                assert!(made_for <= CHIP_SIZE, "UPDATE_ERROR_NEW_FLASH_CONFIG");
                image[2] = self.flash_mode;
            }
            // eboot inflates it at the next start; the mode byte stays as it is.
            (Chip::Esp8266, 0x1F) => {
                let mut inflated = Vec::new();
                let mut gzip = flate2::read::GzDecoder::new(&image[..]);
                gzip.read_to_end(&mut inflated).unwrap();
                image = inflated;
            }
            (Chip::Esp32, 0xE9) => {}
            (chip, magic) => panic!("-106: {chip:?} was given {magic:#04x}"),
        }
        // Only the simulation can tell: nothing on an ESP8266 does.
        let arduino_8266 = image[0x1000] == 0xE9 && image[0x1010..0x1014] == length_word(&image);
        assert_eq!(
            arduino_8266,
            self.chip == Chip::Esp8266,
            "{} is a brick",
            self.path
        );
        self.flash = image;
        self.flashed += 1;
    }

    /// It runs this image, as it stands on this node's flash.
    pub fn runs(&self, image: &[u8]) -> bool {
        match self.chip {
            Chip::Esp8266 => self.flash[..2] == image[..2] && self.flash[3..] == image[3..],
            Chip::Esp32 => self.flash == image,
        }
    }
}

fn length_word(image: &[u8]) -> [u8; 4] {
    u32::try_from(image.len()).unwrap().to_le_bytes()
}
