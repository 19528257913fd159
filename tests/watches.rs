//! What the real program asks of the kernel's notifications.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::house::{image8266, wait_until};
use crate::program::{Place, Program, ask};

/// The inodes that a process watches, as the kernel says it.
fn watched(process: u32) -> BTreeSet<u64> {
    let mut inodes = BTreeSet::new();
    for file in fs::read_dir(format!("/proc/{process}/fdinfo")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap_or_default();
        let lines = text.lines().filter(|line| line.starts_with("inotify "));
        inodes.extend(lines.map(|line| {
            let (_, rest) = line.split_once("ino:").unwrap();
            let (inode, _) = rest.split_once(' ').unwrap();
            u64::from_str_radix(inode, 16).unwrap()
        }));
    }
    inodes
}

fn inode(place: &Place, folder: &str) -> u64 {
    fs::metadata(place.path("ota").join(folder)).unwrap().ino()
}

fn wait_served(program: &Program, device: &str, image: &[u8]) {
    let (http, _) = program.addresses();
    let path = format!("/ota_update/{device}");
    wait_until(&format!("{device} gets its image"), || {
        ask(http, "GET", &path, &[]).body == image
    });
}

fn make(place: &Place, folder: &str) {
    fs::create_dir_all(place.path("ota").join(folder)).unwrap();
}

#[test]
fn only_folders_that_may_lead_to_an_image_cost_a_watch() {
    let place = Place::new("");
    let mut slots = vec![
        String::new(),
        "dev".to_owned(),
        "dev/lotus".to_owned(),
        "dev/lotus/n0/build".to_owned(),
    ];
    for n in 0..20 {
        let slot = format!("dev/lotus/n{n}");
        place.put(&format!("{slot}/firmware.bin"), &image8266(n));
        // None of these is read: hidden, too deep, kept for later, no word.
        for below in [
            ".git/objects/ab",
            ".pio/build",
            "build/CMakeFiles/3.25",
            "software/tool",
            "no word",
        ] {
            if n == 0 || !below.starts_with("build") {
                make(&place, &format!("{slot}/{below}"));
            }
        }
        slots.push(slot);
    }
    make(&place, "dev/.git/objects/ab");
    make(&place, ".git/refs");
    let program = place.serve();
    let wanted = |slots: &[String]| -> BTreeSet<u64> {
        slots.iter().map(|slot| inode(&place, slot)).collect()
    };
    let hold = |slots: &[String]| {
        wait_until("the folders of the tree are watched, and no others", || {
            // The folder that the root lies in does not count.
            watched(program.id()) == wanted(slots)
        });
    };
    hold(&slots);
    // A crowd that comes later, filled at once.
    for n in 0..20 {
        let slot = format!("dev/rose/n{n}");
        make(&place, &format!("{slot}/.git/objects"));
        make(&place, &format!("{slot}/a/b/c"));
        place.put(&format!("{slot}/firmware.bin"), &image8266(100 + n));
        slots.extend([slot.clone(), format!("{slot}/a")]);
    }
    slots.push("dev/rose".to_owned());
    hold(&slots);
    make(&place, "dev/lotus/n1/.git/objects/cd");
    make(&place, "dev/rose/n1/a/b/d");
    wait_served(&program, "dev/rose/n19/key", &image8266(119));
    hold(&slots);
    assert!(Path::new(&place.path("ota/dev/rose/n1/a/b/d")).exists());
}
