//! Every call of the API, taken from its own description, is closed to whoever may not make it. A new call cannot be
//! forgotten: it is in the description, or there is no route.

use std::collections::BTreeSet;

use otatree::people::Role;
use serde_json::Value;

use crate::api_kit::{Headers, ROOT, credential, inhabited};
use crate::house::{Answer, House};

/// The calls that nobody need sign in for.
const PUBLIC: [&str; 2] = ["POST /session", "POST /first-owner"];

/// A call as the description has it, with words of the org `dev` in its path.
#[derive(Debug)]
struct Call {
    method: String,
    path: String,
    /// `person`, `viewer`, `publisher`, `admin`, `owner`; nothing with a public one.
    needs: String,
    body: String,
}

fn calls(house: &House) -> Vec<Call> {
    let document = house.call("GET", "/openapi.json", &[], "").json();
    let mut calls = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let media = &operation["requestBody"]["content"];
            calls.push(Call {
                method: method.to_uppercase(),
                path: fill(path.strip_prefix(ROOT).unwrap()),
                needs: operation["x-needs"].as_str().unwrap_or("").to_owned(),
                body: match &media["application/json"]["schema"] {
                    Value::Null => String::new(),
                    schema => sample(&document, schema).to_string(),
                },
            });
        }
    }
    assert!(calls.len() > 15, "{calls:?}");
    calls
}

fn fill(path: &str) -> String {
    let words = [
        ("{org}", "dev"),
        ("{user}", "root"),
        ("{node}", "esp8266-1"),
        ("{id}", "0123456789abcdef"),
        ("{slot}", "lotus:key"),
    ];
    let filled = words.iter().fold(path.to_owned(), |path, (name, word)| {
        path.replace(name, word)
    });
    assert!(!filled.contains('{'), "a word for {path} is missing here");
    filled
}

