//! Sessions, users, roles, tokens and secrets of devices, by the API.

use otatree::people::Role;
use serde_json::json;

use crate::api_kit::{PASSWORD, credential, inhabited, request, wait};
use crate::house::{Answer, House};

#[test]
fn a_session_is_a_cookie_that_no_script_and_no_other_site_sees() {
    let house = inhabited();
    let login = json!({"user": "root", "password": PASSWORD}).to_string();
    let answer = house.call("POST", "/session", &[], &login);
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-otatree="), "{cookie}");
    for attribute in ["; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert_eq!(answer.json()["who"]["name"], "root");
}

#[test]
fn a_session_ends_with_its_logout() {
    let house = inhabited();
    let session = house.sign_in("root");
    let other = house.sign_in("root");
    assert_eq!(
        house.call_as(&session, "DELETE", "/session", "").status,
        204
    );
    assert_eq!(house.call_as(&session, "GET", "/session", "").status, 401);
    assert_eq!(house.call_as(&other, "GET", "/session", "").status, 200);
}

#[test]
fn every_session_ends_when_the_password_changes() {
    let house = inhabited();
    house.add_user("ada", false, &[("dev", Role::Viewer)]);
    let sessions = [house.sign_in("ada"), house.sign_in("ada")];
    let new = json!({"password": "a better one"}).to_string();
    let changed = house.call_as(&sessions[0], "PUT", "/users/ada/password", &new);
    assert_eq!(changed.status, 204, "{}", changed.text());
    for session in &sessions {
        assert_eq!(house.call_as(session, "GET", "/session", "").status, 401);
    }
}

#[test]
fn a_role_that_was_taken_counts_no_more_in_a_session_that_lives() {
    let house = inhabited();
    house.add_user("ada", false, &[("dev", Role::Admin)]);
    let (ada, root) = (house.sign_in("ada"), house.sign_in("root"));
    let devices = |who: &str| house.call_as(who, "GET", "/orgs/dev/devices", "").status;
    assert_eq!(devices(&ada), 200);
    let taken = house.call_as(&root, "DELETE", "/orgs/dev/roles/ada", "");
    assert_eq!(taken.status, 204);
    assert_eq!(devices(&ada), 403);
    assert_eq!(house.call_as(&ada, "GET", "/orgs", "").json(), json!([]));
    let removed = house.call_as(&root, "DELETE", "/users/ada", "");
    assert_eq!(removed.status, 204);
    assert_eq!(house.call_as(&ada, "GET", "/session", "").status, 401);
}

#[test]
fn a_wrong_password_and_an_unknown_user_hear_the_same_and_then_to_slow_down() {
    let house = inhabited();
    for user in ["root", "nobody"] {
        let login = json!({"user": user, "password": "wrong"}).to_string();
        let answers: Vec<Answer> = (0..8)
            .map(|_| house.call("POST", "/session", &[], &login))
            .collect();
        let slow = answers.iter().find(|answer| answer.status == 429);
        let slow = slow.expect("three errors are free, eight are not");
        assert_eq!(slow.problem(), "slow-down");
        assert!(slow.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
        let first = &answers[0];
        if user == "root" {
            assert_eq!((first.status, &*first.problem()), (401, "wrong-login"));
        }
    }
}

#[test]
fn the_first_owner_is_made_by_the_link_and_by_nothing_else() {
    let house = House::new();
    let people = house.people.as_ref().unwrap();
    let link = wait(people.first_owner_link(jiff::Timestamp::now()))
        .unwrap()
        .unwrap();
    let redeem = |link: &str| {
        let body = json!({"link": link, "user": "root", "password": PASSWORD});
        house.call("POST", "/first-owner", &[], &body.to_string())
    };
    let wrong = redeem("wrong");
    assert_eq!((wrong.status, &*wrong.problem()), (403, "dead-link"));
    assert_eq!(redeem(link.reveal()).status, 204);
    assert_eq!(redeem(link.reveal()).status, 403);
    let root = house.sign_in("root");
    assert_eq!(
        house.call_as(&root, "GET", "/session", "").json()["owner"],
        true
    );
}

#[test]
fn an_owner_gives_an_org_to_a_developer_whose_token_sees_nothing_else() {
    let house = inhabited();
    let root = house.sign_in("root");
    let call = |who: &str, method: &str, path: &str, body: serde_json::Value| {
        let answer = house.call_as(who, method, path, &body.to_string());
        assert!(answer.status < 300, "{method} {path}: {}", answer.text());
        answer
    };
    call(&root, "POST", "/orgs", json!({"name": "new"}));
    assert!(house.ota().join("new").is_dir());
    call(
        &root,
        "POST",
        "/users",
        json!({"name": "Ada", "password": PASSWORD}),
    );
    call(
        &root,
        "PUT",
        "/orgs/new/roles/ada",
        json!({"role": "publisher"}),
    );
    let ada = house.sign_in("ada");
    let wanted = json!({"name": "ci", "org": "new", "project": "lotus", "role": "publisher"});
    let made = call(&ada, "POST", "/tokens", wanted).json();
    let token = format!("Bearer {}", made["token"].as_str().unwrap());
    let orgs = house.call_as(&token, "GET", "/orgs", "").json();
    assert_eq!(orgs, json!([{"name": "new", "role": null}]));
    // A year, unless somebody says otherwise.
    let listed = house.call_as(&ada, "GET", "/tokens", "").json();
    assert_eq!(listed[0]["id"], made["id"]);
    assert!(listed[0]["expires"].is_string() && !listed.to_string().contains("otatree_"));
    // More than one has, one cannot give; and a token gives nothing.
    let more = json!({"name": "ci", "org": "new", "role": "admin"}).to_string();
    assert_eq!(house.call_as(&ada, "POST", "/tokens", &more).status, 403);
    let less = json!({"name": "ci", "org": "new", "role": "viewer"}).to_string();
    assert_eq!(house.call_as(&token, "POST", "/tokens", &less).status, 403);
    // All of it is in the log, with who did it.
    let log = house.call_as(&root, "GET", "/audit?org=new", "").json();
    let actions: Vec<&str> = log
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["token-add", "role-set", "org-add"]);
    assert_eq!(log[0]["who"], json!({"kind": "user", "name": "ada"}));
    assert_eq!(log[0]["address"], "127.0.0.1");
}

#[test]
fn an_org_rules_the_secrets_of_its_devices() {
    let house = inhabited();
    let admin = house.bearer("dev", Role::Admin);
    let secret = house.call_as(&admin, "POST", "/orgs/dev/devices/node1", "");
    assert!(secret.json()["secret"].as_str().unwrap().len() >= 22);
    let required = json!({"required": true}).to_string();
    let put = house.call_as(&admin, "PUT", "/orgs/dev/devices", &required);
    assert_eq!(put.status, 204);
    let rules = house.call_as(&admin, "GET", "/orgs/dev/devices", "").json();
    assert_eq!(rules, json!({"required": true, "nodes": ["node1"]}));
    let forgotten = house.call_as(&admin, "DELETE", "/orgs/dev/devices/node1", "");
    assert_eq!(forgotten.status, 204);
}

#[test]
fn what_cannot_be_meant_is_a_problem_and_never_a_text() {
    let house = inhabited();
    let root = house.sign_in("root");
    let long = format!("/orgs/{}/devices", "x".repeat(300));
    let cases: &[(&str, &str, &str, u16)] = &[
        ("GET", "/nothing", "", 404),
        ("GET", "", "", 404),
        ("PATCH", "/orgs", "", 405),
        ("POST", "/orgs", "{", 400),
        ("POST", "/orgs", "[]", 422),
        ("POST", "/orgs", r#"{"name":"a","more":1}"#, 422),
        ("POST", "/orgs", r#"{"name":".."}"#, 422),
        ("POST", "/orgs", r#"{"name":"a/b"}"#, 422),
        ("POST", "/orgs", r#"{"name":""}"#, 422),
        ("POST", "/orgs", r#"{"name":"api"}"#, 422),
        ("POST", "/orgs", r#"{"name":"dеv"}"#, 422),
        ("POST", "/orgs", r#"{"name":"dev"}"#, 409),
        (
            "POST",
            "/users",
            r#"{"name":"ada","password":"short"}"#,
            400,
        ),
        ("DELETE", "/users/nobody", "", 404),
        ("DELETE", "/users/root", "", 409),
        ("DELETE", "/tokens/xyz", "", 400),
        ("GET", "/orgs/../devices", "", 400),
        ("GET", "/orgs/%2e%2e/devices", "", 400),
        ("GET", "/orgs/a%2Fb/devices", "", 400),
        ("GET", "/orgs/a%00/devices", "", 400),
        ("GET", "/orgs/%ff/devices", "", 400),
        ("GET", "/orgs/+/devices", "", 400),
        ("GET", "/orgs//devices", "", 400),
        ("GET", &long, "", 400),
        ("GET", "/audit?since=yesterday", "", 400),
        ("GET", "/audit?action=nothing", "", 400),
        ("GET", "/audit?colour=red", "", 400),
    ];
    for (method, path, body, status) in cases {
        let answer = house.call_as(&root, method, path, body);
        assert_eq!(
            answer.status,
            *status,
            "{method} {path} {body} {}",
            answer.text()
        );
        answer.problem();
    }
    let form = [
        credential(&root),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    assert_eq!(house.call("POST", "/orgs", &form, "name=a").status, 415);
    let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(65 * 1024));
    let answer = house.call_as(&root, "POST", "/orgs", &large);
    assert_eq!((answer.status, &*answer.problem()), (413, "too-large"));
}

#[test]
fn a_body_that_is_not_what_its_length_says_changes_nothing() {
    use std::io::Write;
    let house = inhabited();
    let root = house.sign_in("root");
    let body = r#"{"name":"half"}"#;
    let whole = request("POST", "/orgs", &[credential(&root)], body.as_bytes());
    for tenth in 1..10 {
        let mut stream = house.connect_tls();
        stream
            .write_all(&whole[..whole.len() * tenth / 10])
            .unwrap();
        drop(stream);
    }
    for length in ["999", "5", "-1", "x", "18446744073709551616"] {
        let headers = [credential(&root), ("Content-Length", length)];
        let mut stream = house.connect_tls();
        stream
            .write_all(&request("POST", "/orgs", &headers, body.as_bytes()))
            .unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        drop(stream.sock.shutdown(std::net::Shutdown::Write));
        let mut all = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut all);
        if let Some(answer) = Answer::parse(&all, false) {
            assert!(answer.status >= 400, "{length}: {answer:?}");
        }
    }
    assert!(!house.ota().join("half").exists());
    assert_eq!(house.call_as(&root, "GET", "/session", "").status, 200);
}

#[test]
fn without_a_database_people_hear_503_and_devices_are_served_on() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("state")).unwrap();
    std::fs::write(dir.path().join("state/otatree.db"), "no database").unwrap();
    let house = House::build(dir, "settle = \"0s\"", "");
    assert!(house.people.is_err());
    let token = ("Authorization", "Bearer otatree_0123456789abcdef_AAAA");
    let answer = house.call("GET", "/orgs", &[token], "");
    assert_eq!(
        (answer.status, &*answer.problem()),
        (503, "accounts-unavailable")
    );
    let login = json!({"user": "root", "password": PASSWORD}).to_string();
    assert_eq!(house.call("POST", "/session", &[], &login).status, 503);
    let image = crate::house::image8266(1);
    house.put("dev/key/firmware.bin", &image);
    house.wait_served("dev/any/node/key", &image);
}

#[test]
fn the_local_operator_needs_neither_network_nor_password() {
    use axum::body::{Body, to_bytes};
    use otatree::doors::people::api::Caller;
    let house = inhabited();
    let request = hyper::Request::get("/api/v1/admin/users")
        .body(Body::empty())
        .unwrap();
    let users = wait(async {
        let response = house.api.call(Caller::Console, request).await;
        assert_eq!(response.status(), 200);
        to_bytes(response.into_body(), usize::MAX).await.unwrap()
    });
    let users: serde_json::Value = serde_json::from_slice(&users).unwrap();
    assert_eq!(users[0]["name"], "root");
}

#[test]
fn while_another_program_locks_the_database_who_is_known_reads_and_nothing_changes() {
    let house = inhabited();
    let root = house.sign_in("root");
    let other = rusqlite::Connection::open(house.dir.path().join("state/otatree.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(house.call_as(&root, "GET", "/users", "").status, 200);
    let new = json!({"name": "ada", "password": PASSWORD}).to_string();
    let answer = house.call_as(&root, "POST", "/users", &new);
    assert_eq!(
        (answer.status, &*answer.problem()),
        (503, "accounts-unavailable")
    );
    assert!(answer.text().contains("locked"), "{}", answer.text());
    // What was done all the same is said to be done.
    let org = house.call_as(&root, "POST", "/orgs", r#"{"name":"new"}"#);
    assert_eq!((org.status, &*org.problem()), (500, "unrecorded"));
    assert!(house.ota().join("new").is_dir());
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(house.call_as(&root, "POST", "/users", &new).status, 204);
}

#[test]
fn a_database_of_a_newer_otatree_is_left_alone_and_people_hear_503() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state/otatree.db");
    std::fs::create_dir(dir.path().join("state")).unwrap();
    let newer = rusqlite::Connection::open(&file).unwrap();
    newer
        .execute_batch("CREATE TABLE later (x); PRAGMA user_version = 99")
        .unwrap();
    drop(newer);
    let before = std::fs::read(&file).unwrap();
    let house = House::build(dir, "settle = \"0s\"", "");
    let token = ("Authorization", "Bearer otatree_0123456789abcdef_AAAA");
    let answer = house.call("GET", "/orgs", &[token], "");
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("99"), "{}", answer.text());
    assert_eq!(std::fs::read(&file).unwrap(), before);
}
