//! Espressif's own `esptool image-info` judges the images that this crate reads: both must come to the same verdict.
//!
//! esptool looks at one image and ignores what follows it; this crate asks that nothing follows but a signature. So
//! files with something behind the image are not in this matrix, and an Arduino image for the ESP8266 is shown to
//! esptool in its two parts.

use std::path::Path;
use std::process::Command;

use otatree::firmware::forge::{
    Esp32, Esp8266, esp32_boot_loader, esp8266_plain, esp8266_sdk_v2, secure_boot_signed,
};
use otatree::firmware::{Esp32Chip, Facts, ImageKind, format};

/// Every chip id that esptool 5.6 knows.
const CHIPS: [u16; 14] = [0, 2, 5, 9, 12, 13, 16, 18, 20, 23, 25, 28, 31, 32];

/// What esptool says of an image.
struct Judgement {
    text: String,
    is_sound: bool,
}

impl Judgement {
    /// The rest of the first line that begins with `name`.
    fn line(&self, name: &str) -> &str {
        let mut rests = self.text.lines().filter_map(|line| line.strip_prefix(name));
        rests.next().unwrap_or_default().trim()
    }
}

/// Shows an image to esptool, which has to be there: without a judge these tests prove nothing.
fn esptool(image: &[u8]) -> Judgement {
    let program = std::env::var_os("OTATREE_ESPTOOL").unwrap_or_else(|| "esptool".into());
    let folder = tempfile::tempdir().expect("a folder for one image");
    let path: &Path = &folder.path().join("image.bin");
    std::fs::write(path, image).expect("room for one image");
    let output = Command::new(&program)
        .arg("image-info")
        .arg(path)
        .env("NO_COLOR", "1")
        .env("COLUMNS", "200")
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "esptool is needed as a judge and {program:?} does not start ({error}): run the tests with tests/run, \
                 which installs it, or set OTATREE_ESPTOOL"
            )
        });
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("esptool"),
        "{program:?} is no esptool 5: run the tests with tests/run, which installs it; it said {text:?} {:?}",
        String::from_utf8_lossy(&output.stderr)
    );
    let is_sound = output.status.success() && !text.contains("invalid") && text.contains("(valid)");
    Judgement { text, is_sound }
}

fn examine(image: &[u8]) -> Option<Facts> {
    format::examine(image, ImageKind::Firmware).ok()
}

/// Changes one byte.
fn flip(image: &[u8], at: usize) -> Vec<u8> {
    let mut image = image.to_vec();
    image[at] ^= 0x20;
    image
}

/// Judges several images at once: esptool takes most of its time to start.
fn each<T: Sync>(cases: &[T], judge: impl Fn(&T) + Sync) {
    std::thread::scope(|scope| {
        for half in cases.chunks(cases.len().div_ceil(2)) {
            scope.spawn(|| half.iter().for_each(&judge));
        }
    });
}

#[test]
fn esptool_reads_the_same_out_of_every_esp32_image() {
    each(&CHIPS, |&id| {
        let app = Esp32 {
            chip: Esp32Chip(id),
            version: "v3.1-2-gabc",
            project: "judged",
            seed: u64::from(id),
            ..Esp32::default()
        };
        let judgement = esptool(&app.build());
        let facts = examine(&app.build()).unwrap();
        let text = &judgement.text;
        assert!(judgement.is_sound, "{text}");
        assert!(
            judgement.line("Chip ID:").starts_with(&id.to_string()),
            "{text}"
        );
        let name = judgement.line("Detected image type:");
        assert_eq!(Esp32Chip(id).name(), Some(name));
        assert_eq!(
            Some(judgement.line("App version:")),
            facts.version.as_deref()
        );
        assert_eq!(
            Some(judgement.line("Project name:")),
            facts.title.as_deref()
        );
        assert_eq!(judgement.line("Flash size:"), "4MB");
        assert_eq!(facts.flash_size, Some(4 << 20));
    });
}

#[test]
fn esptool_refuses_the_same_esp32_images() {
    let image = Esp32::default().build();
    let without_digest = Esp32 {
        has_digest: false,
        ..Esp32::default()
    }
    .build();
    let last = image.len() - 1;
    let cases = [
        ("whole", image.clone()),
        ("without digest", without_digest.clone()),
        ("segment count", flip(&image, 1)),
        ("flash mode", flip(&image, 2)),
        ("entry", flip(&image, 5)),
        ("hash byte", flip(&image, 0x17)),
        ("segment address", flip(&image, 0x19)),
        ("segment length", flip(&image, 0x1D)),
        ("version", flip(&image, 0x31)),
        ("data", flip(&image, 0x900)),
        ("data without digest", flip(&without_digest, 0x900)),
        ("checksum", flip(&image, last - 32)),
        (
            "checksum without digest",
            flip(&without_digest, without_digest.len() - 1),
        ),
        ("digest", flip(&image, last)),
        ("half", image[..image.len() / 2].to_vec()),
        ("header", image[..16].to_vec()),
        ("no digest", image[..image.len() - 32].to_vec()),
        ("half a digest", image[..image.len() - 5].to_vec()),
    ];
    each(&cases, |(name, image)| {
        let judgement = esptool(image);
        let sound = examine(image).is_some();
        assert_eq!(sound, judgement.is_sound, "{name}: {}", judgement.text);
    });
}

#[test]
fn esptool_refuses_the_same_images_of_the_sdks_of_the_esp8266() {
    let (plain, second) = (esp8266_plain(7), esp8266_sdk_v2(7));
    let cases = [
        ("plain", plain.clone()),
        ("plain, data", flip(&plain, 0x400)),
        ("plain, checksum", flip(&plain, plain.len() - 1)),
        ("plain, half", plain[..2000].to_vec()),
        ("second kind", second.clone()),
        ("second kind, checksum", flip(&second, second.len() - 5)),
        ("second kind, half", second[..2000].to_vec()),
    ];
    each(&cases, |(name, image)| {
        let judgement = esptool(image);
        let sound = examine(image).is_some();
        assert_eq!(sound, judgement.is_sound, "{name}: {}", judgement.text);
    });
}

#[test]
fn esptool_sees_both_parts_of_an_arduino_image() {
    for has_crc in [false, true] {
        let image = Esp8266 {
            has_crc,
            ..Esp8266::default()
        }
        .build();
        let boot_loader = esptool(&image[..0x1000]);
        assert!(boot_loader.is_sound, "{}", boot_loader.text);
        // The XOR byte is older than the two words in front of it, so esptool never finds it right where they are.
        let sketch = esptool(&image[0x1000..]);
        assert_eq!(sketch.is_sound, !has_crc, "{}", sketch.text);
        assert_eq!(sketch.line("Segments:"), "5");
        let facts = examine(&image).unwrap();
        assert_eq!(facts.proves_whole, has_crc);
        assert_eq!(sketch.line("Flash size:"), "4MB");
        assert_eq!(facts.flash_size, Some(4 << 20));
        let changed = flip(&image, 0x1900);
        assert!(!esptool(&changed[0x1000..]).is_sound);
        assert!(examine(&changed).is_none());
    }
}

#[test]
fn sound_files_that_are_no_app_are_refused_here_alone() {
    let boot_loader = esp32_boot_loader(Esp32Chip(0));
    assert!(esptool(&boot_loader).is_sound);
    assert!(examine(&boot_loader).is_none());
    let signed = secure_boot_signed(&Esp32::default().build());
    assert!(esptool(&signed).is_sound);
    assert!(examine(&signed).unwrap().signed);
}
