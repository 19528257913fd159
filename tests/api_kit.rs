//! People at a house: an owner, a user a role, a token a role, and calls of the API over the wire.

use std::fmt::Write as _;
use std::io::Write;

use jiff::Timestamp;
use otatree::people::{NewToken, Role, Secret, TokenId, UserName};
use serde_json::Value;

use crate::house::{Answer, House};

/// Where the API is.
pub const ROOT: &str = "/api/v1/admin";

/// Every password here.
pub const PASSWORD: &str = "correct horse";

/// What a call sends beside its body.
pub type Headers<'a> = &'a [(&'a str, &'a str)];

/// Runs what people's rooms do.
pub fn wait<T>(job: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(job)
}

/// A house with the orgs `dev` and `other`, and the owner `root`.
pub fn inhabited() -> House {
    inhabited_with("")
}

/// The same, with more lines of config.toml.
pub fn inhabited_with(more: &str) -> House {
    let house = House::with(more);
    for org in ["dev", "other"] {
        std::fs::create_dir(house.ota().join(org)).unwrap();
    }
    house.add_user("root", true, &[]);
    house
}

fn user(name: &str) -> UserName {
    name.parse().unwrap()
}

impl House {
    /// Adds a user with roles in orgs.
    pub fn add_user(&self, name: &str, owner: bool, roles: &[(&str, Role)]) {
        let people = self.people.as_ref().unwrap();
        let (console, now) = (people.console(), Timestamp::now());
        let password = Secret::new(PASSWORD.to_owned());
        wait(async {
            people
                .add_user(&console, &user(name), &password, owner, now)
                .await?;
            for (org, role) in roles {
                people
                    .set_role(
                        &console,
                        &user(name),
                        &org.parse().unwrap(),
                        Some(*role),
                        now,
                    )
                    .await?;
            }
            Ok::<_, otatree::people::PeopleError>(())
        })
        .unwrap();
    }

    /// A token of the local operator.
    pub fn add_token(&self, org: &str, project: Option<&str>, role: Role) -> (TokenId, String) {
        let people = self.people.as_ref().unwrap();
        let new = NewToken {
            name: "a test".to_owned(),
            org: org.parse().unwrap(),
            project: project.map(|project| project.parse().unwrap()),
            role,
            expires: None,
        };
        let (id, secret) =
            wait(people.add_token(&people.console(), new, Timestamp::now())).unwrap();
        (id, secret.reveal().to_owned())
    }

    /// The header of a token of the local operator.
    pub fn bearer(&self, org: &str, role: Role) -> String {
        format!("Bearer {}", self.add_token(org, None, role).1)
    }

    /// Signs in with the usual password; the header of the session.
    pub fn sign_in(&self, name: &str) -> String {
        let login = format!(r#"{{"user":"{name}","password":"{PASSWORD}"}}"#);
        let answer = self.call("POST", "/session", &[], &login);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let cookie = answer.header("set-cookie").unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    /// A call of the API over HTTPS.
    pub fn call(&self, method: &str, path: &str, headers: Headers<'_>, body: &str) -> Answer {
        let mut stream = self.connect_tls();
        stream
            .write_all(&request(method, path, headers, body.as_bytes()))
            .unwrap();
        Answer::read(&mut stream, method == "HEAD")
    }

    /// The same with a token or a cookie.
    pub fn call_as(&self, who: &str, method: &str, path: &str, body: &str) -> Answer {
        self.call(method, path, &[credential(who)], body)
    }

    /// The same on the plain listener.
    pub fn call_plain(&self, method: &str, path: &str, headers: Headers<'_>, body: &str) -> Answer {
        self.raw(&request(method, path, headers, body.as_bytes()))
    }
}

/// The header for a token (`Bearer …`) or a session (`__Host-otatree=…`).
pub fn credential(who: &str) -> (&str, &str) {
    if who.starts_with("Bearer ") {
        ("Authorization", who)
    } else {
        ("Cookie", who)
    }
}

/// The bytes of a call; a body is JSON unless the headers say otherwise.
pub fn request(method: &str, path: &str, headers: Headers<'_>, body: &[u8]) -> Vec<u8> {
    let has = |name: &str| {
        headers
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(name))
    };
    let mut text =
        format!("{method} {ROOT}{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    if !has("Content-Length") {
        let _ = write!(text, "Content-Length: {}\r\n", body.len());
    }
    if !body.is_empty() && !has("Content-Type") {
        text.push_str("Content-Type: application/json\r\n");
    }
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Holds an answer to the form of a problem, and gives its word.
    #[track_caller]
    pub fn problem(&self) -> String {
        let all = format!("{self:?} {}", self.text());
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{all}"
        );
        assert_eq!(self.header("cache-control"), Some("no-store"), "{all}");
        let json = self.json();
        assert_eq!(json["status"], self.status, "{all}");
        assert!(json["detail"].as_str().is_some_and(|text| !text.is_empty()));
        let kind = json["type"].as_str().unwrap();
        kind.strip_prefix("/problems/").unwrap().to_owned()
    }
}