/// A body that the description allows.
fn sample(document: &Value, schema: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return sample(document, &document["components"]["schemas"][name]);
    }
    let Some(properties) = schema["properties"].as_object() else {
        return if schema["type"] == "boolean" {
            true.into()
        } else if schema["format"] == "date-time" {
            "2026-01-31T12:00:00Z".into()
        } else if schema["pattern"].is_string() {
            "viewer".into()
        } else {
            "lotus-key".into()
        };
    };
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let needed = properties
        .iter()
        .filter(|(name, _)| required.iter().any(|needed| needed == *name));
    needed
        .map(|(name, schema)| {
            let word = if name == "org" {
                "dev".into()
            } else {
                sample(document, schema)
            };
            (name.clone(), word)
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

impl Call {
    fn is_public(&self) -> bool {
        PUBLIC.contains(&format!("{} {}", self.method, self.path).as_str())
    }

    fn with(&self, house: &House, headers: Headers<'_>) -> Answer {
        house.call(&self.method, &self.path, headers, &self.body)
    }

    fn by(&self, house: &House, who: &str) -> Answer {
        self.with(house, &[credential(who)])
    }

    fn changes(&self) -> bool {
        self.method != "GET"
    }
}

#[test]
fn a_call_says_what_it_needs_unless_it_is_public() {
    let house = inhabited();
    for call in calls(&house) {
        let known = ["person", "viewer", "publisher", "admin", "owner"];
        assert_eq!(call.is_public(), call.needs.is_empty(), "{call:?}");
        assert!(
            call.is_public() || known.contains(&&*call.needs),
            "{call:?}"
        );
    }
}

#[test]
fn no_call_is_open_to_strangers() {
    let house = inhabited();
    for call in calls(&house).iter().filter(|call| !call.is_public()) {
        for headers in [
            &[][..],
            &[("Authorization", "Bearer otatree_0123456789abcdef_AAAA")],
            &[("Authorization", "Bearer")],
            &[("Authorization", "Basic cm9vdDpjb3JyZWN0IGhvcnNl")],
            &[("Cookie", "__Host-otatree=AAAA")],
            &[("Cookie", "__Host-otatree=")],
        ] {
            let answer = call.with(&house, headers);
            assert_eq!(answer.status, 401, "{call:?} {headers:?}");
            assert_eq!(answer.problem(), "not-signed-in");
            assert!(answer.header("www-authenticate").is_some());
        }
    }
}

#[test]
fn no_call_reaches_into_another_org() {
    let house = inhabited();
    let other = house.bearer("other", Role::Admin);
    for call in calls(&house) {
        if call.is_public() || call.needs == "person" {
            continue;
        }
        let answer = call.by(&house, &other);
        assert!(
            [403, 404].contains(&answer.status),
            "{call:?} {}",
            answer.text()
        );
        answer.problem();
    }
}

#[test]
fn no_call_works_above_its_role() {
    let house = inhabited();
    let rank = |needs: &str| {
        ["person", "viewer", "publisher", "admin", "owner"]
            .iter()
            .position(|role| *role == needs)
    };
    for role in [Role::Viewer, Role::Publisher, Role::Admin] {
        let token = house.bearer("dev", role);
        for call in calls(&house) {
            if !call.is_public() && rank(&call.needs) > rank(role.slug()) {
                let answer = call.by(&house, &token);
                let hidden = answer.status == 404 && answer.problem() == "no-such-token";
                assert!(
                    hidden || answer.status == 403,
                    "{role} {call:?} {}",
                    answer.text()
                );
            }
        }
    }
}

#[test]
fn no_call_is_taken_where_others_can_listen() {
    // Behind a proxy that says nothing, nobody knows how the client came.
    let house = crate::api_kit::inhabited_with("trusted_proxies = [\"127.0.0.1/32\"]");
    let owner = house.bearer("dev", Role::Admin);
    for call in calls(&inhabited()) {
        for headers in [
            &[credential(&owner)][..],
            &[
                credential(&owner),
                ("X-Forwarded-For", "192.0.2.7"),
                ("X-Forwarded-Proto", "http"),
            ],
        ] {
            let answer = house.call_plain(&call.method, &call.path, headers, &call.body);
            assert_eq!(answer.status, 403, "{call:?}");
            assert_eq!(answer.problem(), "not-private");
            assert!(
                answer.text().contains("https://localhost"),
                "{}",
                answer.text()
            );
        }
    }
    let https = [
        credential(&owner),
        ("X-Forwarded-For", "192.0.2.7"),
        ("X-Forwarded-Proto", "https"),
    ];
    assert_eq!(house.call_plain("GET", "/session", &https, "").status, 200);
}

#[test]
fn this_machine_needs_no_https_and_a_proxy_on_it_does() {
    let house = inhabited();
    let owner = house.sign_in("root");
    let mine = house.call_plain("GET", "/session", &[credential(&owner)], "");
    assert_eq!(mine.status, 200);
    for relayed in ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"] {
        let headers = [credential(&owner), (relayed, "x")];
        assert_eq!(
            house.call_plain("GET", "/session", &headers, "").status,
            403
        );
    }
}

#[test]
fn a_revoked_token_is_refused_by_every_call_at_once() {
    let house = inhabited();
    let (id, token) = house.add_token("dev", None, Role::Admin);
    let token = format!("Bearer {token}");
    assert_eq!(house.call_as(&token, "GET", "/session", "").status, 200);
    let owner = house.sign_in("root");
    let revoked = house.call_as(&owner, "DELETE", &format!("/tokens/{id}"), "");
    assert_eq!(revoked.status, 204);
    for call in calls(&house).iter().filter(|call| !call.is_public()) {
        assert_eq!(call.by(&house, &token).status, 401, "{call:?}");
    }
}

#[test]
fn no_page_of_another_site_changes_anything_with_a_browsers_session() {
    let house = inhabited();
    let owner = house.sign_in("root");
    for call in calls(&house).iter().filter(|call| call.changes()) {
        for foreign in [
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
            ("Origin", "https://evil.example"),
            ("Origin", "null"),
        ] {
            let answer = call.with(&house, &[credential(&owner), foreign]);
            assert_eq!(answer.status, 403, "{call:?} {foreign:?}");
            assert_eq!(answer.problem(), "cross-site");
        }
    }
    let own = [credential(&owner), ("Sec-Fetch-Site", "same-origin")];
    assert_eq!(house.call("DELETE", "/session", &own, "").status, 204);
}

#[test]
fn every_call_is_described_once_and_by_a_name_of_its_own() {
    let house = inhabited();
    let document = house.call("GET", "/openapi.json", &[], "").json();
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap().to_owned();
            assert!(
                names.insert(name.clone()),
                "{method} {path}: {name} is taken"
            );
            assert!(operation["summary"].is_string(), "{method} {path}");
            assert!(
                operation["responses"]["default"].is_object(),
                "{method} {path}"
            );
        }
    }
}
