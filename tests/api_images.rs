//! Slots and images by the API: published as they are or in a form, promoted, rolled back, and never half.

use std::io::Write;

use base64::Engine;
use otatree::firmware::{Md5, Sha256};
use otatree::people::Role;
use serde_json::{Value, json};

use crate::api_kit::{Headers, credential, inhabited, request};
use crate::house::{Answer, House, image32, image8266};
use crate::tree_kit::restarted;

const SLOT: &str = "/orgs/dev/slots/lotus:key";
const DEVICE: &str = "dev/lotus/node/key";

/// A call with a token and bytes.
fn send(
    house: &House,
    who: &str,
    method: &str,
    path: &str,
    more: Headers<'_>,
    body: &[u8],
) -> Answer {
    let headers = [&[credential(who)], more].concat();
    let mut stream = house.connect_tls();
    // An answer may come before all is sent.
    let _ = stream.write_all(&request(method, path, &headers, body));
    Answer::read(&mut stream, false)
}

fn put(house: &House, who: &str, more: Headers<'_>, image: &[u8]) -> Answer {
    send(house, who, "PUT", &format!("{SLOT}/image"), more, image)
}

fn files(house: &House) -> Vec<String> {
    let mut all: Vec<String> = walkdir::WalkDir::new(house.ota())
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            entry
                .path()
                .strip_prefix(house.ota())
                .unwrap()
                .display()
                .to_string()
        })
        .collect();
    all.sort();
    all
}

