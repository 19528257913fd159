//! The command line on a small tree: what it says is what the server does.

use std::fs;

use otatree::firmware::forge::{esp8266_plain, gzipped, littlefs, merged};
use otatree::firmware::{Md5, Sha256};
use serde_json::Value;

use crate::house::{Answer, esp32, esp8266, image32, image8266, wait_until};
use crate::program::{LISTEN, Place, ask};

/// A tree with each kind of slot.
fn tree() -> Place {
    let place = Place::new("");
    // Each node says both that it runs its image and that it does not.
    place.put("ota.toml", b"by_hand = \"update\"");
    place.put("dev/sensor/firmware.bin", &image8266(1));
    place.put("dev/+/sensor/firmware.bin", &image8266(2));
    place.put("dev/lotus/sensor/firmware.bin", &image8266(3));
    place.put("dev/node4/firmware.bin", &image8266(4));
    place.put("dev/+/node5/firmware.bin", &image8266(5));
    place.put("dev/lotus/node6/firmware.bin", &image8266(6));
    place.put("dev/lotus/node7/sensor/firmware.bin", &image8266(7));
    place.put("dev/relay/firmware.bin", &image32(1));
    place.put("dev/packed/firmware.bin.gz", &gzipped(&image8266(8)));
    place.put("dev/broken/firmware.bin", &image8266(9)[..9000]);
    place.put("dev/sensor/littlefs.bin", &littlefs(4096, 16));
    place
}

/// Devices, the file that each would get, and one of the hashes that it reports when it runs that.
fn table() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    vec![
        (
            "dev/lotus/node7/sensor",
            "dev/lotus/node7/sensor/firmware.bin",
            image8266(7),
        ),
        (
            "dev/lotus/node6/sensor",
            "dev/lotus/node6/firmware.bin",
            image8266(6),
        ),
        (
            "dev/other/node6/sensor",
            "dev/+/sensor/firmware.bin",
            image8266(2),
        ),
        (
            "dev/lotus/node5/sensor",
            "dev/+/node5/firmware.bin",
            image8266(5),
        ),
        (
            "dev/lotus/node4/sensor",
            "dev/node4/firmware.bin",
            image8266(4),
        ),
        (
            "dev/lotus/node3/sensor",
            "dev/lotus/sensor/firmware.bin",
            image8266(3),
        ),
        ("dev/a/b/packed", "dev/packed/firmware.bin.gz", image8266(8)),
        ("dev/a/b/relay", "dev/relay/firmware.bin", image32(1)),
        ("dev/a/b/broken", "", Vec::new()),
        ("dev/a/b/nothing", "", Vec::new()),
        ("nobody/a/b/sensor", "", Vec::new()),
    ]
}

/// One visit to the running server and the same question to `which`.
struct Visit<'a> {
    arguments: Vec<&'a str>,
    headers: Vec<(&'static str, &'a str)>,
}

#[test]
fn which_says_what_a_running_server_answers() {
    let place = tree();
    let program = place.serve();
    let http = program.addresses().0;
    let path = |device: &str| format!("/ota_update/{device}");
    for (device, ..) in table() {
        wait_until("the tree is examined", || {
            ask(http, "HEAD", &path(device), &[]).decision() != "held not-ready"
        });
    }
    let other = Md5::of(b"other").to_string();
    let other_sha = Sha256::of(b"other").to_string();
    for (device, file, runs) in table() {
        let same = Md5::of(&runs).to_string();
        let mut visits = vec![Visit {
            arguments: vec![],
            headers: vec![],
        }];
        for md5 in [&same, &other] {
            visits.push(Visit {
                arguments: vec!["--family", "esp8266", "--md5", md5],
                headers: esp8266(md5),
            });
            visits.push(Visit {
                arguments: vec!["--family", "esp32", "--md5", md5, "--sha256", &other_sha],
                headers: esp32(md5, &other_sha),
            });
        }
        let mut filesystem = esp8266(&other);
        filesystem.retain(|(name, _)| *name != "x-ESP8266-mode");
        filesystem.push(("x-ESP8266-mode", "spiffs"));
        visits.push(Visit {
            arguments: vec!["--family", "esp8266", "--md5", &other, "--filesystem"],
            headers: filesystem,
        });
        for visit in visits {
            let (said, exit) = place.json(&[&["which", device], &visit.arguments[..]].concat(), "");
            assert_eq!(exit, Some(0));
            let answer: Answer = ask(http, "HEAD", &path(device), &visit.headers);
            assert_eq!(
                said["decision"],
                answer.decision(),
                "{device} {:?}",
                visit.arguments
            );
            if answer.status == 200 {
                assert_eq!(said["md5"].as_str(), answer.header("x-md5"), "{said}");
            }
            if !visit.arguments.contains(&"--filesystem") {
                assert_eq!(said["image"].as_str().unwrap_or_default(), file, "{said}");
            }
            let slots = said["slots"].as_array().unwrap();
            assert_eq!(slots.len(), 7, "{said}");
            let won = slots.iter().find(|slot| slot["won"] == true);
            assert_eq!(won.map(|slot| &slot["slot"]), said.get("slot"), "{said}");
        }
    }
}

