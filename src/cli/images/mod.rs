//! Commands about the images of a slot: one file a command. Each asks a server and prints what it heard.

pub mod delete;
pub mod promote;
pub mod publish;
pub mod rollback;
pub mod versions;

use otatree::firmware::{ImageKind, Slot};
use serde_json::Value;

use super::field;

/// `org/project/key` as people write it.
fn slot(text: &str) -> Result<Slot, String> {
    Slot::parse(text.trim_matches('/')).map_err(|error| error.to_string())
}

/// The path of a slot, or of something below it.
pub(super) fn path(slot: &Slot, below: &str) -> String {
    format!("/orgs/{}/slots/{}{below}", slot.org(), slot.below_org())
}

/// Which of the two images of a slot is meant, where no file says it.
fn kind(filesystem: bool) -> ImageKind {
    if filesystem {
        ImageKind::Filesystem
    } else {
        ImageKind::Firmware
    }
}

/// What an image is, in a line.
fn about(about: &Value) -> String {
    let size = about.get("size").and_then(Value::as_u64).unwrap_or(0);
    let family = field(about, "family");
    let version = field(about, "version");
    format!("{family}, {size} bytes, version {version}")
}

/// What became of a slot that has another image now.
fn done(heard: &Value, slot: &Slot) -> Vec<String> {
    let image = about(heard.get("about").unwrap_or(&Value::Null));
    let mut lines = vec![format!("{slot}: {}, {image}", field(heard, "kind"))];
    let held = heard.get("held").and_then(Value::as_str);
    lines.extend(held.map(|reason| format!("no device gets it now: held {reason}")));
    let shadowed = heard.get("shadowed").and_then(Value::as_array);
    for name in shadowed.into_iter().flatten().filter_map(Value::as_str) {
        lines.push(format!(
            "{name} stays in the slot, and is not given while this image is there"
        ));
    }
    lines
}
