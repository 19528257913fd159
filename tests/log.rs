//! The log at its usual level: each thing once, nothing of what repeats every hour, and no secret.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;

use crate::client::reset;
use crate::house::{esp8266, image8266, wait_until};
use crate::program::{LISTEN, Place, Program, TREE, ask};
use otatree::firmware::Md5;

const NODE: &str = "/ota_update/dev/lotus/node1/key";
const SLOT: &str = "dev/key/firmware.bin";

/// Lays a file down in one step, so that no part of it is ever seen.
fn put(place: &Place, bytes: &[u8]) {
    place.put("dev/key/.incoming", bytes);
    fs::rename(
        place.path("ota/dev/key/.incoming"),
        place.path("ota").join(SLOT),
    )
    .unwrap();
}

fn decision(program: &Program, md5: &str) -> String {
    let answer = ask(program.addresses().0, "GET", NODE, &esp8266(md5));
    answer.decision().to_owned()
}

#[track_caller]
fn said_once(program: &Program, words: &str) -> String {
    program.wait_said(words);
    let lines = program.lines(words);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines[0].clone()
}

/// Ends it in order, so that everything that was to be said was said.
fn ended(mut program: Program) -> Program {
    program.signal("TERM");
    assert!(program.end().success());
    program.wait_said("every connection was done");
    program
}

#[test]
fn each_thing_is_said_once_and_nothing_that_repeats() {
    let place = Place::new("");
    let program = place.serve();
    program.wait_said("the tree is read");
    let (image, old) = (image8266(1), Md5::of(b"old").to_string());
    let new = Md5::of(&image).to_string();
    for _ in 0..2 {
        assert_eq!(decision(&program, &old), "no-image");
    }
    let miss = said_once(&program, "a miss");
    assert!(miss.contains("dev/lotus/node1"), "{miss}");

    put(&place, b"<!DOCTYPE html><html><body>404</body></html>");
    program.wait_said("\"problem: ");
    wait_until("it is held", || {
        decision(&program, &old) == "held not-an-app"
    });
    assert_eq!(decision(&program, &old), "held not-an-app");
    put(&place, &image);
    wait_until("it is delivered", || decision(&program, &old) == "update");
    program.wait_said("an image was delivered in full");
    for _ in 0..2 {
        assert_eq!(decision(&program, &new), "up-to-date");
    }
    let program = ended(program);
    let held = program.lines("\"held: ");
    let held: Vec<_> = held
        .iter()
        .filter(|line| line.contains("not-an-app"))
        .collect();
    assert_eq!(held.len(), 1, "{held:#?}");
    let problem = said_once(&program, "\"problem: ");
    let problem: serde_json::Value = serde_json::from_str(&problem).unwrap();
    assert_eq!(problem["path"], SLOT);
    assert_eq!(problem["level"], "WARN");
    let cured = problem["message"].as_str().unwrap();
    assert!(cured.ends_with("download the file itself"), "{problem}");
    let offered = said_once(&program, "\"offered\"");
    assert!(offered.contains(SLOT), "{offered}");
    said_once(&program, "an image was delivered in full");
    said_once(&program, "a miss");
    assert_eq!(program.lines("up to date"), [""; 0]);
}