#[test]
fn which_reads_a_fleet_from_stdin() {
    let place = tree();
    let (runs, old) = (Md5::of(&image8266(7)), Md5::of(b"old"));
    let input = format!(
        "dev/lotus/node7/sensor {runs}\n\ndev/lotus/node7/sensor {old}\n  dev/a/b/nothing\ndev/a/b/broken {old}\n"
    );
    let (said, exit) = place.json(&["which", "--stdin", "--family", "esp8266"], &input);
    let decisions: Vec<&str> = said
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["decision"].as_str().unwrap())
        .collect();
    assert_eq!(
        decisions,
        ["up-to-date", "update", "no-image", "held corrupt"]
    );
    assert_eq!(exit, Some(0));
}

#[test]
fn a_word_that_cannot_be_one_is_2_with_its_line() {
    use std::io::Write as _;
    let place = tree();
    for wrong in [
        "dev/lotus/node7",
        "dev/../node7/sensor",
        "dev/lotus/+/sensor",
        "dev//node7/sensor",
    ] {
        let output = place.run(&["which", wrong]);
        assert_eq!(output.status.code(), Some(2), "{wrong}: {output:?}");
        let mut child = place
            .command(&["which", "--stdin"])
            .stdin(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin
            .write_all(format!("dev/a/b/c\n{wrong}\n").as_bytes())
            .unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("line 2"),
            "{output:?}"
        );
    }
}

