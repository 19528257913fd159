//! Headers of Arduino updaters, to our words and back. Pure.
//!
//! Sources: `ESP8266httpUpdate.cpp` (esp8266/Arduino), `HTTPUpdate.cpp` (arduino-esp32 and arduino-pico). The three send
//! the same headers under another prefix: `x-ESP8266-`, `x-ESP32-`, and by a slip of its port `x--` for the Pico.

use hyper::header::{HeaderMap, USER_AGENT};

use crate::firmware::{DeviceFamily, ImageKind, Md5, RunningImage, Sha256, Visit};
use crate::http::Records;

/// What a request wants, by its `mode` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// The image of the visit's kind.
    Image,
    /// Its version only.
    Version,
    /// A mode that we do not know: no ground to decide on.
    Unknown,
}

/// A request's headers, read.
#[derive(Debug, PartialEq, Eq)]
pub struct Heard {
    /// What it says of the device.
    pub visit: Visit,
    /// What it wants.
    pub wants: Wants,
    /// The TLS records that it can take.
    pub records: Records,
}

impl Heard {
    /// A program of a real computer, used by a person: what it joins together is not flashed unseen.
    #[must_use]
    pub fn is_a_persons_program(&self) -> bool {
        !self.visit.is_updater() && self.records == Records::Large
    }
}

/// What follows `x-`.
const PREFIXES: [(&[u8], DeviceFamily); 3] = [
    (b"esp8266-", DeviceFamily::Esp8266),
    (b"esp32-", DeviceFamily::Esp32),
    (b"-", DeviceFamily::Pico),
];

/// What updaters call themselves, besides their headers.
const UPDATERS: [(&str, DeviceFamily); 3] = [
    ("ESP8266-http-Update", DeviceFamily::Esp8266),
    ("ESP32-http-Update", DeviceFamily::Esp32),
    ("-http-Update", DeviceFamily::Pico),
];

/// What a `mode` header can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Sketch,
    Filesystem,
    Version,
}

fn mode_of(value: &[u8]) -> Result<Mode, ()> {
    match value {
        b"sketch" => Ok(Mode::Sketch),
        b"spiffs" | b"littlefs" | b"fatfs" | b"fat" => Ok(Mode::Filesystem),
        b"version" => Ok(Mode::Version),
        _ => Err(()),
    }
}

/// What a request says of one thing, once or several times.
struct Reported<T> {
    value: Option<T>,
    wrong: bool,
}

impl<T: PartialEq + Copy> Reported<T> {
    const fn none() -> Self {
        Self {
            value: None,
            wrong: false,
        }
    }

    fn hear(&mut self, parsed: Result<T, impl Sized>) {
        match (parsed, self.value) {
            (Err(_), _) => self.wrong = true,
            (Ok(new), Some(old)) if new != old => self.wrong = true,
            (Ok(new), _) => self.value = Some(new),
        }
    }
}