#[test]
fn a_client_that_resets_leaves_no_line() {
    let place = Place::new("");
    let program = place.serve();
    program.wait_said("the tree is read");
    let (http, https) = program.addresses();
    let before = program.lines("").len();
    let whole = format!("GET {NODE} HTTP/1.1\r\nHost: localhost\r\n");
    for (server, sent) in [
        (http, &b""[..]),
        (http, &whole.as_bytes()[..9]),
        (http, whole.as_bytes()),
        (https, b""),
        // The beginning of a ClientHello.
        (https, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ] {
        let mut stream = TcpStream::connect(server).unwrap();
        stream.write_all(sent).unwrap();
        reset(stream);
    }
    // Those who came before have been accepted by now.
    assert_eq!(ask(http, "GET", "/healthz", &[]).status, 200);
    let program = ended(program);
    let after = program.lines("").split_off(before);
    let after: Vec<_> = after
        .iter()
        .filter(|line| !line.contains("SIGTERM") && !line.contains("every connection was done"))
        .collect();
    assert_eq!(after, [""; 0]);
}

#[test]
fn a_proxy_that_names_no_client_is_said_once() {
    let place = Place::new("only");
    place.configure(&format!(
        "onlytrusted_proxies = [\"127.0.0.1/32\"]\n{LISTEN}{TREE}[log]\nformat = \"json\"\n"
    ));
    let program = place.serve();
    let http = program.addresses().0;
    let named = [("X-Forwarded-For", "192.0.2.7")];
    assert_eq!(ask(http, "GET", "/healthz", &named).status, 200);
    assert_eq!(program.lines("X-Forwarded-For"), [""; 0]);
    for _ in 0..3 {
        assert_eq!(ask(http, "GET", "/healthz", &[]).status, 200);
    }
    let line = said_once(&ended(program), "X-Forwarded-For");
    assert!(line.contains("\"proxy\":\"127.0.0.1\""), "{line}");
}

#[test]
fn no_line_holds_a_key() {
    let place = Place::new("");
    let mut command = place.command(&[]);
    command.env("RUST_LOG", "trace");
    let program = Program::start(command);
    program.wait_said("\"serving\"");
    let identity = place.path("state/identity");
    let mut secrets = Vec::new();
    for entry in fs::read_dir(identity).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        if text.contains("PRIVATE KEY") {
            secrets.extend(text.lines().skip(1).take(1).map(str::to_owned));
        }
    }
    assert!(!secrets.is_empty(), "there is a key to be kept");
    program.signal("HUP");
    let program = ended(program);
    for secret in secrets.iter().map(String::as_str).chain(["PRIVATE KEY"]) {
        assert_eq!(program.lines(secret).len(), 0, "{secret}");
    }
}

#[test]
fn the_format_text_is_for_people() {
    let place = Place::new(&format!("only{LISTEN}{TREE}[log]\nformat = \"text\"\n"));
    let program = ended(place.serve());
    let lines = program.lines("");
    assert!(lines.len() > 3, "{lines:#?}");
    for line in &lines {
        assert!(
            line.contains(" INFO ") || line.contains(" WARN "),
            "{line:?}"
        );
        assert!(
            !line.contains('\u{1b}') && !line.starts_with('{'),
            "{line:?}"
        );
    }
}

#[test]
fn a_refused_device_is_said_once_without_its_secret_and_a_restart_refuses_it_again() {
    let place = Place::new("");
    put(&place, &image8266(1));
    let mut program = place.serve();
    let secret = place.run(&["device", "secret", "add", "dev/node1"]);
    let secret = String::from_utf8(secret.stdout).unwrap();
    let required = place.run(&["device", "secret", "require", "dev"]);
    assert!(required.status.success(), "{required:?}");
    let (right, wrong) = (format!("Bearer {}", secret.trim()), "Bearer swordfish");
    for _ in 0..2 {
        let hears = |shown: &[(&str, &str)]| ask(program.addresses().0, "GET", NODE, shown).status;
        for _ in 0..3 {
            assert_eq!(hears(&[]), 401);
            assert_eq!(hears(&[("Authorization", wrong)]), 403);
        }
        assert_ne!(hears(&[("Authorization", &right)]), 403);
        said_once(&program, "a device was refused: its secret is wrong");
        let missing = said_once(&program, "a device was refused: its org asks devices");
        assert!(missing.contains("dev/lotus/node1"), "{missing}");
        for word in ["swordfish", secret.trim()] {
            assert_eq!(program.lines(word).len(), 0);
        }
        drop(ended(program));
        program = place.serve();
    }
}
