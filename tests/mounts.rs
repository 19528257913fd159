//! The tree and the state folder as mounts: unmounted, swapped, full. With the real program in a namespace of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::house::{Answer, esp8266, image8266, wait_until};
use crate::program::{LISTEN, Place, Program, TREE, ask};
use otatree::firmware::Md5;

fn poll(http: SocketAddr, running: &[u8]) -> Answer {
    let md5 = Md5::of(running).to_string();
    ask(http, "GET", "/ota_update/dev/lotus/n1/key", &esp8266(&md5))
}

fn wait_served(http: SocketAddr, image: &[u8]) {
    wait_until("the image is served", || poll(http, b"old").body == image);
}

fn health(program: &Program) -> String {
    let (http, _) = program.addresses();
    String::from_utf8(ask(http, "GET", "/healthz", &[]).body).unwrap()
}

fn wait_health(program: &Program, text: &str) {
    wait_until(&format!("/healthz says {text:?}"), || {
        health(program).contains(text)
    });
}

fn wait_silence(program: &Program, name: &str) {
    wait_until(&format!("/healthz says nothing of {name}"), || {
        !health(program).contains(&format!("{name}: "))
    });
}

/// A tree on a file system of its own, filled from `seed/`.
const MOUNT: &str = "mount -t tmpfs tmpfs ota; cp -r seed/. ota";

fn seeded() -> Place {
    // One node takes the same images again and again here.
    let place = Place::new("[guards]\nloop = 0\n");
    fs::create_dir_all(place.path("seed/dev/key")).unwrap();
    fs::write(place.path("seed/dev/key/firmware.bin"), image8266(1)).unwrap();
    // And it reports now an image, now none of this tree.
    for root in ["seed", "ota"] {
        let file = place.path(root).join("ota.toml");
        fs::write(file, "by_hand = \"update\"").unwrap();
    }
    place
}

#[test]
fn a_tree_that_is_unmounted_is_served_on_and_read_again_when_it_is_back() {
    let place = seeded();
    let Some(command) = place.unshared(MOUNT) else {
        return;
    };
    let program = Program::start(command);
    program.wait_said("serving");
    let (http, _) = program.addresses();
    wait_served(http, &image8266(1));
    program.enters("umount -l ota");
    wait_health(&program, "tree: ");
    program.wait_said("is suddenly empty (is it mounted?)");
    for _ in 0..3 {
        let answer = poll(http, &image8266(1));
        assert_eq!((answer.status, answer.decision()), (304, "up-to-date"));
        // Its bytes are in memory.
        assert!(poll(http, b"old").body == image8266(1));
    }
    fs::write(place.path("seed/dev/key/firmware.bin"), image8266(2)).unwrap();
    program.enters(MOUNT);
    wait_served(http, &image8266(2));
    wait_silence(&program, "tree");
    // It is followed like any other.
    fs::write(place.path("seed/dev/key/firmware.bin"), image8266(3)).unwrap();
    program.enters("cp seed/dev/key/firmware.bin ota/dev/key/");
    wait_served(http, &image8266(3));
}

#[test]
fn a_tree_that_is_mounted_over_another_takes_its_place() {
    let place = seeded();
    place.put("dev/lotus/n1/firmware.bin", &image8266(7));
    let Some(command) = place.unshared("") else {
        return;
    };
    let program = Program::start(command);
    program.wait_said("serving");
    let (http, _) = program.addresses();
    wait_served(http, &image8266(7));
    program.enters("mkdir new; mount -t tmpfs tmpfs new; cp -r seed/. new; mount --move new ota");
    wait_served(http, &image8266(1));
    program.enters("umount -l ota");
    wait_served(http, &image8266(7));
}

#[test]
fn a_release_that_is_renamed_into_the_place_of_the_root_is_served_and_back() {
    let place = seeded();
    place.put("dev/lotus/n1/firmware.bin", &image8266(7));
    let program = place.serve();
    let (http, _) = program.addresses();
    wait_served(http, &image8266(7));
    let swap = |from: &str, to: &str| {
        fs::rename(place.path("ota"), place.path(to)).unwrap();
        fs::rename(place.path(from), place.path("ota")).unwrap();
    };
    for n in 8..11 {
        swap("seed", "ota.old");
        wait_served(http, &image8266(1));
        swap("ota.old", "seed");
        wait_served(http, &image8266(n - 1));
        place.put("dev/lotus/n1/firmware.bin", &image8266(n));
        wait_served(http, &image8266(n));
    }
    wait_silence(&program, "tree");
}

