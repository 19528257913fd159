//! Commands about people with the real program: by the control socket, by the locked database, and over the network.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::house::wait_until;
use crate::permissions::as_nobody;
use crate::program::{Place, Program, ask};

pub const PASSWORD: &str = "correct horse battery";

/// Runs a command with something on its stdin.
pub fn with_stdin(place: &Place, arguments: &[&str], input: &str) -> Output {
    let mut child = place
        .command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who refuses the arguments reads no password.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// What a command printed; it has to end well.
#[track_caller]
pub fn printed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command says of its failure.
#[track_caller]
pub fn failed(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(said.starts_with("otatree: "), "{said}");
    said
}

pub fn own(place: &Place, name: &str) {
    let added = with_stdin(
        place,
        &["user", "add", name, "--owner"],
        &format!("{PASSWORD}\n"),
    );
    assert_eq!(printed(&added), format!("{name} may sign in\n"));
}

/// A token, as the program prints it.
pub fn token(place: &Place, arguments: &[&str]) -> String {
    let printed = printed(&place.run(&[&["token", "add"], arguments].concat()));
    let token = printed.trim_end().to_owned();
    assert!(
        token.starts_with("otatree_") && !token.contains(char::is_whitespace),
        "{token}"
    );
    token
}

/// The command over HTTPS with this token.
pub fn remote(place: &Place, program: &Program, token: &str, arguments: &[&str]) -> Output {
    let url = format!("https://localhost:{}", program.addresses().1.port());
    let mut command = place.command(arguments);
    command.args(["--server", &url, "--cacert", "state/identity/root.pem"]);
    command.env("OTATREE_TOKEN", token).output().unwrap()
}

fn sign_in(program: &Program, name: &str) -> u16 {
    let body = format!("{{\"user\":\"{name}\",\"password\":\"{PASSWORD}\"}}");
    post(program, "/api/v1/admin/session", &body)
}

fn post(program: &Program, path: &str, body: &str) -> u16 {
    use std::io::Read as _;
    let mut stream = std::net::TcpStream::connect(program.addresses().0).unwrap();
    let length = body.len();
    write!(stream, "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text[9..12].parse().unwrap()
}

/// Everything below the state folder and what a server said, to look for secrets in it.
fn everything(place: &Place, program: &Program) -> Vec<u8> {
    let mut all = program.lines("").join("\n").into_bytes();
    let mut folders = vec![place.path("state")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                all.extend(fs::read(path).unwrap());
            }
        }
    }
    all
}

fn contains(all: &[u8], words: &str) -> bool {
    all.windows(words.len())
        .any(|window| window == words.as_bytes())
}

#[test]
fn the_first_owner_is_made_while_nothing_runs_and_signs_in_when_the_server_does() {
    let place = Place::new("");
    own(&place, "ada");
    let program = place.serve();
    assert_eq!(sign_in(&program, "ada"), 200);
    assert!(!place.path("state/first-owner").exists());
}

#[test]
fn the_first_owner_is_made_with_a_server_that_runs_and_signs_in_at_once() {
    let place = Place::new("");
    let program = place.serve();
    assert_eq!(sign_in(&program, "ada"), 401);
    own(&place, "ada");
    assert_eq!(sign_in(&program, "ada"), 200);
    let (users, code) = place.json(&["user", "list"], "");
    assert_eq!((users[0]["name"].as_str(), code), (Some("ada"), Some(0)));
}

