//! The real server, killed with no warning while it carries an order of people out.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use otatree::firmware::Sha256;
use otatree::firmware::forge::Esp8266;
use serde_json::{Value, json};
use walkdir::WalkDir;

use crate::api_kit::request;
use crate::commands::{printed, token};
use crate::house::{Answer, DEADLINE, wait_until};
use crate::program::{Place, Program, ask};

/// Two slots of one org.
const SLOT: &str = "/orgs/dev/slots/+:key";
const GOAL: &str = "/orgs/dev/slots/+:goal";

/// More than the server gathers before it writes, so that a draft may be half there.
const SIZE: usize = 600 * 1024;

/// Bytes sent at a time.
const PIECE: usize = 16 * 1024;

fn image(seed: u64) -> Vec<u8> {
    let usual = Esp8266::default();
    Esp8266 {
        size: SIZE,
        seed,
        ..usual
    }
    .build()
}

/// The same numbers each time (SplitMix64).
struct Dice(u64);

impl Dice {
    /// A number below `end`.
    fn roll(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }
}

/// A place with an org, a server, and who may do everything there.
struct Stage {
    place: Place,
    bearer: String,
    program: Option<Program>,
    /// How long an upload takes here.
    usual: Duration,
}

impl Stage {
    fn new() -> Self {
        let place = Place::new("");
        printed(&place.run(&["org", "add", "dev"]));
        let arguments = ["dev", "--role", "admin", "--expires", "never"];
        let bearer = format!("Bearer {}", token(&place, &arguments));
        let program = Some(place.serve());
        let mut stage = Self {
            place,
            bearer,
            program,
            usual: Duration::ZERO,
        };
        let begun = Instant::now();
        stage.publish(SLOT, &image(0));
        stage.usual = begun.elapsed();
        stage
    }

    fn program(&self) -> &Program {
        self.program.as_ref().unwrap()
    }

    fn request(&self, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
        let kind = match method {
            "PUT" => "application/octet-stream",
            _ => "application/json",
        };
        let headers = [("Authorization", &*self.bearer), ("Content-Type", kind)];
        request(method, path, &headers, body)
    }

    /// A call that is carried out to its end.
    #[track_caller]
    fn call(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.program().addresses().0).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(&self.request(method, path, body)).unwrap();
        let answer = Answer::read(&mut stream, false);
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        answer
    }

    #[track_caller]
    fn publish(&self, slot: &str, image: &[u8]) {
        self.call("PUT", &format!("{slot}/image"), image);
    }

    /// Sends so many bytes of a request, waits so long for the answer, and kills the server. Says whether the server had
    /// said that it is done.
    fn kill_during(&mut self, request: &[u8], sent: usize, patience: Duration) -> bool {
        let mut stream = TcpStream::connect(self.program().addresses().0).unwrap();
        for piece in request[..sent].chunks(PIECE) {
            stream.write_all(piece).unwrap();
        }
        let patience = patience.max(Duration::from_micros(1));
        stream.set_read_timeout(Some(patience)).unwrap();
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        // SIGKILL. What it had sent by then can still be read.
        self.program = None;
        let _ = stream.read_to_end(&mut heard);
        let answer = Answer::parse(&heard, false);
        if let Some(answer) = &answer {
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        answer.is_some()
    }

    /// What lies in a slot: nothing, or one whole file.
    fn lies(&self, slot: &str) -> Option<Vec<u8>> {
        let name = slot.rsplit(':').next().unwrap();
        fs::read(self.place.path(&format!("ota/dev/+/{name}/firmware.bin"))).ok()
    }

    /// A new server, that has cleared away what the old one left, and gives what lies in the slots.
    fn restart(&mut self) {
        self.program = Some(self.place.serve());
        let http = self.program().addresses().0;
        for slot in [SLOT, GOAL] {
            let name = slot.rsplit(':').next().unwrap();
            let is = self.lies(slot);
            wait_until(&format!("{name} is served"), || {
                let path = format!("/ota_update/dev/any/node/{name}");
                let answer = ask(http, "GET", &path, &[]);
                match &is {
                    Some(image) => answer.status == 200 && answer.body == *image,
                    None => answer.decision() == "no-image",
                }
            });
        }
        wait_until("no draft is left", || self.files(".otatree.").is_empty());
        let images = self.files("ota/dev/+/");
        assert!(
            images.iter().all(|path| path.ends_with("/firmware.bin")),
            "{images:?}"
        );
    }

    /// Files of tree and state with this in their path.
    fn files(&self, part: &str) -> Vec<String> {
        let all = WalkDir::new(self.place.dir.path()).into_iter().flatten();
        all.filter(|entry| entry.file_type().is_file())
            .map(|entry| entry.path().display().to_string())
            .filter(|path| path.contains(part))
            .collect()
    }

    /// The images that the audit log says were published, the newest first.
    fn recorded(&self) -> Vec<String> {
        let path = "/audit?org=dev&action=publish&most=1000";
        let lines = self.call("GET", path, b"").json();
        let after = |line: &Value| line["after"].as_str().unwrap().to_owned();
        lines.as_array().unwrap().iter().map(after).collect()
    }
}