#[track_caller]
fn done(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn what_a_developer_publishes_is_offered_before_the_call_returns() {
    // With the patience of a real server.
    let house = House::patient("settle = \"1h\"\nremoval_grace = \"1h\"", "");
    std::fs::create_dir(house.ota().join("dev")).unwrap();
    let (_, token) = house.add_token("dev", Some("lotus"), Role::Publisher);
    let who = format!("Bearer {token}");
    for seed in [1, 2] {
        let image = image8266(seed);
        let answer = done(&put(&house, &who, &[], &image));
        assert_eq!(answer["about"]["id"], Sha256::of(&image).to_string());
        assert_eq!(answer["held"], Value::Null);
        let served = house.poll8266(DEVICE, &Md5::of(b"another").to_string());
        assert_eq!((served.status, &served.body), (200, &image));
    }
    assert_eq!(files(&house), ["dev/lotus/key/firmware.bin"]);
    // Another project of the org is not the token's.
    let other = send(
        &house,
        &who,
        "PUT",
        "/orgs/dev/slots/rose:key/image",
        &[],
        &image8266(3),
    );
    assert_eq!((other.status, &*other.problem()), (403, "denied"));
    let whole = send(
        &house,
        &who,
        "PUT",
        "/orgs/dev/slots/key/image",
        &[],
        &image8266(3),
    );
    assert_eq!(whole.status, 403);
}

#[test]
fn two_people_never_overwrite_each_other_unseen() {
    let house = inhabited();
    let who = house.bearer("dev", Role::Publisher);
    let first = put(&house, &who, &[("If-None-Match", "*")], &image8266(1));
    done(&first);
    let seen = house.call_as(&who, "GET", SLOT, "");
    let tag = seen.header("etag").unwrap().to_owned();
    assert_eq!(first.header("etag"), Some(&*tag));
    done(&put(&house, &who, &[("If-Match", &tag)], &image8266(2)));
    for stale in [("If-Match", &*tag), ("If-None-Match", "*")] {
        let late = put(&house, &who, &[stale], &image8266(3));
        assert_eq!((late.status, &*late.problem()), (412, "changed"));
        let headers = [credential(&who), stale];
        let gone = house.call("DELETE", SLOT, &headers, "");
        assert_eq!(gone.status, 412);
        let back = house.call("POST", &format!("{SLOT}/rollback"), &headers, "{}");
        assert_eq!(back.status, 412);
    }
    for wrong in [
        ("If-Match", "*"),
        ("If-Match", "\"a\""),
        ("If-Match", "W/\"a\""),
        ("If-None-Match", "\"a\""),
    ] {
        assert_eq!(
            put(&house, &who, &[wrong], &image8266(3)).status,
            400,
            "{wrong:?}"
        );
    }
    house.wait_served(DEVICE, &image8266(2));
}

#[test]
fn of_two_uploads_at_once_one_wins_and_is_whole() {
    let house = inhabited();
    let who = house.bearer("dev", Role::Publisher);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=4)
            .map(|seed| {
                let (house, who) = (&house, &who);
                scope.spawn(move || {
                    put(house, who, &[("If-None-Match", "*")], &image8266(seed)).status
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let won: Vec<usize> = (0..4).filter(|at| statuses[*at] == 200).collect();
    assert_eq!(won.len(), 1, "{statuses:?}");
    house.wait_served(DEVICE, &image8266(won[0] as u64 + 1));
    assert_eq!(files(&house), ["dev/lotus/key/firmware.bin"]);
}

#[test]
fn an_announced_sum_that_does_not_fit_changes_nothing() {
    let house = inhabited();
    let who = house.bearer("dev", Role::Publisher);
    let (old, new) = (image8266(1), image8266(2));
    done(&put(&house, &who, &[], &old));
    let digest = |bytes: &[u8]| {
        let sum = Sha256::of(bytes);
        let sum = base64::engine::general_purpose::STANDARD.encode(sum.as_bytes());
        format!("sha-256=:{sum}:")
    };
    let md5 = |bytes: &[u8]| Md5::of(bytes).to_string();
    for wrong in [
        ("Content-Digest", &*digest(&old)),
        ("Content-Digest", "sha-256=:AAAA:"),
        ("Content-Digest", "md5=:AAAA:"),
        ("x-md5", &*md5(&old)),
        ("x-md5", "nothing"),
    ] {
        let answer = put(&house, &who, &[wrong], &new);
        assert_eq!(answer.status, 400, "{wrong:?} {}", answer.text());
        answer.problem();
    }
    house.wait_served(DEVICE, &old);
    let right = [("Content-Digest", &*digest(&new)), ("x-md5", &*md5(&new))];
    done(&put(&house, &who, &right, &new));
    house.wait_served(DEVICE, &new);
    assert_eq!(files(&house), ["dev/lotus/key/firmware.bin"]);
}

#[test]
fn what_is_no_image_is_refused_with_its_reason_and_leaves_no_trace() {
    let house = House::patient("largest_image = \"1 MiB\"", "");
    for org in ["dev", "other"] {
        std::fs::create_dir(house.ota().join(org)).unwrap();
    }
    let who = house.bearer("dev", Role::Publisher);
    let image = image8266(1);
    let cases: &[(&[u8], u16, &str)] = &[
        (b"", 400, "no-image"),
        (b"hello", 400, "no-image"),
        (&image[..image.len() - 1], 400, "no-image"),
        (&vec![0xe9; 2 << 20], 413, "too-large"),
    ];
    for (bytes, status, slug) in cases {
        let answer = put(&house, &who, &[], bytes);
        assert_eq!(
            (answer.status, &*answer.problem()),
            (*status, *slug),
            "{}",
            answer.text()
        );
    }
    // As long as it says nothing of its length before.
    let chunked = [
        credential(&who),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", ""),
    ];
    let head = String::from_utf8(request("PUT", &format!("{SLOT}/image"), &chunked, b"")).unwrap();
    let head = head.replace("Content-Length: \r\n", "");
    let mut stream = house.connect_tls();
    let _ = stream.write_all(head.as_bytes());
    for _ in 0..40 {
        let chunk = [
            format!("{:x}\r\n", 64 << 10).as_bytes(),
            &[0xe9; 64 << 10],
            b"\r\n",
        ]
        .concat();
        if stream.write_all(&chunk).is_err() {
            break;
        }
    }
    let answer = Answer::read(&mut stream, false);
    assert!([400, 413].contains(&answer.status), "{answer:?}");
    assert!(files(&house).is_empty(), "{:?}", files(&house));
    assert!(!house.ota().join("dev/lotus").exists());
    let missing = send(
        &house,
        &who,
        "PUT",
        "/orgs/misspelt/slots/key/image",
        &[],
        &image,
    );
    assert_eq!(missing.status, 403);
    assert!(!house.ota().join("misspelt").exists());
}

#[test]
fn another_chip_family_needs_to_be_forced() {
    let house = inhabited();
    let who = house.bearer("dev", Role::Publisher);
    done(&put(&house, &who, &[], &image8266(1)));
    let answer = put(&house, &who, &[], &image32(1));
    assert_eq!((answer.status, &*answer.problem()), (409, "wrong-family"));
    let forced = format!("{SLOT}/image?force_family=true&version=2.0");
    done(&send(&house, &who, "PUT", &forced, &[], &image32(1)));
    let seen = house.call_as(&who, "GET", SLOT, "").json();
    assert_eq!(seen["firmware"]["about"]["version"], "2.0");
}

#[test]
fn an_upload_that_is_cut_off_at_any_tenth_changes_nothing() {
    let house = inhabited();
    let who = house.bearer("dev", Role::Publisher);
    let (old, new) = (image8266(1), image8266(2));
    done(&put(&house, &who, &[], &old));
    let whole = request("PUT", &format!("{SLOT}/image"), &[credential(&who)], &new);
    let head = whole.len() - new.len();
    for tenth in 0..10 {
        let mut stream = house.connect_tls();
        stream
            .write_all(&whole[..head + new.len() * tenth / 10])
            .unwrap();
        drop(stream);
        house.wait_served(DEVICE, &old);
    }
    crate::house::wait_until("no draft is left", || {
        files(&house) == ["dev/lotus/key/firmware.bin"]
    });
}

fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in parts {
        let file = if *name == "file" {
            "; filename=\"firmware.bin\""
        } else {
            ""
        };
        body.extend_from_slice(
            format!("--xx\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n")
                .as_bytes(),
        );
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--xx--\r\n");
    body
}

const FORM: (&str, &str) = ("Content-Type", "multipart/form-data; boundary=xx");

#[test]
fn a_form_is_taken_when_its_file_comes_last() {
    let house = inhabited();
    let who = house.bearer("dev", Role::Publisher);
    let path = format!("{SLOT}/image");
    let image = image8266(1);
    let good = form(&[("version", b"1.2"), ("title", b""), ("file", &image)]);
    done(&send(&house, &who, "POST", &path, &[FORM], &good));
    let seen = house.call_as(&who, "GET", SLOT, "").json();
    assert_eq!(seen["firmware"]["about"]["version"], "1.2");
    house.wait_served(DEVICE, &image);
}

#[test]
fn a_form_that_is_broken_in_any_way_changes_nothing() {
    let house = inhabited();
    let who = house.bearer("dev", Role::Publisher);
    let path = format!("{SLOT}/image");
    let image = image8266(1);
    let many: Vec<(&str, &[u8])> = vec![("title", b"x"); 100];
    let long = vec![b'x'; 100 << 10];
    let good = form(&[("file", &image)]);
    let cases: Vec<(&str, (&str, &str), Vec<u8>)> = vec![
        (
            "the file before a field",
            FORM,
            form(&[("file", &image), ("version", b"1")]),
        ),
        (
            "two files",
            FORM,
            form(&[("file", &image), ("file", &image)]),
        ),
        ("no file", FORM, form(&[("version", b"1")])),
        ("nothing", FORM, b"--xx--\r\n".to_vec()),
        (
            "100 parts",
            FORM,
            form(&[&many[..], &[("file", &image)]].concat()),
        ),
        (
            "an unknown field",
            FORM,
            form(&[("colour", b"red"), ("file", &image)]),
        ),
        (
            "an odd kind",
            FORM,
            form(&[("kind", b"../x"), ("file", &image)]),
        ),
        (
            "a long field",
            FORM,
            form(&[("title", &long), ("file", &image)]),
        ),
        (
            "no text",
            FORM,
            form(&[("title", b"\xff"), ("file", &image)]),
        ),
        (
            "another boundary",
            ("Content-Type", "multipart/form-data; boundary=yy"),
            good.clone(),
        ),
        (
            "no boundary",
            ("Content-Type", "multipart/form-data"),
            good.clone(),
        ),
        ("no form", ("Content-Type", "text/plain"), good.clone()),
        ("cut off", FORM, good[..good.len() - 20].to_vec()),
        ("empty", FORM, Vec::new()),
    ];
    for (what, kind, body) in cases {
        let answer = send(&house, &who, "POST", &path, &[kind], &body);
        assert!((400..=415).contains(&answer.status), "{what}: {answer:?}");
        answer.problem();
        if what == "the file before a field" {
            assert!(
                answer.text().contains("must be the last"),
                "{}",
                answer.text()
            );
        }
    }
    assert!(files(&house).is_empty());
}

#[test]
fn an_image_goes_from_a_node_to_all_and_back() {
    let house = inhabited();
    let who = house.bearer("dev", Role::Publisher);
    let (old, new) = (image8266(1), image8266(2));
    done(&put(&house, &who, &[], &old));
    let node = "/orgs/dev/slots/lotus:node";
    done(&send(
        &house,
        &who,
        "PUT",
        &format!("{node}/image"),
        &[],
        &new,
    ));
    house.wait_served(DEVICE, &new);
    let into = json!({"to": "lotus:key"}).to_string();
    let promoted = house.call_as(&who, "POST", &format!("{node}/promote"), &into);
    assert_eq!(done(&promoted)["before"], Sha256::of(&old).to_string());
    assert_eq!(files(&house), ["dev/lotus/key/firmware.bin"]);
    house.wait_served("dev/lotus/another/key", &new);
    // Not into another org, nor anywhere but into a slot.
    for to in ["", "..", "+", "../other/key", "a:b:c:d", &"x".repeat(300)] {
        let into = json!({ "to": to }).to_string();
        let answer = house.call_as(&who, "POST", &format!("{SLOT}/promote"), &into);
        assert_eq!(answer.status, 400, "{to}");
    }
    let versions = house
        .call_as(&who, "GET", &format!("{SLOT}/versions"), "")
        .json();
    let ids: Vec<&str> = versions
        .as_array()
        .unwrap()
        .iter()
        .map(|version| version["id"].as_str().unwrap())
        .collect();
    assert!(ids.contains(&&*Sha256::of(&old).to_string()), "{versions}");
    let back = house.call_as(&who, "POST", &format!("{SLOT}/rollback"), "{}");
    assert_eq!(done(&back)["about"]["id"], Sha256::of(&old).to_string());
    house.wait_served("dev/lotus/another/key", &old);
    let said = json!({"title": "Sensor", "version": "1.0"}).to_string();
    let described = house.call_as(&who, "PUT", &format!("{SLOT}/notes"), &said);
    assert_eq!(described.status, 204, "{}", described.text());
    let seen = house.call_as(&who, "GET", SLOT, "");
    assert_eq!(seen.json()["firmware"]["about"]["title"], "Sensor");
    assert_eq!(seen.header("etag"), described.header("etag"));
    let listed = house.call_as(&who, "GET", "/orgs/dev/slots", "").json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed[0], seen.json());
    done(&house.call_as(&who, "DELETE", SLOT, ""));
    let nothing = house.call_as(&who, "DELETE", SLOT, "");
    assert_eq!(nothing.status, 404, "{}", nothing.text());
    // All of it is in the log.
    let admin = house.bearer("dev", Role::Admin);
    let log = house
        .call_as(&admin, "GET", "/audit?org=dev&most=8", "")
        .json();
    let actions: Vec<&str> = log
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|line| line["action"].as_str())
        .collect();
    let all = [
        "token-add",
        "delete",
        "describe",
        "rollback",
        "delete",
        "promote",
        "publish",
        "publish",
    ];
    assert_eq!(actions, all);
}

#[test]
fn a_lost_laptop_is_undone_in_one_step() {
    let house = inhabited();
    let root = house.sign_in("root");
    let (good, mine) = (
        house.bearer("dev", Role::Publisher),
        house.add_token("dev", None, Role::Publisher),
    );
    let (id, thief) = (mine.0, format!("Bearer {}", mine.1));
    done(&put(&house, &good, &[], &image8266(1)));
    let since = jiff::Timestamp::now().to_string();
    let other = |slot: &str| format!("/orgs/dev/slots/{slot}/image");
    for seed in [11, 12] {
        done(&put(&house, &thief, &[], &image8266(seed)));
        done(&send(
            &house,
            &thief,
            "PUT",
            &other("lotus:fresh"),
            &[],
            &image8266(seed),
        ));
        done(&send(
            &house,
            &thief,
            "PUT",
            &other("lotus:mended"),
            &[],
            &image8266(seed),
        ));
    }
    done(&send(
        &house,
        &good,
        "PUT",
        &other("lotus:mended"),
        &[],
        &image8266(2),
    ));
    let undo = json!({ "since": since }).to_string();
    let path = format!("/tokens/{id}/undo");
    assert_eq!(house.call_as(&good, "POST", &path, &undo).status, 404);
    let undone = done(&house.call_as(&root, "POST", &path, &undo));
    let of = |slot: &str| {
        let all = undone.as_array().unwrap();
        all.iter().find(|one| one["path"] == slot).unwrap().clone()
    };
    assert_eq!(of("dev/lotus/key")["failed"], Value::Null, "{undone}");
    assert_eq!(
        of("dev/lotus/key")["back_to"],
        Sha256::of(&image8266(1)).to_string()
    );
    assert_eq!(of("dev/lotus/fresh")["back_to"], Value::Null);
    assert!(of("dev/lotus/mended")["failed"].is_string());
    house.wait_served(DEVICE, &image8266(1));
    assert_eq!(
        files(&house),
        [
            "dev/lotus/key/firmware.bin",
            "dev/lotus/mended/firmware.bin"
        ]
    );
    assert_eq!(put(&house, &thief, &[], &image8266(13)).status, 401);
}

#[test]
fn words_that_could_leave_the_tree_are_refused_in_every_place() {
    let house = inhabited();
    let who = house.bearer("dev", Role::Publisher);
    let long = "x".repeat(300);
    for word in [
        "..",
        "%2e%2e",
        "..%2f..",
        "a%2Fb",
        "a%5Cb",
        "%00",
        "a%20b",
        ".git",
        "software",
        "%ff",
        "",
        ":",
        "a:",
        ":a",
        "a::b",
        "a:..",
        "a:b:c:d",
        "+",
        "+:+",
        "a:+",
        "key%3A..",
        "%EF%BD%8B",
        &long,
    ] {
        for path in [
            format!("/orgs/dev/slots/{word}/image"),
            format!("/orgs/{word}/slots/key/image"),
        ] {
            let answer = send(&house, &who, "PUT", &path, &[], &image8266(1));
            assert!(
                [400, 403, 404].contains(&answer.status),
                "{path}: {answer:?}"
            );
            answer.problem();
        }
    }
    assert!(files(&house).is_empty());
}

#[test]
fn a_file_is_inspected_without_being_published() {
    let house = inhabited();
    let who = house.bearer("dev", Role::Viewer);
    let image = image8266(1);
    let good = done(&send(&house, &who, "POST", "/inspect", &[], &image));
    assert_eq!(good["facts"]["sha256"], Sha256::of(&image).to_string());
    let bad = done(&send(&house, &who, "POST", "/inspect", &[], b"hello"));
    assert!(bad["defect"].is_object(), "{bad}");
    let large = send(&house, &who, "POST", "/inspect", &[], &vec![0; 33 << 20]);
    assert_eq!((large.status, &*large.problem()), (413, "too-large"));
    assert!(files(&house).is_empty());
}

#[test]
fn a_token_that_is_revoked_during_an_upload_publishes_nothing() {
    let house = inhabited();
    let root = house.sign_in("root");
    let (id, token) = house.add_token("dev", None, Role::Publisher);
    let who = format!("Bearer {token}");
    let (old, new) = (image8266(1), image8266(2));
    done(&put(&house, &who, &[], &old));
    let whole = request("PUT", &format!("{SLOT}/image"), &[credential(&who)], &new);
    let mut stream = house.connect_tls();
    stream.write_all(&whole[..whole.len() - 1]).unwrap();
    stream.flush().unwrap();
    // It was let in, and its draft lies in the tree.
    crate::house::wait_until("the upload has begun", || files(&house).len() == 2);
    let revoked = house.call_as(&root, "DELETE", &format!("/tokens/{id}"), "");
    assert_eq!(revoked.status, 204);
    stream.write_all(&whole[whole.len() - 1..]).unwrap();
    let answer = Answer::read(&mut stream, false);
    assert_eq!((answer.status, &*answer.problem()), (401, "not-signed-in"));
    house.wait_served(DEVICE, &old);
    assert_eq!(files(&house), ["dev/lotus/key/firmware.bin"]);
}

#[test]
fn a_length_that_lies_publishes_nothing() {
    let house = inhabited();
    let who = house.bearer("dev", Role::Publisher);
    let image = image8266(1);
    let path = format!("{SLOT}/image");
    for length in [image.len() - 1, image.len() + 1, 1, 0] {
        let length = length.to_string();
        let headers = [credential(&who), ("Content-Length", &*length)];
        let mut stream = house.connect_tls();
        let _ = stream.write_all(&request("PUT", &path, &headers, &image));
        stream.conn.send_close_notify();
        let _ = stream.flush();
        drop(stream.sock.shutdown(std::net::Shutdown::Write));
        let mut all = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut all);
        if let Some(answer) = Answer::parse(&all, false) {
            assert_eq!(answer.status, 400, "{length}: {}", answer.text());
        }
    }
    crate::house::wait_until("nothing is left", || files(&house).is_empty());
}

fn hold(house: &House, who: &str, method: &str, path: &str) -> u16 {
    let body = match method {
        "PUT" => json!({ "reason": "the pump does not stop" }).to_string(),
        _ => String::new(),
    };
    let json = [("content-type", "application/json")];
    send(house, who, method, path, &json, body.as_bytes()).status
}

#[test]
fn what_a_person_holds_is_given_to_nobody_until_it_is_released_also_after_a_restart() {
    let house = inhabited();
    let owner = house.sign_in("root");
    let image = image8266(1);
    done(&put(&house, &owner, &[], &image));
    let decision = |house: &House| {
        house
            .head(&format!("/ota_update/{DEVICE}"))
            .decision()
            .to_owned()
    };
    assert_eq!(decision(&house), "update");
    for path in [
        "/hold",
        "/orgs/dev/hold",
        &format!("{SLOT}/hold"),
        "/orgs/dev/slots/lotus/hold",
    ] {
        assert_eq!(hold(&house, &owner, "DELETE", path), 404);
        assert_eq!(hold(&house, &owner, "PUT", path), 204);
        assert_eq!(decision(&house), "held on-hold", "{path}");
        let slot = house.call("GET", SLOT, &[credential(&owner)], "").json();
        assert_eq!(slot["holds"][0]["reason"], "the pump does not stop");
        assert_eq!(hold(&house, &owner, "DELETE", path), 204);
        assert_eq!(decision(&house), "update", "{path}");
    }
    // Either holds.
    assert_eq!(hold(&house, &owner, "PUT", "/hold"), 204);
    assert_eq!(hold(&house, &owner, "PUT", &format!("{SLOT}/hold")), 204);
    assert_eq!(hold(&house, &owner, "DELETE", &format!("{SLOT}/hold")), 204);
    assert_eq!(decision(&house), "held on-hold");
    let house = restarted(house, "settle = \"0s\"", |_| {});
    assert_eq!(decision(&house), "held on-hold");
    assert_eq!(
        house.head("/files/dev/lotus/key/firmware.bin").decision(),
        "held on-hold"
    );
    let house = restarted(house, "settle = \"0s\"", |house| {
        std::fs::write(house.dir.path().join("state/holds.json"), "nonsense").unwrap();
    });
    assert_eq!(decision(&house), "held bad-policy");
    assert!(house.board.now()["holds"].contains("holds.json"));
    let house = restarted(house, "settle = \"0s\"", |house| {
        std::fs::remove_file(house.dir.path().join("state/holds.json")).unwrap();
    });
    house.wait_decision(DEVICE, "update");
}