#[test]
fn only_the_servers_user_may_open_the_control_socket_and_it_is_gone_at_the_end() {
    let place = Place::new("");
    let socket = place.path("state/control.sock");
    // As a server that was killed leaves it.
    fs::create_dir(place.path("state")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let mut program = place.serve();
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert_eq!(
        printed(&place.run(&["org", "add", "dev"])),
        "dev is there\n"
    );
    assert!(place.path("ota/dev").is_dir());
    program.signal("TERM");
    assert!(program.end().success());
    assert!(!socket.exists());
    assert_eq!(printed(&place.run(&["org", "list"])), "dev  admin\n");
}

#[test]
fn a_token_is_shown_once_works_at_once_and_is_refused_at_once() {
    let place = Place::new("");
    let program = place.serve();
    printed(&place.run(&["org", "add", "dev"]));
    let token = token(
        &place,
        &["dev", "--name", "laptop of ada", "--expires", "90d"],
    );
    let orgs = remote(&place, &program, &token, &["org", "list"]);
    assert_eq!(printed(&orgs), "dev  publisher\n");
    let (tokens, _) = place.json(&["token", "list"], "");
    assert_eq!(tokens[0]["name"], "laptop of ada");
    // What stands behind `otatree_` and the id, which may hold a `_` of its own.
    let secret = token.splitn(3, '_').nth(2).unwrap();
    assert_eq!(secret.len(), 43);
    assert!(!tokens.to_string().contains(secret));
    assert!(
        !contains(&everything(&place, &program), secret),
        "no trace of it"
    );
    let id = tokens[0]["id"].as_str().unwrap();
    printed(&place.run(&["token", "revoke", id]));
    let said = failed(&remote(&place, &program, &token, &["org", "list"]), 1);
    assert!(said.contains("token"), "{said}");
    let (log, _) = place.json(&["audit", "--org", "dev", "--since", "1h"], "");
    let actions: Vec<&str> = log
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| entry["action"].as_str())
        .collect();
    assert_eq!(actions, ["token-revoke", "token-add", "org-add"]);
    assert!(!log.to_string().contains(secret));
}

#[test]
fn an_org_is_given_to_a_developer_with_one_command() {
    let place = Place::new("");
    let token = printed(&place.run(&["org", "add", "dev", "--for", "alice"]));
    let program = place.serve();
    let orgs = remote(&place, &program, token.trim_end(), &["org", "list"]);
    assert_eq!(printed(&orgs), "dev  publisher\n");
    let users = remote(&place, &program, token.trim_end(), &["user", "list"]);
    assert!(failed(&users, 1).contains("owner"));
}

#[test]
fn commands_at_once_wait_for_each_other() {
    let place = Place::new("");
    let add = |name: &str| {
        let mut child = place
            .command(&["user", "add", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(PASSWORD.as_bytes())
            .unwrap();
        child
    };
    let names = ["ada", "ben", "cleo", "dan"];
    let children: Vec<_> = names.iter().map(|name| add(name)).collect();
    // A server that starts meanwhile waits for its turn.
    let program = place.serve();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let (users, _) = place.json(&["user", "list"], "");
    let found: Vec<&str> = users
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|user| user["name"].as_str())
        .collect();
    assert_eq!(found, names);
    drop(program);
}

#[test]
fn a_password_is_typed_twice_at_a_terminal_and_not_shown() {
    let place = Place::new("");
    let typed = |first: &str, again: &str| {
        let mut command = crate::program::bare("python3".as_ref(), place.dir.path());
        command.arg(crate::house::beside("terminal.py"));
        command.args([
            env!("CARGO_BIN_EXE_otatree"),
            "user",
            "add",
            "ada",
            "--owner",
        ]);
        command.env("FIRST", first).env("AGAIN", again);
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, shown) = typed(PASSWORD, "something else");
    assert_eq!(code, Some(2), "{shown}");
    let (code, shown) = typed(PASSWORD, PASSWORD);
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.contains("New password for ada") && !shown.contains(PASSWORD),
        "{shown}"
    );
    assert_eq!(sign_in(&place.serve(), "ada"), 200);
}

#[test]
fn no_password_and_no_word_that_cannot_be_one_reach_the_server() {
    let place = Place::new("");
    for (arguments, input) in [
        (&["user", "add", "ada"][..], ""),
        (&["user", "add", "../ada"], PASSWORD),
        (&["user", "add"], PASSWORD),
        (&["user", "role", "ada", "dev", "king"], ""),
        (&["token", "add", "de/v/x"], ""),
        (&["token", "add", "dev", "--expires", "soon"], ""),
        (&["token", "revoke", "nonsense"], ""),
        (&["org", "add", "api"], ""),
        (&["device", "secret", "add", "dev"], ""),
        (&["audit", "--since", "later"], ""),
        (&["org", "list", "--cacert", "x.pem"], ""),
    ] {
        let output = with_stdin(&place, arguments, input);
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {output:?}");
    }
    let short = with_stdin(&place, &["user", "add", "ada"], "short\n");
    assert!(failed(&short, 1).contains("8 to 1024"));
}

