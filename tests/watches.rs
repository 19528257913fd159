//! What the real program asks of the kernel's notifications.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use crate::house::{image8266, wait_until};
use crate::program::{LISTEN, Place, Program, TREE, ask};

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
}

#[test]
fn what_only_a_link_led_to_is_let_go_with_it() {
    let place = Place::new("");
    place.put("dev/.hidden/n1/firmware.bin", &image8266(1));
    place.put("dev/.hidden/n2/firmware.bin", &image8266(2));
    place.put("dev/lotus/n3/firmware.bin", &image8266(3));
    let program = place.serve();
    let real = ["", "dev", "dev/lotus", "dev/lotus/n3"];
    let hidden = ["dev/.hidden", "dev/.hidden/n1", "dev/.hidden/n2"];
    let hold = |what: &str, slots: &[&str]| {
        let wanted: BTreeSet<u64> = slots.iter().map(|slot| inode(&place, slot)).collect();
        wait_until(what, || watched(program.id()) == wanted);
    };
    hold("only the real folders", &real);
    let link = |name: &str| place.path("ota/dev").join(name);
    for _ in 0..3 {
        symlink(".hidden", link("rose")).unwrap();
        symlink(".hidden", link("tulip")).unwrap();
        symlink("lotus", link("aster")).unwrap();
        wait_served(&program, "dev/rose/n1/key", &image8266(1));
        wait_served(&program, "dev/tulip/n2/key", &image8266(2));
        wait_served(&program, "dev/aster/n3/key", &image8266(3));
        hold("what the links lead to", &[&real[..], &hidden].concat());
        fs::remove_file(link("rose")).unwrap();
        fs::remove_file(link("aster")).unwrap();
        wait_served(&program, "dev/rose/n1/key", b"");
        hold("one link is left", &[&real[..], &hidden].concat());
        fs::remove_file(link("tulip")).unwrap();
        wait_served(&program, "dev/tulip/n2/key", b"");
        hold("no link is left", &real);
    }
}

#[test]
fn past_the_kernels_limit_the_cure_is_said_and_sweeps_find_what_changes() {
    let place = Place::new("");
    place.configure(&format!(
        "only{LISTEN}{TREE}poll = \"200ms\"\n[log]\nformat = \"json\"\n"
    ));
    for n in 0..60 {
        place.put(&format!("dev/lotus/n{n}/firmware.bin"), &image8266(n));
    }
    let limit = "echo 40 > /proc/sys/user/max_inotify_watches";
    let Some(command) = place.unshared(limit) else {
        return;
    };
    let program = Program::start(command);
    program.wait_said("serving");
    let cure = "sysctl fs.inotify.max_user_watches=";
    program.wait_said(cure);
    let (http, _) = program.addresses();
    let health = || String::from_utf8(ask(http, "GET", "/healthz", &[]).body).unwrap();
    assert!(
        health()
            .lines()
            .any(|line| line.starts_with("watching: ") && line.contains(cure)),
        "{}",
        health()
    );
    let ears = watched(program.id());
    assert_eq!(ears.len(), 40);
    let deaf = (0..60)
        .map(|n| format!("dev/lotus/n{n}"))
        .find(|slot| !ears.contains(&inode(&place, slot)))
        .unwrap();
    for n in 100..103 {
        place.put(&format!("{deaf}/firmware.bin"), &image8266(n));
        wait_served(&program, &format!("{deaf}/key"), &image8266(n));
    }
    place.put("dev/rose/new/firmware.bin", &image8266(200));
    wait_served(&program, "dev/rose/new/key", &image8266(200));
    // Each sweep tries again, and what it says does not change.
    assert_eq!(program.lines(cure).len(), 1);
    assert_eq!(watched(program.id()).len(), 40);
    program.enters("echo 1000 > /proc/sys/user/max_inotify_watches");
    program.wait_said("this is over");
    wait_until("all is watched", || watched(program.id()).len() == 65);
}

#[test]
fn without_any_notification_the_cure_is_said_and_sweeps_find_what_changes() {
    let place = Place::new("");
    place.configure(&format!(
        "only{LISTEN}{TREE}poll = \"200ms\"\n[log]\nformat = \"json\"\n"
    ));
    place.put("dev/key/firmware.bin", &image8266(1));
    let limit = "echo 0 > /proc/sys/user/max_inotify_instances";
    let Some(command) = place.unshared(limit) else {
        return;
    };
    let program = Program::start(command);
    program.wait_said("serving");
    program.wait_said("fs.inotify.max_user_instances=");
    for n in 2..4 {
        place.put("dev/key/firmware.bin", &image8266(n));
        wait_served(&program, "dev/lotus/n1/key", &image8266(n));
    }
    assert!(watched(program.id()).is_empty());
    // The cure is taken; nothing has to be restarted.
    program.enters("echo 10 > /proc/sys/user/max_inotify_instances");
    program.wait_said("this is over");
    wait_until("all is watched", || watched(program.id()).len() == 3);
}
