//! Ways in which a build reaches a server: what docs/publishing.md and examples/ say, executed.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::commands::{failed, printed, remote};
use crate::house::{beside, esp8266, image32, image8266, wait_until};
use crate::program::{Place, Program, ask, bare};
use otatree::firmware::Md5;
use otatree::firmware::forge::littlefs;
use serde_json::Value;

/// Hears one request, gives this answer, and then the request.
fn hears(status: &str, body: &str) -> (SocketAddr, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = Vec::new();
        let whole = |heard: &[u8]| -> Option<bool> {
            let text = String::from_utf8_lossy(heard);
            let (head, _) = text.split_once("\r\n\r\n")?;
            let length = head.to_ascii_lowercase();
            let length = length.split("content-length: ").nth(1)?.lines().next()?;
            Some(heard.len() >= head.len() + 4 + length.parse::<usize>().ok()?)
        };
        while whole(&heard) != Some(true) {
            let mut some = [0; 4096];
            let n = stream.read(&mut some).unwrap();
            assert!(n > 0, "it ended early");
            heard.extend(&some[..n]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8_lossy(&heard).into_owned()
    });
    (address, thread)
}

/// The extra_script under a stand-in for SCons.
fn platformio(place: &Place, options: &[String]) -> Command {
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/platformio/otatree_publish.py");
    let mut command = bare("python3".as_ref(), place.dir.path());
    command.arg(beside("platformio.py")).arg(script);
    command.arg("firmware.bin").args(options);
    command.env("HOME", place.dir.path());
    command
}

fn options(server: &str) -> Vec<String> {
    vec![
        format!("custom_otatree_server={server}"),
        "custom_otatree_slot=dev/+/sht30_d1_mini".to_owned(),
    ]
}

fn said(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr[..]].concat()).unwrap()
}

#[test]
fn the_platformio_script_sends_the_build_with_its_sum_and_the_token() {
    let place = Place::new("");
    fs::write(place.path("firmware.bin"), image8266(1)).unwrap();
    let (address, heard) = hears("200 OK", "{}");
    let options = options(&format!("http://{address}"));
    let output = platformio(&place, &options)
        .env("OTATREE_TOKEN", "otatree_x")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let heard = heard.join().unwrap();
    assert!(
        heard.starts_with("PUT /api/v1/admin/orgs/dev/slots/+:sht30_d1_mini/image HTTP/1.1\r\n"),
        "{heard}"
    );
    for header in [
        "authorization: bearer otatree_x\r\n",
        "content-digest: sha-256=:",
        "content-type: application/octet-stream\r\n",
    ] {
        assert!(
            heard.to_ascii_lowercase().contains(header),
            "{header} in {heard}"
        );
    }
}

#[test]
fn the_platformio_script_says_what_the_server_says_and_gives_the_token_to_nobody_else() {
    let place = Place::new("");
    fs::write(place.path("firmware.bin"), image8266(1)).unwrap();
    let run = |server: &str, token: &str| {
        let output = platformio(&place, &options(server))
            .env("OTATREE_TOKEN", token)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(
            !said(&output).contains("otatree_secret") && !said(&output).contains("Traceback"),
            "{}",
            said(&output)
        );
        said(&output)
    };
    let (address, _heard) = hears(
        "403 Forbidden",
        r#"{"detail": "this needs the role publisher"}"#,
    );
    assert!(
        run(&format!("http://{address}"), "otatree_secret")
            .contains("403: this needs the role publisher")
    );
    let (elsewhere, _) = hears("200 OK", "{}");
    let (address, _heard) = hears(&format!("302 Found\r\nLocation: http://{elsewhere}/"), "");
    assert!(run(&format!("http://{address}"), "otatree_secret").contains("302"));
    assert!(run("http://ota.example.org", "otatree_secret").contains("begins with https://"));
    let usual = place.path(".config/otatree/token");
    assert!(run("https://ota.example.org", "").contains("no token: set OTATREE_TOKEN"));
    fs::create_dir_all(usual.parent().unwrap()).unwrap();
    fs::write(&usual, "otatree_secret\n").unwrap();
    fs::set_permissions(&usual, Permissions::from_mode(0o644)).unwrap();
    assert!(run("https://ota.example.org", "").contains("chmod 600"));
}

/// What a node hears that runs something else: the MD5 of its update, or the decision.
fn poll(program: &Program, device: &str) -> String {
    let old = Md5::of(b"old").to_string();
    let answer = ask(
        program.addresses().0,
        "GET",
        &format!("/ota_update/{device}"),
        &esp8266(&old),
    );
    let md5 = answer.header("x-md5").map(str::to_owned);
    md5.unwrap_or_else(|| answer.decision().to_owned())
}

fn md5(seed: u64) -> String {
    Md5::of(&image8266(seed)).to_string()
}