#[test]
fn a_tree_that_is_emptied_at_once_is_served_on_until_something_is_there() {
    let place = seeded();
    place.put("dev/lotus/n1/firmware.bin", &image8266(7));
    let program = place.serve();
    let (http, _) = program.addresses();
    wait_served(http, &image8266(7));
    fs::rename(place.path("ota/dev"), place.path("away")).unwrap();
    program.wait_said("is suddenly empty");
    wait_health(&program, "tree: ");
    let answer = poll(http, &image8266(7));
    assert_eq!((answer.status, answer.decision()), (304, "up-to-date"));
    assert!(poll(http, b"old").body == image8266(7));
    // Another tree: what it does not hold is gone.
    fs::rename(place.path("seed/dev"), place.path("ota/dev")).unwrap();
    wait_served(http, &image8266(1));
    wait_silence(&program, "tree");
}

/// A state folder on a small file system of its own.
const SMALL: &str = "mount -t tmpfs -o size=400k tmpfs state";
const FILL: &str = "dd if=/dev/zero of=state/fill bs=4k 2>dd.log || grep -q 'No space left' dd.log";

fn with_state(text: &str) -> Place {
    let place = Place::new("");
    place.configure(&format!(
        "only{LISTEN}{TREE}sweep = \"200ms\"\n[log]\nformat = \"json\"\n[guards]\nloop = 0\n{text}"
    ));
    place.put("dev/key/firmware.bin", &image8266(1));
    fs::create_dir(place.path("state")).unwrap();
    place
}

/// A path in the folder of a program, as the program sees it.
fn inside(place: &Place, program: &Program, path: &str) -> PathBuf {
    let path = place.path(path);
    Path::new("/proc")
        .join(program.id().to_string())
        .join("root")
        .join(path.strip_prefix("/").unwrap())
}

fn served_on_a_full_disk(place: &Place, program: &Program) {
    let (http, _) = program.addresses();
    wait_served(http, &image8266(1));
    program.wait_said("cannot be kept");
    wait_health(program, "kept-images: ");
    assert!(
        health(program).contains("os error 28"),
        "{}",
        health(program)
    );
    // What is new in the tree is served all the same, and nobody waits for the disk.
    for n in 2..40 {
        place.put("dev/key/firmware.bin", &image8266(n));
        wait_served(http, &image8266(n));
    }
    let answer = poll(http, &image8266(39));
    assert_eq!((answer.status, answer.decision()), (304, "up-to-date"));
    assert_eq!(ask(http, "GET", "/readyz", &[]).status, 200);
    // Said once, not with every download.
    assert_eq!(program.lines("cannot be kept").len(), 1);
    let left = fs::read_dir(inside(place, program, "state/kept")).unwrap();
    assert_eq!(left.count(), 0, "half a copy only takes room");
}

#[test]
fn a_disk_that_gets_full_stops_neither_polls_nor_downloads_and_is_said() {
    let place = with_state("");
    let Some(command) = place.unshared(SMALL) else {
        return;
    };
    let program = Program::start(command);
    program.wait_said("serving");
    program.enters(FILL);
    served_on_a_full_disk(&place, &program);
}

#[test]
fn a_server_that_starts_on_a_full_disk_serves_with_the_identity_it_has() {
    let place = with_state("");
    drop(place.serve());
    fs::rename(place.path("state"), place.path("before")).unwrap();
    fs::create_dir(place.path("state")).unwrap();
    let Some(command) = place.unshared(&format!("{SMALL}; cp -r before/identity state; {FILL}"))
    else {
        return;
    };
    let program = Program::start(command);
    program.wait_said("serving");
    wait_health(&program, "digest-cache: ");
    served_on_a_full_disk(&place, &program);
    // When there is room again, the next sweep writes what it could not.
    program.enters("rm state/fill");
    wait_silence(&program, "digest-cache");
    let digests = inside(&place, &program, "state/digests.jsonl");
    wait_until("the image is in the cache", || {
        fs::read_to_string(&digests).is_ok_and(|text| text.contains("dev/key/firmware.bin"))
    });
}

#[test]
fn a_first_start_on_a_full_disk_says_what_cannot_be_written() {
    let place = with_state("");
    let Some(command) = place.unshared(&format!("{SMALL}; {FILL}")) else {
        return;
    };
    let mut program = Program::start(command);
    assert!(!program.end().success());
    program.wait_said("state/identity");
    program.wait_said("os error 28");
}
