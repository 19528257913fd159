//! What the admin page of Frugal-IoT sends, without its holes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use otatree::people::Role;
use serde_json::json;

use crate::api_kit::{Headers, PASSWORD, inhabited};
use crate::house::{Answer, House, image8266};

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn send(
    house: &House,
    who: &str,
    method: &str,
    path: &str,
    more: Headers<'_>,
    body: &[u8],
) -> Answer {
    use std::io::Write;
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    let who = ("Authorization", who);
    for (name, value) in more
        .iter()
        .chain([&who].into_iter().filter(|who| !who.1.is_empty()))
    {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = house.connect_tls();
    let _ = stream.write_all(&[head.as_bytes(), b"\r\n", body].concat());
    Answer::read(&mut stream, false)
}

fn form(parts: &[(&str, &str)], image: Option<&[u8]>, after: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    let text = |body: &mut Vec<u8>, parts: &[(&str, &str)]| {
        for (name, value) in parts {
            body.extend_from_slice(
                format!(
                    "--xx\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
                )
                .as_bytes(),
            );
        }
    };
    text(&mut body, parts);
    if let Some(image) = image {
        let head =
            "--xx\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.ino.bin\"\r\n\r\n";
        body.extend_from_slice(&[head.as_bytes(), image, b"\r\n"].concat());
    }
    text(&mut body, after);
    body.extend_from_slice(b"--xx--\r\n");
    body
}

fn upload(house: &House, who: &str, body: &[u8]) -> Answer {
    let kind = ("Content-Type", "multipart/form-data; boundary=xx");
    send(house, who, "POST", "/ota_update", &[kind], body)
}

#[test]
fn the_form_of_frugal_iots_page_publishes_and_its_lists_list() {
    let house = inhabited();
    house.add_user("ada", false, &[("dev", Role::Publisher)]);
    let ada = basic("ada", PASSWORD);
    let (_, token) = house.add_token("dev", None, Role::Publisher);
    let fields = |project| {
        [
            ("url", "/evil"),
            ("lang", "en"),
            ("organization", "dev"),
            ("project", project),
            ("otakey", "key"),
        ]
    };
    for (seed, project, who) in [
        (1, "lotus", ada.clone()),
        (2, "", basic("whoever", &token)),
        (3, "lotus", format!("Bearer {token}")),
    ] {
        let image = image8266(seed);
        let answer = upload(&house, &who, &form(&fields(project), Some(&image), &[]));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let project = if project.is_empty() { "rose" } else { project };
        house.wait_served(&format!("dev/{project}/node/key"), &image);
    }
    let list = send(&house, &ada, "GET", "/ota_list/dev", &[], b"");
    assert_eq!(list.json(), json!(["+/key", "lotus/key"]));
    let left = send(&house, &ada, "DELETE", "/ota_delete/dev/+/key", &[], b"");
    assert_eq!(left.json(), json!(["lotus/key"]));
    let left = send(&house, &ada, "POST", "/ota_delete/dev/lotus/key/", &[], b"");
    assert_eq!(left.json(), json!([]));
}

#[test]
fn nothing_is_deleted_by_following_a_link() {
    let house = inhabited();
    house.put("dev/lotus/key/firmware.bin", &image8266(1));
    let root = basic("root", PASSWORD);
    let answer = send(&house, &root, "GET", "/ota_delete/dev/lotus/key", &[], b"");
    assert_eq!(
        (answer.status, &*answer.problem()),
        (405, "method-not-allowed")
    );
    assert!(answer.text().contains("DELETE"), "{}", answer.text());
    assert!(house.ota().join("dev/lotus/key/firmware.bin").exists());
}

#[test]
fn only_who_may_publish_publishes_here() {
    let house = inhabited();
    let session = house.sign_in("root");
    house.put("dev/lotus/key/firmware.bin", &image8266(1));
    let fields = [
        ("organization", "dev"),
        ("project", "lotus"),
        ("otakey", "key"),
    ];
    let body = form(&fields, Some(&image8266(2)), &[]);
    let calls = |who: &str| {
        [
            upload(&house, who, &body),
            send(&house, who, "GET", "/ota_list/dev", &[], b""),
            send(&house, who, "DELETE", "/ota_delete/dev/lotus/key", &[], b""),
        ]
        .map(|answer| answer.status)
    };
    assert_eq!(calls(""), [401; 3]);
    assert_eq!(calls("Basic ???"), [401; 3]);
    assert_eq!(calls(&basic("nobody", "wrong")), [401; 3]);
    assert_eq!(calls(&house.bearer("other", Role::Admin)), [403; 3]);
    assert_eq!(calls(&house.bearer("dev", Role::Viewer)), [403, 200, 403]);
    // Where others can listen, nobody.
    let plain = house.raw(
        b"GET /ota_list/dev HTTP/1.1\r\nHost: x\r\nVia: 1.1 proxy\r\nConnection: close\r\n\r\n",
    );
    assert_eq!((plain.status, &*plain.problem()), (403, "not-private"));
    // Nor the page of another site.
    let foreign = [("Cookie", &*session), ("Origin", "https://evil.example")];
    let answer = send(
        &house,
        "",
        "DELETE",
        "/ota_delete/dev/lotus/key",
        &foreign,
        b"",
    );
    assert_eq!((answer.status, &*answer.problem()), (403, "cross-site"));
    assert!(house.ota().join("dev/lotus/key/firmware.bin").exists());
}

#[test]
fn a_form_that_says_too_little_or_too_much_or_too_late_changes_nothing() {
    let house = inhabited();
    let who = house.bearer("dev", Role::Publisher);
    let image = image8266(1);
    let full = [
        ("organization", "dev"),
        ("project", "lotus"),
        ("otakey", "key"),
    ];
    let late = upload(&house, &who, &form(&[], Some(&image), &full));
    assert_eq!(late.status, 400);
    assert!(
        late.text().contains("must be the last field"),
        "{}",
        late.text()
    );
    let half = upload(&house, &who, &form(&full[..1], Some(&image), &full[1..]));
    assert_eq!(half.status, 400);
    let more = upload(&house, &who, &form(&full, Some(&image), &[("lang", "en")]));
    assert_eq!(more.status, 400);
    assert_eq!(upload(&house, &who, &form(&full, None, &[])).status, 400);
    let long = "x".repeat(300);
    for word in [
        "", "..", "a/b", "../../x", "a:b", ".git", "%2e%2e", "ｋ", "a\0", "software", &long,
    ] {
        for at in 0..3 {
            let mut fields = full;
            fields[at].1 = word;
            // No project means any.
            if at == 1 && word.is_empty() {
                continue;
            }
            let answer = upload(&house, &who, &form(&fields, Some(&image), &[]));
            assert_eq!(answer.status, 400, "{fields:?} {}", answer.text());
            answer.problem();
        }
    }
    for path in ["..", "lotus/..", "..%2f..", "a/b/c/d", "+", "", "lotus"] {
        let answer = send(
            &house,
            &who,
            "DELETE",
            &format!("/ota_delete/dev/{path}"),
            &[],
            b"",
        );
        assert!([400, 404].contains(&answer.status), "{path}: {answer:?}");
    }
    let empty = std::fs::read_dir(house.ota().join("dev")).unwrap().count();
    assert_eq!(empty, 0);
}