/// A place with images `1.bin` to `4.bin`, an org `dev`, and the token of its developer.
fn developer() -> (Place, String) {
    // Nothing is offered at once but what the server knows to be whole.
    let place = Place::new("");
    for seed in 1..5 {
        fs::write(place.path(&format!("{seed}.bin")), image8266(seed)).unwrap();
    }
    let token = printed(&place.run(&["org", "add", "dev", "--for", "alice"]));
    (place, token.trim_end().to_owned())
}

#[test]
fn a_developer_publishes_and_a_node_gets_it_at_its_next_poll_and_nobody_elses_org_is_touched() {
    let (place, token) = developer();
    let program = place.serve();
    place.put("other/lotus/sensor/firmware.bin", &image8266(9));
    wait_until("the other org is served", || {
        poll(&program, "other/lotus/n/sensor") == md5(9)
    });
    let publish =
        |file: &str, slot: &str| remote(&place, &program, &token, &["publish", file, slot]);
    let said = printed(&publish("1.bin", "dev/lotus/sensor"));
    assert!(
        said.starts_with("dev/lotus/sensor: firmware, ESP8266, "),
        "{said}"
    );
    assert_eq!(poll(&program, "dev/lotus/node1/sensor"), md5(1));
    let said = failed(&publish("1.bin", "other/lotus/sensor"), 1);
    assert!(said.contains("other"), "{said}");
    for arguments in [
        &["versions", "other/lotus/sensor"][..],
        &["rollback", "other/lotus/sensor"],
        &["delete", "other/lotus/sensor"],
        &["audit", "--org", "other"],
    ] {
        failed(&remote(&place, &program, &token, arguments), 1);
    }
    assert_eq!(poll(&program, "other/lotus/n/sensor"), md5(9));
    let (log, _) = place.json(&["audit", "--org", "dev", "--action", "publish"], "");
    assert_eq!(log.as_array().unwrap().len(), 1, "{log}");
    assert_eq!(log[0]["who"]["kind"], "token");
}

#[test]
fn an_image_is_tried_on_a_node_promoted_rolled_back_and_deleted() {
    let (place, token) = developer();
    let program = place.serve();
    let run = |arguments: &[&str]| printed(&remote(&place, &program, &token, arguments));
    run(&[
        "publish",
        "1.bin",
        "dev/lotus/sensor",
        "--title",
        "Sensor & co",
        "--image-version",
        "1.0",
    ]);
    run(&["publish", "2.bin", "dev/lotus/node1"]);
    assert_eq!(poll(&program, "dev/lotus/node1/sensor"), md5(2));
    assert_eq!(poll(&program, "dev/lotus/node2/sensor"), md5(1));
    let again = remote(
        &place,
        &program,
        &token,
        &["publish", "3.bin", "dev/lotus/sensor", "--new"],
    );
    failed(&again, 1);
    run(&["promote", "dev/lotus/node1", "dev/lotus/sensor"]);
    for node in ["node1", "node2"] {
        assert_eq!(poll(&program, &format!("dev/lotus/{node}/sensor")), md5(2));
    }
    assert!(!place.path("ota/dev/lotus/node1/firmware.bin").exists());
    run(&["rollback", "dev/lotus/sensor"]);
    assert_eq!(poll(&program, "dev/lotus/node1/sensor"), md5(1));
    let versions = run(&["versions", "dev/lotus/sensor"]);
    assert_eq!(
        versions
            .lines()
            .filter(|line| line.starts_with("> "))
            .count(),
        1,
        "{versions}"
    );
    let (kept, _) = place.json(&["versions", "dev/lotus/sensor"], "");
    let second = kept
        .as_array()
        .unwrap()
        .iter()
        .find(|kept| kept["current"] == false);
    let id = second.unwrap()["id"].as_str().unwrap();
    run(&["rollback", "dev/lotus/sensor", "--to", id]);
    assert_eq!(poll(&program, "dev/lotus/node1/sensor"), md5(2));
    assert_eq!(
        run(&["delete", "dev/lotus/sensor"]),
        "dev/lotus/sensor/firmware.bin is gone\n"
    );
    assert_eq!(poll(&program, "dev/lotus/node1/sensor"), "no-image");
    run(&["rollback", "dev/lotus/sensor"]);
    assert_eq!(poll(&program, "dev/lotus/node1/sensor"), md5(2));
}