/// Reads the headers of a request.
#[must_use]
pub fn hear(headers: &HeaderMap) -> Heard {
    let mut agent = "";
    let mut visit = Visit::plain(ImageKind::Firmware);
    let (mut family, mut mode) = (Reported::none(), Reported::none());
    let (mut md5, mut sha256) = (Reported::none(), Reported::none());
    // One pass over all headers costs less than a search for each.
    for (name, value) in headers {
        if *name == USER_AGENT && agent.is_empty() {
            agent = value.to_str().unwrap_or_default();
            continue;
        }
        let Some(name) = name.as_str().as_bytes().strip_prefix(b"x-") else {
            continue;
        };
        let Some((said, named)) = PREFIXES
            .into_iter()
            .find_map(|(prefix, family)| Some((name.strip_prefix(prefix)?, family)))
        else {
            continue;
        };
        let value = value.as_bytes().trim_ascii();
        family.hear(Ok::<_, ()>(named));
        if value.is_empty() {
            continue;
        }
        let text = || std::str::from_utf8(value).ok();
        match said {
            b"sketch-md5" => md5.hear(Md5::parse(value)),
            b"sketch-sha256" => sha256.hear(Sha256::parse(value)),
            b"free-space" => visit.free_space = text().and_then(|text| text.parse().ok()),
            b"chip-size" => visit.chip_size = text().and_then(|text| text.parse().ok()),
            b"version" => visit.version = text().map(Into::into),
            b"sta-mac" => visit.hardware = text().map(Into::into),
            b"chip-id" if visit.hardware.is_none() => visit.hardware = text().map(Into::into),
            b"mode" => mode.hear(mode_of(value)),
            _ => {}
        }
    }
    if let Some((_, named)) = UPDATERS.into_iter().find(|(name, _)| agent == *name) {
        family.hear(Ok::<_, ()>(named));
    }
    let wants = match mode {
        Reported { wrong: true, .. } => Wants::Unknown,
        Reported { value: None, .. } => Wants::Image,
        Reported {
            value: Some(mode), ..
        } => match mode {
            Mode::Sketch => Wants::Image,
            Mode::Version => Wants::Version,
            Mode::Filesystem => {
                visit.kind = ImageKind::Filesystem;
                Wants::Image
            }
        },
    };
    let updater = family.value.is_some();
    let wrong = family.wrong || md5.wrong || sha256.wrong;
    visit.family = family.value.unwrap_or(DeviceFamily::Unknown);
    visit.running = match (updater, md5.value, sha256.value) {
        (false, ..) => RunningImage::NotAnUpdater,
        (true, ..) if wrong => RunningImage::Unreadable,
        (true, None, None) => RunningImage::Unhashed,
        (true, md5, sha256) => RunningImage::Hashed { md5, sha256 },
    };
    // Sketches with a download of their own name their chip family only here: `ESP32 HTTP Client/1.0` (ESP-IDF,
    // `esp_http_client.c`), `ESP32HTTPClient` and `ESP8266HTTPClient` (the Arduino cores, `HTTPClient.cpp`).
    if !updater && agent.starts_with("ESP32") {
        visit.family = DeviceFamily::Esp32;
    }
    if !updater && agent.starts_with("ESP8266") {
        visit.family = DeviceFamily::Esp8266;
    }
    let records = records(visit.family, agent);
    Heard {
        visit,
        wants,
        records,
    }
}

