//! The order of search. This is the only place that knows it.

use super::Device;

/// One word of a path in the tree, as a device fills it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The device's project.
    Project,
    /// The folder `+`: any project. It comes from the disk only, never from the network.
    AnyProject,
    /// The device's node id.
    Node,
    /// The device's OTA key.
    Key,
}

/// The folder name that means "any project".
pub const ANY_PROJECT: &str = "+";

/// The seven slots below `<org>/`, most specific first (`docs/tree.md` shows them with examples).
pub const SEARCH_ORDER: [&[Part]; 7] = [
    &[Part::Project, Part::Node, Part::Key],
    &[Part::Project, Part::Node],
    &[Part::AnyProject, Part::Node],
    &[Part::Node],
    &[Part::Project, Part::Key],
    &[Part::AnyProject, Part::Key],
    &[Part::Key],
];

/// The path of one slot: `<org>` and one to three folders below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotPath<'a> {
    words: [&'a str; 4],
    length: usize,
}

impl<'a> SlotPath<'a> {
    fn of([org, project, node, key]: [&'a str; 4], parts: &[Part]) -> Self {
        let mut words = [org, "", "", ""];
        for (word, part) in words[1..].iter_mut().zip(parts) {
            *word = match part {
                Part::Project => project,
                Part::AnyProject => ANY_PROJECT,
                Part::Node => node,
                Part::Key => key,
            };
        }
        Self {
            words,
            length: 1 + parts.len(),
        }
    }

    /// The slot at these folders; what is deeper than a slot can be is left out.
    pub(super) fn of_folders(folders: &'a [Box<str>]) -> Self {
        let mut words = [""; 4];
        for (word, folder) in words.iter_mut().zip(folders) {
            *word = folder;
        }
        Self {
            words,
            length: folders.len().min(words.len()),
        }
    }

    /// Folder names from the root of the tree down.
    #[must_use]
    pub fn words(&self) -> &[&'a str] {
        &self.words[..self.length]
    }
}

impl std::fmt::Display for SlotPath<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for word in self.words() {
            write!(f, "{word}/")?;
        }
        Ok(())
    }
}

impl Device {
    /// The seven slots that may hold an image for this device, most specific first.
    #[must_use]
    pub fn slots(&self) -> [SlotPath<'_>; 7] {
        let words = [
            self.org.as_str(),
            self.project.as_str(),
            self.node.as_str(),
            self.key.as_str(),
        ];
        SEARCH_ORDER.map(|parts| SlotPath::of(words, parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_slot_comes_first() {
        let device = Device::parse("dev", "lotus", "esp8266-85ea2b", "sht30_d1_mini").unwrap();
        let slots = device.slots().map(|slot| slot.to_string());
        assert_eq!(
            slots,
            [
                "dev/lotus/esp8266-85ea2b/sht30_d1_mini/",
                "dev/lotus/esp8266-85ea2b/",
                "dev/+/esp8266-85ea2b/",
                "dev/esp8266-85ea2b/",
                "dev/lotus/sht30_d1_mini/",
                "dev/+/sht30_d1_mini/",
                "dev/sht30_d1_mini/",
            ]
        );
    }
}
