//! The house keeps its shape: a room uses only what is below it, and no file hides a second one.

use std::fs;
use std::path::{Path, PathBuf};

/// Room → the rooms that it may use. `src/lib.rs` draws the picture and says why.
const ARROWS: [(&str, &[&str]); 12] = [
    ("firmware", &[]),
    ("health", &[]),
    ("disk", &[]),
    ("http", &[]),
    ("store", &[]),
    // A prefix in config.toml has to be a word that a path can have.
    ("config", &["firmware"]),
    ("tree", &["firmware", "health", "disk"]),
    ("people", &["firmware", "store"]),
    // Secrets of devices, where an org asks for them.
    ("desk", &["firmware", "tree", "people"]),
    // `StoreError` only: what is wrong with the database.
    ("office", &["firmware", "store", "tree", "people"]),
    (
        "doors",
        &["firmware", "health", "config", "http", "desk", "office"],
    ),
    // `Sha256` only: which certificate files changed. No image is known here.
    ("server", &["firmware", "config", "disk", "http"]),
];

/// A longer file hides a second one.
const LONGEST: usize = 400;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else if path.extension().is_some_and(|end| end == "rs") {
            all.push(path);
        }
    }
}

/// Every file of `src/`, relative to it, with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    files(&source(), &mut all);
    all.sort();
    all.into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path.strip_prefix(source()).unwrap().to_owned(), text)
        })
        .collect()
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// First words of what follows `crate::` in a text: one, or those of a group in braces.
fn heads(rest: &str) -> Vec<&str> {
    let Some(group) = rest.strip_prefix('{') else {
        return vec![word(rest)];
    };
    let mut depth = 0_usize;
    let mut found = Vec::new();
    let mut fresh = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && !c.is_whitespace() => {
                found.push(word(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    found
}

/// The rooms that a file names: by `crate::`, or by climbing to the root of the crate with `super::`.
fn rooms_named<'a>(path: &Path, text: &'a str) -> Vec<&'a str> {
    let mut found: Vec<&str> = text
        .match_indices("crate::")
        .flat_map(|(at, crate_)| heads(&text[at + crate_.len()..]))
        .collect();
    let module = path.with_extension("");
    let depth = module.components().count() - usize::from(module.ends_with("mod"));
    let tests = text.find("#[cfg(test)]").unwrap_or(text.len());
    let mut at = 0;
    while let Some(next) = text[at..].find("super::") {
        let start = at + next;
        let mut rest = &text[start..];
        let mut climbed = 0;
        while let Some(above) = rest.strip_prefix("super::") {
            rest = above;
            climbed += 1;
        }
        // `mod tests` is one floor deeper than its file.
        if climbed >= depth + usize::from(start > tests) {
            found.extend(heads(rest));
        }
        at = text.len() - rest.len();
    }
    found
}

#[test]
fn no_arrow_points_up() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let room = path.components().next().unwrap();
        let room = Path::new(room.as_os_str()).with_extension("");
        let room = room.to_str().unwrap();
        if ["lib", "main", "cli"].contains(&room) {
            continue;
        }
        let Some((_, below)) = ARROWS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!(
                "{}: src/lib.rs does not know this room",
                path.display()
            ));
            continue;
        };
        for used in rooms_named(&path, &text) {
            if used != room && !below.contains(&used) {
                wrong.push(format!("{}: {room} uses {used}", path.display()));
            }
        }
        if text.contains("otatree::") {
            wrong.push(format!(
                "{}: the library names the crate by its outer name",
                path.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_room_of_the_picture_is_a_room_of_the_house() {
    let map = fs::read_to_string(source().join("lib.rs")).unwrap();
    for (room, below) in ARROWS {
        assert!(map.contains(&format!("\npub mod {room};")), "{room}");
        assert!(
            source().join(room).join("mod.rs").is_file(),
            "{room} is a folder with a mod.rs"
        );
        for other in below {
            let place = |room: &str| ARROWS.iter().position(|(name, _)| *name == room).unwrap();
            assert!(place(other) < place(room), "{room} → {other} points down");
        }
    }
    let rooms = map.matches("\npub mod ").count();
    assert_eq!(rooms, ARROWS.len(), "every room has its arrows");
}

#[test]
fn no_file_hides_a_second_one() {
    let long: Vec<String> = sources()
        .iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST)
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "over {LONGEST} lines: {long:#?}");
}

#[test]
fn an_arrow_is_seen_however_it_is_written() {
    let named = |path: &str, text| rooms_named(Path::new(path), text);
    assert_eq!(named("tree/look.rs", "use crate::desk::Desk;"), ["desk"]);
    assert_eq!(
        named(
            "tree/look.rs",
            "use crate::{firmware::{Md5, Sha256}, desk};"
        ),
        ["firmware", "desk"]
    );
    assert_eq!(named("tree/look.rs", "super::super::desk::x()"), ["desk"]);
    assert_eq!(named("tree/mod.rs", "super::desk::x()"), ["desk"]);
    assert!(named("tree/look.rs", "super::keeper::x()").is_empty());
    assert!(named("tree/mod.rs", "#[cfg(test)]\nmod tests { use super::*; }").is_empty());
}
