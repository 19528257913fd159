//! What the server's user may not read is held and said, with the cure; all else is served.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::house::{Answer, esp8266, image8266, wait_until};
use crate::program::{Place, Program, ask, bare};
use otatree::firmware::Md5;

/// The program as a user with no rights of its own: nothing is unreadable for root.
pub fn as_nobody(place: &Place, arguments: &[&str]) -> Command {
    let program = place.path("otatree");
    if !program.exists() {
        let built = env!("CARGO_BIN_EXE_otatree");
        // Where the build lies, nobody may be allowed to go.
        fs::hard_link(built, &program)
            .or_else(|_| fs::copy(built, &program).map(drop))
            .unwrap();
        set_mode(place, "", 0o755);
        fs::create_dir(place.path("state")).unwrap();
        set_mode(place, "state", 0o777);
    }
    if !rustix::process::geteuid().is_root() {
        let mut command = bare(&program, place.dir.path());
        command.args(arguments);
        return command;
    }
    let mut command = bare("setpriv".as_ref(), place.dir.path());
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(program)
        .args(arguments);
    command
}

fn set_mode(place: &Place, path: &str, mode: u32) {
    fs::set_permissions(place.path(path), fs::Permissions::from_mode(mode)).unwrap();
}

fn poll(http: SocketAddr, device: &str) -> Answer {
    let old = Md5::of(b"old").to_string();
    ask(
        http,
        "GET",
        &format!("/ota_update/{device}"),
        &esp8266(&old),
    )
}

#[track_caller]
fn wait_poll(http: SocketAddr, device: &str, status: u16, decision: &str) {
    let mut heard = String::new();
    wait_until(&format!("{device} hears {decision}"), || {
        let answer = poll(http, device);
        heard = answer.decision().to_owned();
        (answer.status, heard.as_str()) == (status, decision)
    });
}

/// The things that are made unreadable, with the modes that do it.
const SHUT: [(&str, u32); 5] = [
    ("dev/lotus/n1", 0o000),
    ("dev/lotus/n2/firmware.bin", 0o000),
    // Its names can be read, and nothing else of it.
    ("dev/lotus/n3", 0o644),
    // What is in it may be read by who knows the name; the server does not.
    ("dev/lotus/n4", 0o711),
    // Nobody knows which nodes have a folder in it.
    ("dev/rose", 0o000),
];

const HELD: [&str; 5] = [
    "dev/lotus/n1/key",
    "dev/lotus/n2/key",
    "dev/lotus/n3/key",
    "dev/lotus/n4/key",
    "dev/rose/n5/key",
];

fn shut_place() -> Place {
    let place = Place::new("[guards]\nloop = 0\n");
    for n in 1..=4 {
        place.put(&format!("dev/lotus/n{n}/firmware.bin"), &image8266(n));
    }
    place.put("dev/rose/n5/firmware.bin", &image8266(5));
    place.put("dev/key/firmware.bin", &image8266(100));
    for (path, mode) in SHUT {
        set_mode(&place, &format!("ota/{path}"), mode);
    }
    place
}

fn open_all(place: &Place) {
    for (path, _) in SHUT {
        let mode = if path.ends_with(".bin") { 0o644 } else { 0o755 };
        set_mode(place, &format!("ota/{path}"), mode);
    }
}

#[test]
fn what_may_not_be_read_is_held_and_said_and_all_else_is_served() {
    let place = shut_place();
    let program = Program::start(as_nobody(&place, &[]));
    program.wait_said("serving");
    let (http, _) = program.addresses();
    wait_poll(http, "dev/lotus/other/key", 200, "update");
    for device in HELD {
        wait_poll(http, device, 304, "held unreadable");
    }
    assert!(poll(http, "dev/lotus/other/key").body == image8266(100));
    for (path, _) in SHUT {
        wait_until(&format!("the log names {path} and its cure"), || {
            program
                .lines("problem: ")
                .iter()
                .any(|line| line.contains(path) && line.contains("readable for the server's user"))
        });
    }
    let health = || String::from_utf8(ask(http, "GET", "/healthz", &[]).body).unwrap();
    wait_until("the board counts them", || health().contains("5 problems"));
    // The kernel refuses a watch on such a folder; that says nothing of the others.
    assert!(!health().contains("watching:"), "{}", health());

    open_all(&place);
    for (n, device) in (1..).zip(HELD) {
        wait_until(&format!("{device} gets its image"), || {
            poll(http, device).body == image8266(n)
        });
    }
    place.put("dev/rose/n5/firmware.bin", &image8266(50));
    wait_until("it is followed like any other", || {
        poll(http, "dev/rose/n5/key").body == image8266(50)
    });
}

#[test]
fn what_was_read_before_is_served_on_when_its_folder_is_shut() {
    let place = shut_place();
    open_all(&place);
    let program = Program::start(as_nobody(&place, &[]));
    program.wait_said("serving");
    let (http, _) = program.addresses();
    wait_poll(http, "dev/rose/n5/key", 200, "update");
    wait_poll(http, "dev/lotus/n1/key", 200, "update");
    set_mode(&place, "ota/dev/lotus/n1", 0o000);
    set_mode(&place, "ota/dev/rose", 0o000);
    for path in ["dev/lotus/n1", "dev/rose"] {
        wait_until(&format!("the log names {path}"), || {
            program
                .lines("problem: ")
                .iter()
                .any(|line| line.contains(path))
        });
    }
    let runs = Md5::of(&image8266(1)).to_string();
    let answer = ask(http, "GET", "/ota_update/dev/lotus/n1/key", &esp8266(&runs));
    assert_eq!((answer.status, answer.decision()), (304, "up-to-date"));
    // Its bytes are in memory.
    assert!(poll(http, "dev/rose/n5/key").body == image8266(5));
    open_all(&place);
}

#[test]
fn check_lists_what_may_not_be_read_with_path_and_cure() {
    let place = shut_place();
    let output = as_nobody(&place, &["check"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for (path, _) in SHUT {
        let line = text.lines().find(|line| line.contains(path));
        assert!(
            line.is_some_and(|line| line.contains("readable for the server's user")),
            "{path} in {text}"
        );
    }
    assert_eq!(text.lines().count(), SHUT.len(), "{text}");
    let output = as_nobody(&place, &["which", "dev/rose/n5/key"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("held unreadable"), "{text}");
    open_all(&place);
}

#[test]
fn a_root_that_may_not_be_read_is_shouted_and_devices_are_held() {
    let place = Place::new("[guards]\nloop = 0\n");
    place.put("dev/key/firmware.bin", &image8266(1));
    set_mode(&place, "ota", 0o000);
    let output = as_nobody(&place, &["check"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("the root of the tree cannot be read"),
        "{text}"
    );
    let program = Program::start(as_nobody(&place, &[]));
    program.wait_said("serving");
    program.wait_said("the root of the tree cannot be read");
    let (http, _) = program.addresses();
    wait_poll(http, "dev/lotus/n1/key", 304, "held not-ready");
    set_mode(&place, "ota", 0o755);
    wait_poll(http, "dev/lotus/n1/key", 200, "update");
}
