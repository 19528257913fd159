//! The real program, its first owner, and its doors for people when there is no database.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::api_kit::{PASSWORD, request};
use crate::house::{Answer, DEADLINE, image8266, wait_until};
use crate::program::{Place, Program, ask};

/// A call on the plain listener, which this machine may use.
fn call(program: &Program, method: &str, path: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(program.addresses().0).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
        .write_all(&request(method, path, &[], body.as_bytes()))
        .unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    Answer::parse(&all, false).unwrap()
}

#[test]
fn the_first_start_writes_a_link_for_the_first_owner_that_only_the_server_may_read() {
    let place = Place::new("");
    let link = place.path("state/first-owner");
    let mut program = place.serve();
    program.wait_said("nobody owns the server");
    assert_eq!(
        fs::metadata(&link).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text = fs::read_to_string(&link).unwrap();
    let secret = text.lines().next().unwrap();
    let said = program.lines("").join("\n");
    assert!(
        said.contains("state/first-owner") && !said.contains(secret),
        "{said}"
    );
    let owner = json!({"link": secret, "user": "root", "password": PASSWORD}).to_string();
    assert_eq!(call(&program, "POST", "/first-owner", &owner).status, 204);
    let login = json!({"user": "root", "password": PASSWORD}).to_string();
    assert_eq!(call(&program, "POST", "/session", &login).status, 200);
    program.signal("TERM");
    program.end();
    // Now that there is an owner, nothing is left of it.
    let again = place.serve();
    assert!(!link.exists());
    assert_eq!(call(&again, "POST", "/session", &login).status, 200);
}

#[test]
fn a_start_that_finds_no_owner_makes_the_older_link_useless() {
    let place = Place::new("");
    let link = place.path("state/first-owner");
    let mut program = place.serve();
    let old = fs::read_to_string(&link).unwrap();
    program.signal("TERM");
    program.end();
    let program = place.serve();
    let new = fs::read_to_string(&link).unwrap();
    let redeem = |text: &str| {
        let secret = text.lines().next().unwrap();
        let owner = json!({"link": secret, "user": "root", "password": PASSWORD}).to_string();
        call(&program, "POST", "/first-owner", &owner).status
    };
    assert_eq!((redeem(&old), redeem(&new)), (403, 204));
}

#[test]
fn a_database_that_cannot_be_read_is_said_by_healthz_and_keeps_nobody_from_updating() {
    let place = Place::new("");
    place.put("dev/key/firmware.bin", &image8266(1));
    fs::create_dir(place.path("state")).unwrap();
    fs::write(place.path("state/otatree.db"), "no database at all").unwrap();
    let program = place.serve();
    let http = program.addresses().0;
    let health = String::from_utf8(ask(http, "GET", "/healthz", &[]).body).unwrap();
    assert!(
        health.contains("people: ") && health.contains("damaged"),
        "{health}"
    );
    let login = json!({"user": "root", "password": PASSWORD}).to_string();
    assert_eq!(call(&program, "POST", "/session", &login).status, 503);
    wait_until("a device is served", || {
        ask(http, "GET", "/ota_update/dev/any/node/key", &[]).status == 200
    });
    let kept = fs::read_to_string(place.path("state/otatree.db")).unwrap();
    assert_eq!(kept, "no database at all");
}