#[test]
fn an_address_that_would_show_the_token_to_others_is_refused() {
    let place = Place::new("");
    for (url, words) in [
        ("http://ota.example.org", "use https"),
        ("https://otatree_x@ota.example.org", "no secret"),
        ("https://ota.example.org/api", "nothing belongs behind"),
        ("ota.example.org:8443", "such as https"),
        ("ftp://ota.example.org", "such as https"),
    ] {
        let output = place.run(&["org", "list", "--server", url]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{url}: {said}");
    }
}

#[test]
fn a_server_that_does_not_prove_who_it_is_hears_no_token() {
    let place = Place::new("");
    let program = place.serve();
    let port = program.addresses().1.port();
    let other = Place::new("");
    let _other = other.serve();
    let wrong = other.path("state/identity/root.pem");
    let mut command = place.command(&[
        "org",
        "list",
        "--server",
        &format!("https://localhost:{port}"),
    ]);
    command
        .arg("--cacert")
        .arg(&wrong)
        .env("OTATREE_TOKEN", "otatree_x");
    let said = failed(&command.output().unwrap(), 70);
    assert!(
        said.contains("does not prove who it is") && said.contains("--cacert"),
        "{said}"
    );
    let mut command = place.command(&[
        "org",
        "list",
        "--server",
        &format!("https://localhost:{port}"),
    ]);
    command
        .args(["--cacert", "config.toml"])
        .env("OTATREE_TOKEN", "otatree_x");
    assert!(failed(&command.output().unwrap(), 70).contains("config.toml"));
}

#[test]
fn a_token_file_is_read_only_when_nobody_else_may_read_it() {
    let place = Place::new("");
    let program = place.serve();
    printed(&place.run(&["org", "add", "dev"]));
    let token = token(&place, &["dev"]);
    let server = format!("http://127.0.0.1:{}", program.addresses().0.port());
    let ask = |more: &[&str]| {
        let mut command = place.command(&["org", "list", "--server", &server]);
        command
            .env("HOME", place.dir.path())
            .args(more)
            .output()
            .unwrap()
    };
    let said = failed(&ask(&[]), 2);
    assert!(
        said.contains("OTATREE_TOKEN") && said.contains(".config/otatree/token"),
        "{said}"
    );
    let usual = place.path(".config/otatree/token");
    fs::create_dir_all(usual.parent().unwrap()).unwrap();
    for file in [usual, place.path("mine")] {
        fs::write(&file, format!("{token}\n")).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        let more: &[&str] = if file.ends_with("mine") {
            &["--token-file", "mine"]
        } else {
            &[]
        };
        let said = failed(&ask(more), 70);
        assert!(
            said.contains("chmod 600") && !said.contains(&token),
            "{said}"
        );
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(printed(&ask(more)), "dev  publisher\n");
    }
}

#[test]
fn after_a_server_that_was_killed_a_command_does_it_itself() {
    let place = Place::new("");
    let mut program = place.serve();
    program.signal("KILL");
    program.end();
    assert!(place.path("state/control.sock").exists());
    assert_eq!(
        printed(&place.run(&["org", "add", "dev"])),
        "dev is there\n"
    );
    let _program = place.serve();
    assert_eq!(printed(&place.run(&["org", "list"])), "dev  admin\n");
}

#[test]
fn the_server_of_the_environment_is_asked_and_needs_no_configuration_here() {
    let place = Place::new("");
    let program = place.serve();
    printed(&place.run(&["org", "add", "dev"]));
    let laptop = tempfile::tempdir().unwrap();
    let ask = |token: &str| {
        let mut command =
            crate::program::bare(env!("CARGO_BIN_EXE_otatree").as_ref(), laptop.path());
        command.args(["org", "list", "--json", "--cacert"]);
        command.arg(place.path("state/identity/root.pem"));
        let url = format!("https://127.0.0.1:{}/", program.addresses().1.port());
        command
            .env("OTATREE_SERVER", url)
            .env("OTATREE_TOKEN", token);
        command.output().unwrap()
    };
    let token = token(
        &place,
        &["dev/lotus", "--role", "viewer", "--expires", "never"],
    );
    let orgs: Value = serde_json::from_str(&printed(&ask(&token))).unwrap();
    assert_eq!(orgs, serde_json::json!([{ "name": "dev", "role": null }]));
    let said = failed(&ask("otatree_0123456789abcdef_nonsense"), 1);
    assert!(!said.contains("nonsense"), "{said}");
    assert!(failed(&ask("two words"), 70).contains("no token"));
    let stopped = program.addresses().0;
    drop(program);
    let mut command = place.command(&["org", "list", "--server", &format!("http://{stopped}")]);
    let said = failed(&command.env("OTATREE_TOKEN", &token).output().unwrap(), 70);
    assert!(
        said.contains("cannot be reached") && !said.contains(&token),
        "{said}"
    );
}

#[test]
fn a_state_folder_in_other_hands_is_said() {
    let place = Place::new("");
    fs::create_dir(place.path("state")).unwrap();
    let lock = fs::File::create(place.path("state/lock")).unwrap();
    lock.lock().unwrap();
    let said = failed(&place.run(&["org", "list"]), 70);
    assert!(
        said.contains("does not answer on its control socket"),
        "{said}"
    );
}

#[test]
fn another_user_neither_reaches_the_server_nor_leaves_files_that_it_cannot_read() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: only root can become another user");
    }
    let place = Place::new("");
    let mut command = as_nobody(&place, &["org", "list"]);
    let said = failed(&command.output().unwrap(), 70);
    assert!(
        said.contains("belongs to another user") && said.contains("sudo -u '#0'"),
        "{said}"
    );
    assert_eq!(fs::read_dir(place.path("state")).unwrap().count(), 0);
    let _program = place.serve();
    let said = failed(&command.output().unwrap(), 70);
    assert!(said.contains("is not yours"), "{said}");
}