#[test]
fn what_is_not_for_devices_is_not_sent() {
    let (place, token) = developer();
    fs::write(place.path("cut.bin"), &image8266(1)[..9000]).unwrap();
    // There is no such server: nothing was asked.
    let mut command = place.command(&[
        "publish",
        "cut.bin",
        "dev/lotus/sensor",
        "--server",
        "http://127.0.0.1:1",
    ]);
    let said = failed(&command.env("OTATREE_TOKEN", &token).output().unwrap(), 1);
    assert!(
        said.contains("not for devices") && said.contains("cut.bin"),
        "{said}"
    );
    for wrong in [
        "dev",
        "dev/..",
        "dev/lotus/a/b/c",
        "dev//x",
        "api/lotus/sensor",
    ] {
        let output = place.run(&["publish", "1.bin", wrong]);
        assert_eq!(output.status.code(), Some(2), "{wrong} {output:?}");
    }
    let output = place.run(&["promote", "dev/lotus/sensor", "other/lotus/sensor"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn another_chip_family_is_refused_unless_it_is_forced() {
    let (place, token) = developer();
    fs::write(place.path("32.bin"), image32(1)).unwrap();
    fs::write(place.path("littlefs.bin"), littlefs(4096, 16)).unwrap();
    let program = place.serve();
    let run = |arguments: &[&str]| remote(&place, &program, &token, arguments);
    printed(&run(&["publish", "1.bin", "dev/lotus/sensor"]));
    let said = failed(&run(&["publish", "32.bin", "dev/lotus/sensor"]), 1);
    assert!(said.contains("ESP32") && said.contains("ESP8266"), "{said}");
    assert_eq!(poll(&program, "dev/lotus/n/sensor"), md5(1));
    let said = printed(&run(&["publish", "littlefs.bin", "dev/lotus/sensor"]));
    assert!(said.contains("filesystem"), "{said}");
    printed(&run(&[
        "publish",
        "32.bin",
        "dev/lotus/sensor",
        "--force-family",
    ]));
    assert_eq!(poll(&program, "dev/lotus/n/sensor"), "held wrong-family");
}

#[test]
fn an_image_is_published_while_no_server_runs() {
    let (place, _) = developer();
    printed(&place.run(&["publish", "1.bin", "dev/+/sensor"]));
    printed(&place.run(&["publish", "2.bin", "dev/+/sensor"]));
    printed(&place.run(&["rollback", "dev/+/sensor"]));
    let program = place.serve();
    wait_until("it is served", || {
        poll(&program, "dev/lotus/n/sensor") == md5(1)
    });
}

#[test]
fn what_a_lost_laptop_published_is_taken_back_with_its_token() {
    let (place, token) = developer();
    let program = place.serve();
    printed(&place.run(&["publish", "1.bin", "dev/lotus/sensor"]));
    for (file, slot) in [("2.bin", "dev/lotus/sensor"), ("3.bin", "dev/lotus/relay")] {
        printed(&remote(&place, &program, &token, &["publish", file, slot]));
    }
    let (tokens, _) = place.json(&["token", "list"], "");
    let id = tokens[0]["id"].as_str().unwrap();
    assert_eq!(
        place.run(&["token", "revoke", id, "--undo"]).status.code(),
        Some(2)
    );
    let said = printed(&place.run(&["token", "revoke", id, "--undo", "--since", "1h"]));
    assert!(
        said.contains("dev/lotus/sensor firmware: back to"),
        "{said}"
    );
    assert_eq!(poll(&program, "dev/lotus/n/sensor"), md5(1));
    assert_eq!(poll(&program, "dev/lotus/n/relay"), "no-image");
    failed(
        &remote(
            &place,
            &program,
            &token,
            &["publish", "4.bin", "dev/lotus/sensor"],
        ),
        1,
    );
}

/// The first block of this kind behind a heading of docs/publishing.md.
fn documented(heading: &str, kind: &str) -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/publishing.md"));
    let page = page.unwrap();
    let part = page.split(&format!("\n## {heading}\n")).nth(1).unwrap();
    let block = part.split(&format!("```{kind}\n")).nth(1).unwrap();
    block.split("```").next().unwrap().to_owned()
}

#[test]
fn the_documented_ways_publish_to_a_real_server() {
    let (place, token) = developer();
    let program = place.serve();
    let server = format!("https://localhost:{}", program.addresses().1.port());
    fs::copy(
        place.path("state/identity/root.pem"),
        place.path("root.pem"),
    )
    .unwrap();
    // PlatformIO, with the options of the document.
    fs::write(place.path("firmware.bin"), image8266(1)).unwrap();
    let ini = documented("From PlatformIO", "ini");
    let options: Vec<String> = ini
        .lines()
        .filter(|line| line.starts_with("custom_"))
        .map(|line| {
            line.replace(" = ", "=")
                .replace("https://ota.example.org:8443", &server)
        })
        .collect();
    assert_eq!(options.len(), 3, "{ini}");
    let output = platformio(&place, &options)
        .env("OTATREE_TOKEN", &token)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(poll(&program, "dev/lotus/n/sht30_d1_mini"), md5(1));
    let output = platformio(&place, &options)
        .env("OTATREE_TOKEN", "otatree_x")
        .output()
        .unwrap();
    assert!(said(&output).contains("401: "), "{}", said(&output));
    // The Arduino IDE, with the line of the document.
    let build = place.path("build/esp8266.esp8266.d1_mini");
    fs::create_dir_all(&build).unwrap();
    fs::write(build.join("blink.ino.bin"), image8266(2)).unwrap();
    let line =
        documented("From the Arduino IDE", "sh").replace("https://ota.example.org:8443", &server);
    let bash = |line: &str, token: &str| {
        let mut command = bare("bash".as_ref(), place.dir.path());
        command.args(["-euc", line]).env("OTATREE_TOKEN", token);
        command.output().unwrap()
    };
    let answer: Value = serde_json::from_str(&printed(&bash(&line, &token))).unwrap();
    assert_eq!(answer["about"]["md5"], md5(2));
    assert_eq!(poll(&program, "dev/lotus/n/sht30_d1_mini"), md5(2));
    assert!(!bash(&line, "otatree_x").status.success());
    // GitHub, with the line of the document.
    fs::create_dir_all(place.path(".pio/build/sht30_d1_mini")).unwrap();
    fs::write(
        place.path(".pio/build/sht30_d1_mini/firmware.bin"),
        image8266(3),
    )
    .unwrap();
    let yaml = documented("From GitHub Actions", "yaml");
    let line = yaml.split("run: |\n").nth(1).unwrap();
    let line = line.replace("https://ota.example.org:8443", &server);
    let line = line.replace("curl ", "curl --cacert root.pem ");
    printed(&bash(&line, &token));
    assert_eq!(poll(&program, "dev/lotus/n/sht30_d1_mini"), md5(3));
}

#[test]
fn a_refusal_is_heard_while_a_large_file_is_under_way() {
    let (place, _) = developer();
    fs::write(place.path("littlefs.bin"), littlefs(4096, 2048)).unwrap();
    let program = place.serve();
    let publish = ["publish", "littlefs.bin", "dev/lotus/sensor"];
    let said = failed(&remote(&place, &program, "otatree_x", &publish), 1);
    assert!(said.contains("good token"), "{said}");
    let http = format!("http://{}", program.addresses().0);
    let mut command = place.command(&publish);
    command
        .args(["--server", &http])
        .env("OTATREE_TOKEN", "otatree_x");
    assert!(failed(&command.output().unwrap(), 1).contains("good token"));
    // What the server alone knows: here, its limit.
    drop(program);
    place.configure("");
    let text = fs::read_to_string(place.path("config.toml")).unwrap();
    let text = text.replace("[tree]", "[tree]\nlargest_image = \"1 MiB\"");
    fs::write(place.path("config.toml"), text).unwrap();
    let _program = place.serve();
    let said = failed(&place.run(&publish), 1);
    assert!(said.contains("largest_image"), "{said}");
}

#[test]
fn the_control_socket_is_the_api_for_curl_as_well() {
    let (place, _) = developer();
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md")).unwrap();
    let line = page
        .lines()
        .find(|line| line.contains("--unix-socket"))
        .unwrap();
    let _program = place.serve();
    let mut command = bare("bash".as_ref(), place.dir.path());
    let orgs = printed(
        &command
            .args(["-euc", &line.replace("sudo ", "")])
            .output()
            .unwrap(),
    );
    assert!(orgs.contains("\"dev\""), "{orgs}");
}

#[test]
fn a_push_is_checked_out_into_the_tree_with_modes_that_the_group_can_use() {
    let place = Place::new("");
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/publishing.md"))
        .unwrap();
    let recipe: Vec<&str> = page
        .split("**git.**")
        .nth(1)
        .unwrap()
        .lines()
        .skip_while(|line| !line.starts_with("    "))
        .take_while(|line| line.starts_with("    "))
        .map(|line| &line[4..])
        .collect();
    let here = place.dir.path().display();
    let recipe = recipe
        .join("\n")
        .replace("/srv/git/", &format!("{here}/"))
        .replace("/srv/ota/", &format!("{here}/ota/"));
    fs::create_dir(place.path("ota/dev")).unwrap();
    let program = place.serve();
    let script = format!(
        "umask 077\n{recipe}\ngit init -q -b main clone && cd clone && mkdir -p lotus/sensor && cp ../1.bin lotus/sensor/firmware.bin
        git add . && git -c user.name=a -c user.email=a@example.org commit -qm one && git push -q ../ota-dev.git main"
    );
    fs::write(place.path("1.bin"), image8266(1)).unwrap();
    let mut command = bare("bash".as_ref(), place.dir.path());
    let output = command
        .args(["-euc", &script])
        .env("HOME", place.dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    wait_until("it is served", || {
        poll(&program, "dev/lotus/n/sensor") == md5(1)
    });
    let mode = fs::metadata(place.path("ota/dev/lotus/sensor/firmware.bin"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o664);
}