#[test]
fn which_without_json_shows_the_slots_and_the_winner() {
    let place = tree();
    let output = place.run(&["which", "dev/lotus/node3/sensor"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "dev/lotus/node3/sensor: update");
    let winners: Vec<&&str> = lines.iter().filter(|line| line.starts_with("> ")).collect();
    assert_eq!(winners.len(), 1);
    assert!(winners[0].starts_with("> dev/lotus/sensor/"), "{text}");
}

#[test]
fn list_shows_every_slot_with_an_image_and_below_a_folder_only_those() {
    let place = tree();
    let slots = |arguments: &[&str]| {
        let (said, exit) = place.json(arguments, "");
        assert_eq!(exit, Some(0));
        let row = |row: &Value| {
            format!(
                "{} {}",
                row["slot"].as_str().unwrap(),
                row["kind"].as_str().unwrap()
            )
        };
        said.as_array().unwrap().iter().map(row).collect::<Vec<_>>()
    };
    let all = slots(&["list"]);
    assert_eq!(all.len(), 11, "{all:?}");
    assert!(all.contains(&"dev/sensor filesystem".to_owned()), "{all:?}");
    assert_eq!(
        slots(&["list", "dev/lotus"]),
        [
            "dev/lotus/node6 firmware",
            "dev/lotus/node7/sensor firmware",
            "dev/lotus/sensor firmware"
        ]
    );
    let (said, _) = place.json(&["list", "dev/broken"], "");
    assert_eq!(said[0]["withheld"], "corrupt", "{said}");
    assert_eq!(said[0]["facts"], Value::Null);
}

#[test]
fn check_is_1_with_all_problems_at_once_and_0_without() {
    let place = tree();
    place.put(
        "dev/merged/firmware.bin",
        &merged(otatree::firmware::forge::Esp32::default()),
    );
    place.configure("[tls]\ncertificate = \"none.pem\"\nkey = \"none.pem\"\n");
    let (said, exit) = place.json(&["check"], "");
    let said = said.as_array().unwrap();
    assert_eq!(exit, Some(1));
    let about = |words: &str| {
        said.iter()
            .any(|one| one["text"].as_str().unwrap().contains(words))
    };
    assert!(
        about("none.pem") && about("dev/broken") && about("dev/merged"),
        "{said:#?}"
    );
    assert!(!place.path("state").exists(), "it changes nothing");

    let place = Place::new("");
    place.put("dev/sensor/firmware.bin", &image8266(1));
    let (said, exit) = place.json(&["check"], "");
    assert_eq!(
        (said.as_array().map(Vec::len), exit),
        (Some(0), Some(0)),
        "{said}"
    );
    assert_eq!(place.run(&["check"]).stdout, b"no problems\n");
    assert!(!place.path("state").exists(), "it changes nothing");

    place.configure(&format!("only{LISTEN}[tree]\nroot = \"nowhere\"\n"));
    let (said, exit) = place.json(&["check"], "");
    assert_eq!(exit, Some(1), "{said}");
    place.configure(&format!("only{LISTEN}[tree]\nrot = \"nowhere\"\n"));
    let plain = place.run(&["check"]);
    assert_eq!((plain.status.code(), plain.stdout.len()), (Some(78), 0));
    for (broken, words) in [
        (
            format!("only{LISTEN}[tree]\nrot = \"nowhere\"\n"),
            "unknown field `rot`",
        ),
        ("only[[listen]\n".to_owned(), "TOML parse error"),
        ("only\n".to_owned(), "missing field `listen`"),
    ] {
        place.configure(&broken);
        let (said, exit) = place.json(&["check"], "");
        assert_eq!((said.as_array().map(Vec::len), exit), (Some(1), Some(78)));
        let text = said[0]["text"].as_str().unwrap();
        assert!(
            text.contains(words) && text.contains("config.toml"),
            "{said}"
        );
        assert_eq!(said[0]["room"], "configuration");
        assert_eq!(said[0]["serious"], true);
    }
    fs::remove_file(place.path("config.toml")).unwrap();
    let (said, exit) = place.json(&["check"], "");
    assert_eq!(exit, Some(78));
    assert!(said[0]["text"].as_str().unwrap().contains("cannot read"));
}

#[test]
fn inspect_says_what_the_bytes_are() {
    let place = tree();
    let file = |name: &str, bytes: &[u8]| {
        fs::write(place.path(name), bytes).unwrap();
        place.json(&["inspect", name], "")
    };
    let image = image8266(1);
    let (said, exit) = file("app.bin", &image);
    assert_eq!(
        (&said["facts"]["family"], exit),
        (&Value::from("esp8266"), Some(0)),
        "{said}"
    );
    assert_eq!(said["facts"]["md5"], Md5::of(&image).to_string());
    assert_eq!(
        said["facts"]["identities"]["md5"].as_array().map(Vec::len),
        Some(4)
    );
    let (said, _) = file("sdk.bin", &esp8266_plain(1));
    assert_eq!(said["facts"]["espressif_sdk"], true, "{said}");
    let text = place.run(&["inspect", "sdk.bin"]).stdout;
    assert!(String::from_utf8_lossy(&text).contains("not for Arduino nodes"));
    let (said, exit) = file("half.bin", &image[..9000]);
    assert_eq!(exit, Some(1));
    assert!(said["defect"] != Value::Null, "{said}");
    let (said, exit) = file("littlefs.bin", &littlefs(4096, 16));
    assert_eq!(
        (&said["kind"], exit),
        (&Value::from("filesystem"), Some(0)),
        "{said}"
    );
    let output = place.run(&["inspect", "nowhere.bin"]);
    assert_eq!(output.status.code(), Some(70), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere.bin"));
}

#[test]
fn a_reader_that_closes_its_pipe_is_no_error() {
    let place = tree();
    let script = format!("'{}' list | head -n 1", env!("CARGO_BIN_EXE_otatree"));
    let output = crate::program::bare("sh".as_ref(), place.dir.path())
        .args(["-c", &script])
        .output()
        .unwrap();
    assert_eq!(output.stderr, b"", "{output:?}");
    assert_eq!(
        output.stdout.iter().filter(|byte| **byte == b'\n').count(),
        1
    );
}