#[test]
fn no_secret_is_in_the_arguments_of_a_running_command() {
    let place = Place::new("");
    let mut child = place
        .command(&["user", "add", "ada"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let line = || fs::read_to_string(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
    wait_until("it runs", || line().contains("ada"));
    let line = line();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(PASSWORD.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!line.contains(PASSWORD));
    // There is no option that takes one.
    for arguments in [
        &["user", "add", "--help"][..],
        &["token", "add", "--help"],
        &["org", "--help"],
    ] {
        let help = printed(&place.run(arguments));
        assert!(
            !help.contains("--password") && !help.contains("--token "),
            "{help}"
        );
    }
}

#[test]
fn devices_get_secrets_that_are_shown_once() {
    let place = Place::new("");
    let secret = printed(&place.run(&["device", "secret", "add", "dev/node1"]));
    assert_eq!(secret.trim_end().len(), 43, "{secret}");
    printed(&place.run(&["device", "secret", "require", "dev"]));
    let (rules, _) = place.json(&["device", "secret", "list", "dev"], "");
    let wanted: Value = serde_json::json!({ "required": true, "nodes": ["node1"] });
    assert_eq!(rules, wanted);
    printed(&place.run(&["device", "secret", "remove", "dev/node1"]));
    printed(&place.run(&["device", "secret", "require", "dev", "--off"]));
    let (rules, _) = place.json(&["device", "secret", "list", "dev"], "");
    assert_eq!(rules, serde_json::json!({ "required": false, "nodes": [] }));
}

#[test]
fn a_role_is_given_and_taken_by_the_command_line() {
    let place = Place::new("");
    own(&place, "ada");
    printed(&with_stdin(&place, &["user", "add", "ben"], PASSWORD));
    printed(&place.run(&["user", "role", "ben", "dev", "publisher"]));
    assert_eq!(
        printed(&place.run(&["user", "list"])),
        "ada  owner\nben  dev:publisher\n"
    );
    printed(&place.run(&["user", "role", "ben", "dev", "none"]));
    printed(&place.run(&["user", "owner", "ben"]));
    printed(&place.run(&["user", "owner", "ada", "--revoke"]));
    assert_eq!(
        printed(&place.run(&["user", "list"])),
        "ada  \nben  owner\n"
    );
    printed(&with_stdin(
        &place,
        &["user", "password", "ben"],
        "another password\n",
    ));
    let last = failed(&place.run(&["user", "remove", "ben"]), 1);
    assert!(last.contains("last owner"), "{last}");
    printed(&place.run(&["user", "remove", "ada"]));
    let program = place.serve();
    assert_eq!(
        ask(program.addresses().0, "GET", "/api/v1/admin/users", &[]).status,
        401
    );
    assert_eq!(sign_in(&program, "ben"), 401, "the password is another one");
}
