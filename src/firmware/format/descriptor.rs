//! The descriptor of an ESP32 app: what it says of its version and name (ESP-IDF `esp_app_desc.h`).

use super::layout::{text, word};

const AT: usize = 0x20;
const MAGIC: u32 = 0xABCD_5432;
const VERSION: usize = 0x30;
const PROJECT: usize = 0x50;
const FIELD: usize = 32;

/// The project name in the libraries that the Arduino core links: version and name are the library's, not the app's.
const ARDUINO_LIBRARY: &str = "arduino-lib-builder";
/// How the version begins in the same libraries, where a fork gave them another name.
const LIBRARY_VERSION: &str = "esp-idf:";

/// The bytes have an app's descriptor where an image has it.
pub(super) fn is_there(bytes: &[u8]) -> bool {
    word(bytes, AT) == Some(MAGIC)
}

/// Version and project, unless they are those of the Arduino core's libraries.
pub(super) fn version_and_title(bytes: &[u8]) -> (Option<Box<str>>, Option<Box<str>>) {
    if !is_there(bytes) {
        return (None, None);
    }
    let version = text(bytes, VERSION, FIELD);
    let project = text(bytes, PROJECT, FIELD);
    let is_arduino = project == Some(ARDUINO_LIBRARY)
        || version.is_some_and(|version| version.starts_with(LIBRARY_VERSION));
    if is_arduino {
        return (None, None);
    }
    (version.map(Box::from), project.map(Box::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firmware::forge::Esp32;

    fn read(version: &str, project: &str) -> (Option<Box<str>>, Option<Box<str>>) {
        let app = Esp32 {
            version,
            project,
            ..Esp32::default()
        };
        version_and_title(&app.build())
    }

    #[test]
    fn an_app_names_its_version_and_itself() {
        let (version, title) = read("v2.1-dirty", "climate");
        assert_eq!(version.as_deref(), Some("v2.1-dirty"));
        assert_eq!(title.as_deref(), Some("climate"));
        assert_eq!(read("", ""), (None, None));
    }

    #[test]
    fn an_arduino_build_has_no_version_of_its_own() {
        for (version, project) in [
            ("esp-idf: v4.4.6 3572900934", "arduino-lib-builder"),
            ("v5.1.4-497-gdc859c1e67-dirty", "arduino-lib-builder"),
            ("esp-idf: v4.4.6 3572900934", "other"),
        ] {
            assert_eq!(read(version, project), (None, None));
        }
    }
}