/// The TLS records that a client can take: ESP8266 sketches and ESPHome use receive buffers of 512 bytes; programs of a
/// real computer take any size.
fn records(family: DeviceFamily, agent: &str) -> Records {
    let is_esphome = || family == DeviceFamily::Unknown && agent.contains("ESPHome");
    if family == DeviceFamily::Esp8266 || agent.starts_with("ESP8266") || is_esphome() {
        Records::Tiny
    } else if ["curl/", "Wget/", "Mozilla/"]
        .iter()
        .any(|name| agent.starts_with(name))
    {
        Records::Large
    } else {
        Records::Middle
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (
                    name.parse::<hyper::header::HeaderName>().unwrap(),
                    value.parse().unwrap(),
                )
            })
            .collect()
    }

    const MD5: &str = "f4f1b1c7a2a9b3d0e5c6d7e8f9a0b1c2";
    const SHA: &str = "6D2F4E8B9C0A1B3D5E7F90123456789ABCDEF0123456789ABCDEF01234567890";

    #[test]
    fn an_esp8266_is_heard() {
        // As recorded in esp8266/Arduino issue 8079.
        let heard = hear(&headers(&[
            ("User-Agent", "ESP8266-http-Update"),
            ("x-ESP8266-Chip-ID", "9807700"),
            ("x-ESP8266-STA-MAC", "48:3F:DA:95:A7:54"),
            ("x-ESP8266-AP-MAC", "4A:3F:DA:95:A7:54"),
            ("x-ESP8266-free-space", "1720320"),
            ("x-ESP8266-sketch-size", "375392"),
            ("x-ESP8266-sketch-md5", MD5),
            ("x-ESP8266-chip-size", "4194304"),
            ("x-ESP8266-sdk-version", "2.2.2-dev(38a443e)"),
            ("x-ESP8266-mode", "sketch"),
            ("x-ESP8266-version", "01.02.03"),
            ("Content-Length", "0"),
        ]));
        let wanted = Visit {
            kind: ImageKind::Firmware,
            running: RunningImage::Hashed {
                md5: Some(MD5.parse().unwrap()),
                sha256: None,
            },
            version: Some("01.02.03".into()),
            family: DeviceFamily::Esp8266,
            free_space: Some(1_720_320),
            chip_size: Some(4_194_304),
            hardware: Some("48:3F:DA:95:A7:54".into()),
        };
        assert_eq!(
            heard,
            Heard {
                visit: wanted,
                wants: Wants::Image,
                records: Records::Tiny
            }
        );
    }

    #[test]
    fn an_esp32_is_heard_with_either_hash() {
        let both = hear(&headers(&[
            ("x-ESP32-sketch-md5", MD5),
            ("X-ESP32-SKETCH-SHA256", SHA),
        ]));
        let running = RunningImage::Hashed {
            md5: Some(MD5.parse().unwrap()),
            sha256: Some(SHA.parse().unwrap()),
        };
        assert_eq!(
            (both.visit.running, both.visit.family),
            (running, DeviceFamily::Esp32)
        );
        assert_eq!(both.records, Records::Middle);
    }

    #[test]
    fn a_pico_has_an_empty_prefix_and_no_hash() {
        let heard = hear(&headers(&[
            ("User-Agent", "-http-Update"),
            ("x--Chip-ID", "77"),
            ("x--mode", "sketch"),
            ("x--version", "2"),
        ]));
        assert_eq!(
            (heard.visit.family, heard.visit.running),
            (DeviceFamily::Pico, RunningImage::Unhashed)
        );
        assert_eq!(heard.visit.hardware.as_deref(), Some("77"));
    }

    #[test]
    fn a_hash_that_cannot_be_one_is_no_ground_to_decide_on() {
        for lines in [
            &[("x-ESP8266-sketch-md5", "abc")][..],
            &[("x-ESP8266-sketch-md5", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz")],
            &[("x-ESP32-sketch-md5", MD5), ("x-ESP32-sketch-sha256", "12")],
        ] {
            assert_eq!(
                hear(&headers(lines)).visit.running,
                RunningImage::Unreadable
            );
        }
        let mut two = headers(&[("x-ESP8266-sketch-md5", MD5)]);
        two.append("x-esp8266-sketch-md5", MD5.to_uppercase().parse().unwrap());
        assert!(
            matches!(hear(&two).visit.running, RunningImage::Hashed { .. }),
            "twice the same"
        );
        two.append("x-esp8266-sketch-md5", "0".repeat(32).parse().unwrap());
        assert_eq!(hear(&two).visit.running, RunningImage::Unreadable);
    }

    #[test]
    fn an_empty_or_missing_hash_is_none() {
        for lines in [
            &[("x-ESP8266-sketch-md5", "")][..],
            &[("x-ESP8266-version", "1")],
            &[("User-Agent", "ESP8266-http-Update")],
        ] {
            assert_eq!(hear(&headers(lines)).visit.running, RunningImage::Unhashed);
        }
    }

    #[test]
    fn who_is_no_updater_is_not_one() {
        for (agent, family, records) in [
            ("curl/8.5", DeviceFamily::Unknown, Records::Large),
            ("Mozilla/5.0", DeviceFamily::Unknown, Records::Large),
            (
                "ESP32 HTTP Client/1.0",
                DeviceFamily::Esp32,
                Records::Middle,
            ),
            ("ESP8266HTTPClient", DeviceFamily::Esp8266, Records::Tiny),
            (
                "ESPHome/2024.10 (https://esphome.io)",
                DeviceFamily::Unknown,
                Records::Tiny,
            ),
            ("", DeviceFamily::Unknown, Records::Middle),
        ] {
            let heard = hear(&headers(&[("User-Agent", agent)]));
            assert_eq!(
                (heard.visit.running, heard.visit.family),
                (RunningImage::NotAnUpdater, family),
                "{agent}"
            );
            assert_eq!(heard.records, records, "{agent}");
        }
    }

    #[test]
    fn the_mode_says_what_is_wanted() {
        let heard = |mode| hear(&headers(&[("x-ESP8266-mode", mode)]));
        assert_eq!(heard("sketch").visit.kind, ImageKind::Firmware);
        assert_eq!(heard("spiffs").visit.kind, ImageKind::Filesystem);
        assert_eq!(heard("version").wants, Wants::Version);
        assert_eq!(heard("eeprom").wants, Wants::Unknown);
    }

    proptest! {
        #[test]
        fn no_header_value_is_too_strange(name in "x-(ESP8266|ESP32|)-(sketch-md5|free-space|mode|version|chip-size)", value: Vec<u8>) {
            if let (Ok(name), Ok(value)) = (name.parse::<hyper::header::HeaderName>(), hyper::header::HeaderValue::from_bytes(&value)) {
                let _ = hear(&HeaderMap::from_iter([(name, value)]));
            }
        }
    }
}
