//! Orgs that ask their devices for a secret, at the devices' door.

use std::fs;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use otatree::firmware::Md5;
use otatree::firmware::forge::Esp8266;

use crate::api_kit::{inhabited, wait};
use crate::client::{other_md5, path, request, with};
use crate::clients::needed;
use crate::house::{Answer, House, esp32, esp8266};

const NODE: &str = "dev/lotus/node1/key";
const FILE: &str = "/files/dev/lotus/node1/firmware.bin";

fn image() -> Vec<u8> {
    Esp8266::default().build()
}

/// The org `dev` asks for secrets, `node1` and `node2` have one; `other` asks for none. Both have an image.
fn house() -> (House, String, String) {
    let house = inhabited();
    house.put_renamed("dev/lotus/key/firmware.bin", &image());
    house.put_renamed("dev/lotus/node1/firmware.bin", &image());
    house.put_renamed("other/lotus/key/firmware.bin", &image());
    house.wait_served(NODE, &image());
    house.wait_served("other/lotus/node1/key", &image());
    let (one, two) = (house.add_secret("node1"), house.add_secret("node2"));
    house.ask_for_secrets(true);
    (house, one, two)
}

impl House {
    fn add_secret(&self, node: &str) -> String {
        let people = self.people.as_ref().unwrap();
        let (org, node) = ("dev".parse().unwrap(), node.parse().unwrap());
        let (console, now) = (people.console(), Timestamp::now());
        wait(people.add_device_secret(&console, &org, &node, now))
            .unwrap()
            .reveal()
            .to_owned()
    }

    fn ask_for_secrets(&self, required: bool) {
        let people = self.people.as_ref().unwrap();
        let org = "dev".parse().unwrap();
        let (console, now) = (people.console(), Timestamp::now());
        wait(people.require_device_secrets(&console, &org, required, now)).unwrap();
    }

    /// The status that a GET with this credential hears; without an image unless it is 200.
    #[track_caller]
    fn hears_with(&self, path: &str, credential: Option<&str>) -> u16 {
        let headers: Vec<_> = credential
            .map(|it| ("Authorization", it))
            .into_iter()
            .collect();
        let answer = self.get(path, &headers);
        is_no_image(&answer);
        answer.status
    }
}

