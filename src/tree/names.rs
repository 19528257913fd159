//! What a file name means in a slot. Pure.

use crate::firmware::{ImageKind, POLICY_FILE};

/// Build products that must never be given to a device as an app.
const NEVER: [&str; 7] = [
    "bootloader.bin",
    ".bootloader.bin",
    "partitions.bin",
    ".partitions.bin",
    "boot_app0.bin",
    ".merged.bin",
    ".factory.bin",
];

/// What a file in a slot is, by its name alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A candidate of this kind; the lowest rank wins.
    Candidate(ImageKind, u8),
    /// `<image>.toml`: what people say of the image.
    Note,
    /// `<image>.md5` or `<image>.sha256`: what the image's sum has to be. `<image>.minisig`: its signature.
    Sum,
    /// `ota.toml`: what is ordered for the folder and all below.
    Policy,
    /// Nothing to do with devices.
    Other,
}

/// Files and folders that are not there: hidden ones, leftovers of editors and of transfers under way.
#[must_use]
pub fn is_invisible(name: &str) -> bool {
    name.starts_with(['.', '~', '#'])
        || name.ends_with(['~', '#'])
        || [".part", ".tmp", ".filepart"]
            .iter()
            .any(|end| name.ends_with(end))
        || name == "lost+found"
}

/// The role of a visible file.
#[must_use]
pub fn role(name: &str) -> Role {
    if name == POLICY_FILE {
        return Role::Policy;
    }
    if let Some(end) = [".toml", ".md5", ".sha256", ".minisig"]
        .into_iter()
        .find(|end| name.ends_with(end))
    {
        return if end == ".toml" {
            Role::Note
        } else {
            Role::Sum
        };
    }
    if NEVER.iter().any(|end| {
        if end.starts_with('.') {
            name.ends_with(end)
        } else {
            name == *end
        }
    }) {
        return Role::Other;
    }
    if let "littlefs.bin" | "spiffs.bin" | "fatfs.bin" = name {
        return Role::Candidate(ImageKind::Filesystem, 0);
    }
    if name.ends_with(".littlefs.bin") || name.ends_with(".spiffs.bin") {
        return Role::Candidate(ImageKind::Filesystem, 1);
    }
    if name == "firmware.bin" {
        return Role::Candidate(ImageKind::Firmware, 0);
    }
    if name.ends_with(".ino.bin") {
        return Role::Candidate(ImageKind::Firmware, 1);
    }
    if name.ends_with(".bin") || name.ends_with(".bin.gz") {
        return Role::Candidate(ImageKind::Firmware, 2);
    }
    Role::Other
}

/// The name of the image that a compressed file is the twin of, if it is there.
#[must_use]
pub fn twin_of(name: &str) -> Option<&str> {
    name.strip_suffix(".gz")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ImageKind::{Filesystem, Firmware};

    #[test]
    fn a_build_folder_copied_whole_just_works() {
        for (name, wanted) in [
            ("firmware.bin", Role::Candidate(Firmware, 0)),
            ("blink.ino.bin", Role::Candidate(Firmware, 1)),
            ("app-1.2.bin", Role::Candidate(Firmware, 2)),
            ("app-1.2.bin.gz", Role::Candidate(Firmware, 2)),
            ("littlefs.bin", Role::Candidate(Filesystem, 0)),
            ("blink.spiffs.bin", Role::Candidate(Filesystem, 1)),
            ("firmware.bin.toml", Role::Note),
            ("firmware.bin.md5", Role::Sum),
            ("ota.toml", Role::Policy),
            ("firmware.elf", Role::Other),
            ("bootloader.bin", Role::Other),
            ("blink.ino.bootloader.bin", Role::Other),
            ("partitions.bin", Role::Other),
            ("blink.ino.partitions.bin", Role::Other),
            ("boot_app0.bin", Role::Other),
            ("blink.ino.merged.bin", Role::Other),
            ("firmware.factory.bin", Role::Other),
            ("blink.ino.map", Role::Other),
        ] {
            assert_eq!(role(name), wanted, "{name}");
        }
    }

    #[test]
    fn transfers_under_way_are_not_there() {
        for name in [
            ".firmware.bin.Xy12Zw",
            "firmware.bin.part",
            "firmware.bin.filepart",
            "a.tmp",
            "a.bin~",
            "#a.bin#",
            ".git",
        ] {
            assert!(is_invisible(name), "{name}");
        }
        assert!(!is_invisible("firmware.bin"));
    }
}