/// The kill comes somewhere in the upload, or while the server puts it in its place, or a moment after its answer.
fn rounds(rounds: u64) {
    let mut stage = Stage::new();
    let mut dice = Dice(7);
    let mut old = image(0);
    let mut told = BTreeSet::from([Sha256::of(&old).to_string()]);
    let mut ends = [0; 3];
    for round in 1..=rounds {
        let new = image(round);
        let request = stage.request("PUT", &format!("{SLOT}/image"), &new);
        let usual = u64::try_from(stage.usual.as_micros()).unwrap();
        let (sent, patience) = match round % 3 {
            0 => (dice.roll(request.len() as u64), dice.roll(3000)),
            _ => (request.len() as u64, dice.roll(usual * 3 / 2)),
        };
        let sent = usize::try_from(sent).unwrap();
        let done = stage.kill_during(&request, sent, Duration::from_micros(patience));
        let what = format!("round {round}: {sent} bytes, {patience} µs, done: {done}");
        let is = stage.lies(SLOT).unwrap();
        assert!(is == new || (is == old && !done), "{what}");
        stage.restart();
        assert_eq!(stage.lies(SLOT), Some(is.clone()), "{what}");
        let id = Sha256::of(&new).to_string();
        if done {
            told.insert(id.clone());
        }
        let recorded = stage.recorded();
        assert!(is == new || !recorded.contains(&id), "{what}");
        assert!(told.iter().all(|id| recorded.contains(id)), "{what}");
        let once: BTreeSet<&String> = recorded.iter().collect();
        assert_eq!(once.len(), recorded.len(), "{what}");
        ends[usize::from(is == new) + usize::from(done)] += 1;
        old = is;
    }
    println!("the old image, the new one without an answer, the new one with it: {ends:?}");
    assert!(ends[0] > 0 && ends[2] > 0, "{ends:?}");
}

#[test]
fn a_server_that_is_killed_during_an_upload_has_the_old_image_or_the_new_one() {
    rounds(24);
}

#[test]
#[ignore = "200 rounds: cargo test --test all -- --ignored killed"]
fn a_server_that_is_killed_200_times_during_an_upload_has_the_old_image_or_the_new_one() {
    rounds(200);
}

#[test]
fn a_server_that_is_killed_during_an_order_has_carried_it_out_or_not() {
    let mut stage = Stage::new();
    let mut dice = Dice(11);
    let into = json!({"to": "+:goal"}).to_string();
    let mut ends = [0; 3];
    for round in 0..12 {
        let (first, second) = (image(100 + 2 * round), image(101 + 2 * round));
        stage.publish(SLOT, &first);
        stage.publish(SLOT, &second);
        let goal = stage.lies(GOAL);
        let (method, path, body) = match round % 3 {
            0 => ("POST", format!("{SLOT}/rollback"), "{}"),
            1 => ("POST", format!("{SLOT}/promote"), &*into),
            _ => ("DELETE", SLOT.to_owned(), ""),
        };
        let request = stage.request(method, &path, body.as_bytes());
        let usual = u64::try_from(stage.usual.as_micros()).unwrap();
        let patience = Duration::from_micros(dice.roll(usual));
        let done = stage.kill_during(&request, request.len(), patience);
        let before = (Some(second.clone()), goal.clone());
        let between = (Some(second.clone()), Some(second.clone()));
        let after = match round % 3 {
            0 => (Some(first), goal),
            1 => (None, Some(second)),
            _ => (None, goal),
        };
        let is = (stage.lies(SLOT), stage.lies(GOAL));
        let what = format!("round {round}: {path} after {patience:?}, done: {done}");
        let half = round % 3 == 1 && is == between;
        assert!(is == after || (!done && (is == before || half)), "{what}");
        ends[if half {
            1
        } else {
            2 * usize::from(is == after)
        }] += 1;
        stage.restart();
        assert_eq!((stage.lies(SLOT), stage.lies(GOAL)), is, "{what}");
        let actions: &[&str] = match round % 3 {
            0 => &["rollback"],
            1 => &["delete", "promote"],
            _ => &["delete"],
        };
        if done {
            let lines = stage.call("GET", "/audit?org=dev&most=2", b"").json();
            let mut lines = lines.as_array().unwrap().iter();
            for action in actions {
                let found = lines.any(|line| line["action"] == *action);
                assert!(found, "{what}: {action}");
            }
        }
    }
    println!("as before, half promoted, carried out: {ends:?}");
    assert!(ends[2] > 0, "{ends:?}");
}