/// Whoever is refused gets a short text, and nothing of any image.
#[track_caller]
fn is_no_image(answer: &Answer) {
    if answer.status != 401 && answer.status != 403 {
        return;
    }
    let challenge = (answer.status == 401).then_some("Basic realm=\"otatree\"");
    assert_eq!(answer.header("www-authenticate"), challenge, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(
        answer.body.len() < 100 && answer.body.is_ascii(),
        "{answer:?}"
    );
    for name in [
        "etag",
        "x-md5",
        "x-sha256",
        "last-modified",
        "x-ota-decision",
        "x-version",
    ] {
        assert_eq!(answer.header(name), None, "{answer:?}");
    }
}

fn basic(user: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{secret}")))
}

#[test]
fn a_device_without_a_secret_hears_401_and_one_with_a_wrong_one_403() {
    let (house, one, two) = house();
    let all = ["", "/image.bin", "/image.bin.md5", "/image.bin.sha256", "/"];
    for path in all.map(|end| format!("{}{end}", path(NODE))) {
        let hears = |credential: &str| house.hears_with(&path, Some(credential));
        assert_eq!(house.hears_with(&path, None), 401, "{path}");
        assert_eq!(hears("Digest username=\"node1\""), 401);
        assert_eq!(hears("Basic !"), 401);
        for wrong in [
            basic("node1", "x"),
            basic("node1", ""),
            basic("node2", &two),
            basic("node1", &two),
            basic("node2", &one),
            basic("", &one),
            format!("Bearer {two}"),
            "Bearer x".to_owned(),
        ] {
            assert_eq!(hears(&wrong), 403, "{path} {wrong}");
        }
        assert_eq!(hears(&basic("node1", &one)), 200, "{path}");
        assert_eq!(hears(&format!("bearer {one}")), 200, "{path}");
    }
}

#[test]
fn an_org_that_asks_for_nothing_serves_whatever_is_shown() {
    let (house, one, _) = house();
    let other = path("other/lotus/node1/key");
    for shown in [
        None,
        Some("Basic !".to_owned()),
        Some(basic("node9", "x")),
        Some(one),
    ] {
        assert_eq!(house.hears_with(&other, shown.as_deref()), 200);
    }
    house.ask_for_secrets(false);
    assert_eq!(house.hears_with(&path(NODE), None), 200);
    assert_eq!(
        house.hears_with(&path(NODE), Some(&basic("node1", "x"))),
        200
    );
}

#[test]
fn updaters_of_both_families_are_served_and_refused_over_http_1_0() {
    let (house, one, _) = house();
    let (old, right) = (other_md5(1), basic("node1", &one));
    let sha = "0".repeat(64);
    for headers in [esp8266(&old), esp32(&old, &sha)] {
        let hears = |headers: &[(&str, &str)]| {
            let answer = house.request("GET", &path(NODE), "HTTP/1.0", headers);
            is_no_image(&answer);
            answer
        };
        assert_eq!(hears(&headers).status, 401);
        assert_eq!(
            hears(&with(&headers, "Authorization", "Basic bm9kZTE6eA==")).status,
            403
        );
        let mode = with(&headers, "x-ESP8266-mode", "version");
        assert_eq!(hears(&with(&mode, "x-ESP32-mode", "spiffs")).status, 401);
        for more in [("Range", "bytes=0-99"), ("If-None-Match", "*")] {
            assert_eq!(hears(&with(&headers, more.0, more.1)).status, 401);
        }
    }
    let answer = house.request(
        "GET",
        &path(NODE),
        "HTTP/1.0",
        &with(&esp8266(&old), "Authorization", &right),
    );
    assert_eq!((answer.status, answer.decision()), (200, "update"));
    assert!(answer.body == image());
    let md5 = Md5::of(&image()).to_string();
    let same = with(&esp8266(&md5), "Authorization", &right);
    let answer = house.request("GET", &path(NODE), "HTTP/1.0", &same);
    assert_eq!((answer.status, answer.decision()), (304, "up-to-date"));
    let head = house.request("HEAD", &path(NODE), "HTTP/1.1", &[]);
    assert_eq!((head.status, head.body.len()), (401, 0));
}

#[test]
fn a_file_by_its_name_is_for_every_node_of_the_org_that_says_who_it_is() {
    let (house, one, two) = house();
    for path in ["", ".md5", ".sha256"].map(|end| format!("{FILE}{end}")) {
        let hears = |credential: &str| house.hears_with(&path, Some(credential));
        assert_eq!(house.hears_with(&path, None), 401, "{path}");
        assert_eq!(hears(&format!("Bearer {one}")), 401, "it names no node");
        assert_eq!(hears(&basic("node1", &two)), 403);
        assert_eq!(hears(&basic("../node1", &one)), 403);
        assert_eq!(hears(&basic("node9", &one)), 403);
        assert_eq!(hears(&basic("node1", &one)), 200, "{path}");
        assert_eq!(hears(&basic("node2", &two)), 200, "{path}");
    }
    assert_eq!(
        house.hears_with("/files/other/lotus/key/firmware.bin", None),
        200
    );
    // Who is refused does not learn what is there.
    assert_eq!(house.hears_with("/files/dev/lotus/node1/no.bin", None), 401);
    assert_eq!(
        house.hears_with("/files/%64ev/lotus/node1/firmware.bin", None),
        401
    );
    assert_eq!(
        house.hears_with("/ota_update/%64ev/lotus/node1/key", None),
        401
    );
}

#[test]
fn curl_shows_a_secret_by_its_option_and_in_the_url() {
    let (house, one, _) = house();
    fs::write(house.dir.path().join("root.pem"), &house.root_pem).unwrap();
    let curl = |options: &[&str], user: &str, scheme: &str, port: u16| {
        let done = Command::new(needed("curl", "curl"))
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert"])
            .arg(house.dir.path().join("root.pem"))
            .args(options)
            .arg(format!("{scheme}://{user}localhost:{port}{}", path(NODE)))
            .output()
            .unwrap();
        String::from_utf8(done.stdout).unwrap()
    };
    let (http, https) = (house.http.port(), house.https.port());
    let (shown, bearer) = (
        format!("node1:{one}"),
        format!("Authorization: Bearer {one}"),
    );
    for (scheme, port) in [("http", http), ("https", https)] {
        assert_eq!(curl(&[], "", scheme, port), "401");
        assert_eq!(curl(&["-u", &shown], "", scheme, port), "200");
        let old = ["-0", "-u", &shown];
        assert_eq!(curl(&old, "", scheme, port), "200");
        assert_eq!(curl(&["-H", &bearer], "", scheme, port), "200");
        assert_eq!(curl(&["-u", "node1:x"], "", scheme, port), "403");
        assert_eq!(curl(&[], &format!("{shown}@"), scheme, port), "200");
        assert_eq!(curl(&[], "node1:x@", scheme, port), "403");
    }
}

#[test]
fn a_new_secret_ends_the_old_one_and_a_forgotten_one_counts_no_more() {
    let (house, old, _) = house();
    let hears = |secret: &str| house.hears_with(&path(NODE), Some(&basic("node1", secret)));
    let new = house.add_secret("node1");
    assert_eq!((hears(&old), hears(&new)), (403, 200));
    let people = house.people.as_ref().unwrap();
    let (org, node) = ("dev".parse().unwrap(), "node1".parse().unwrap());
    wait(people.forget_device_secret(&people.console(), &org, &node, Timestamp::now())).unwrap();
    assert_eq!(hears(&new), 403);
}

#[test]
fn a_word_that_cannot_be_one_is_said_before_any_secret_is_asked_for() {
    let (house, _, _) = house();
    assert_eq!(
        house.hears_with("/ota_update/dev/lotus/.node/key", None),
        400
    );
    assert_eq!(house.hears_with("/files/dev", None), 404);
    let post = house.raw(
        request(&path(NODE), "HTTP/1.0", &[])
            .replace("GET", "PUT")
            .as_bytes(),
    );
    assert_eq!(post.status, 405);
}

#[test]
fn without_a_database_no_org_asks_for_secrets() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("state")).unwrap();
    fs::write(dir.path().join("state/otatree.db"), "no database at all").unwrap();
    let house = House::build(
        dir,
        "settle = \"0s\"\nremoval_grace = \"0s\"\nquiet = \"0s\"",
        "",
    );
    assert!(house.people.is_err());
    house.put_renamed("dev/lotus/key/firmware.bin", &image());
    house.wait_served(NODE, &image());
}
