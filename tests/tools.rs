//! curl and openssl, as people and monitors use them.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::clients::{Call, Chip, needed};
use crate::house::{House, image8266, wait_until};
use crate::program::Place;

const NODE: &str = "dev/lotus/node1/key";

fn root(house: &House) -> PathBuf {
    let path = house.dir.path().join("root.pem");
    std::fs::write(&path, &house.root_pem).unwrap();
    path
}

fn curl(arguments: &[&str]) -> Output {
    let mut curl = Command::new(needed("curl", "curl"));
    curl.env_clear()
        .args(["--silent", "--show-error", "--max-time", "20"])
        .args(arguments)
        .output()
        .unwrap()
}

/// What `openssl s_client` says of a handshake, both streams.
fn s_client(port: u16, arguments: &[&str]) -> String {
    let mut openssl = Command::new(needed("openssl", "openssl"));
    let output = openssl
        .args(["s_client", "-connect", &format!("127.0.0.1:{port}")])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn curl_downloads_with_both_versions_of_tls_when_it_knows_the_root() {
    let house = House::new();
    let image = image8266(1);
    house.put("dev/key/firmware.bin", &image);
    house.wait_served(NODE, &image);
    let root = root(&house);
    let into = house.dir.path().join("downloaded");
    for versions in [&["--tlsv1.2", "--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        for host in ["localhost", "127.0.0.1"] {
            let url = format!("https://{host}:{}/ota_update/{NODE}", house.https.port());
            let mut arguments = versions.to_vec();
            let (root, into) = (root.to_str().unwrap(), into.to_str().unwrap());
            arguments.extend(["--cacert", root, "--output", into, &url]);
            arguments.extend([
                "--write-out",
                "%{http_code} %{http_version} %{ssl_verify_result}",
            ]);
            let output = curl(&arguments);
            assert_eq!(
                String::from_utf8_lossy(&output.stdout),
                "200 1.1 0",
                "{output:?}"
            );
            assert!(std::fs::read(into).unwrap() == image, "{versions:?}");
        }
    }
    let url = format!("https://localhost:{}/ota_update/{NODE}", house.https.port());
    let stranger = curl(&["--cacert", "/dev/null", &url]);
    assert!(
        matches!(stranger.status.code(), Some(60 | 77)),
        "{stranger:?}"
    );
}

#[test]
fn curl_resumes_a_download_and_hears_of_no_change() {
    let house = House::new();
    let image = image8266(1);
    house.put("dev/key/firmware.bin", &image);
    house.wait_served(NODE, &image);
    let root = root(&house);
    let into = house.dir.path().join("part");
    std::fs::write(&into, &image[..5000]).unwrap();
    let url = format!("https://localhost:{}/ota_update/{NODE}", house.https.port());
    let (root, part) = (root.to_str().unwrap(), into.to_str().unwrap());
    let output = curl(&[
        "--cacert",
        root,
        "-C",
        "-",
        "-o",
        part,
        "-w",
        "%{http_code}",
        &url,
    ]);
    assert_eq!(output.stdout, b"206", "{output:?}");
    assert!(std::fs::read(&into).unwrap() == image);

    let tags = house.dir.path().join("tags");
    let tags = tags.to_str().unwrap();
    for status in ["200", "304"] {
        let output = curl(&[
            "--cacert",
            root,
            "--etag-save",
            tags,
            "--etag-compare",
            tags,
            "-o",
            part,
            "-w",
            "%{http_code}",
            &url,
        ]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), status);
    }
}

#[test]
fn openssl_shakes_hands_without_a_name_with_alpn_and_with_max_fragment_length() {
    let house = House::new();
    let port = house.https.port();
    let root = root(&house);
    let trust = ["-CAfile", root.to_str().unwrap(), "-verify_return_error"];
    for (arguments, wanted) in [
        (&["-noservername", "-tls1_2"][..], "Protocol  : TLSv1.2"),
        (&["-noservername", "-tls1_3"], "New, TLSv1.3"),
        (&["-alpn", "http/1.1"], "ALPN protocol: http/1.1"),
        (&["-alpn", "h2,http/1.1"], "ALPN protocol: http/1.1"),
        (
            &["-maxfraglen", "512", "-tls1_2"],
            "Verify return code: 0 (ok)",
        ),
        (&["-groups", "P-256"], "Server Temp Key: ECDH, prime256v1"),
    ] {
        let said = s_client(port, &[arguments, &trust].concat());
        assert!(said.contains(wanted), "{arguments:?}: {said}");
        assert!(
            said.contains("Verify return code: 0 (ok)"),
            "{arguments:?}: {said}"
        );
        assert!(
            !said.contains("Secure Renegotiation IS NOT supported") || said.contains("TLSv1.3")
        );
    }
    let said = s_client(port, &["-alpn", "h2"]);
    assert!(said.contains("no application protocol"), "{said}");
    wait_until("no connection is left", || house.shared.open() == 0);
}

#[test]
fn who_shares_no_version_with_us_is_in_the_log_and_probes_are_not() {
    let place = Place::new("");
    let mut program = place.serve();
    let (http, https) = program.addresses();
    // Probes: a connection that says nothing, one that speaks HTTP to TLS, one that leaves after the hello.
    drop(std::net::TcpStream::connect(https).unwrap());
    std::io::Write::write_all(
        &mut std::net::TcpStream::connect(https).unwrap(),
        b"GET / HTTP/1.0\r\n\r\n",
    )
    .unwrap();
    s_client(
        https.port(),
        &["-CAfile", "/dev/null", "-verify_return_error"],
    );
    s_client(https.port(), &["-alpn", "h2"]);
    Call::get(Chip::Esp8266, https, "/", &[])
        .flag("mfln-probe")
        .run();
    let before = program.lines("").len();

    let said = s_client(https.port(), &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    assert!(said.contains("alert handshake failure"), "{said}");
    program.wait_said("shares no TLS version");
    let said = s_client(
        https.port(),
        &["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"],
    );
    assert!(said.contains("handshake failure"), "{said}");
    wait_until("the second is said too", || {
        program.lines("shares no TLS version").len() == 2
    });
    assert_eq!(
        program.lines("").len(),
        before + 2,
        "{:#?}",
        program.lines("")
    );
    let lines = program.lines("shares no TLS version");
    assert!(
        lines[0].contains("\"level\":\"INFO\"") && lines[0].contains("127.0.0.1"),
        "{lines:?}"
    );
    assert_eq!(
        crate::program::ask(http, "GET", "/healthz", &[]).status,
        200
    );
    // At its next poll there is nothing new to say.
    let said = s_client(https.port(), &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    assert!(said.contains("alert handshake failure"), "{said}");
    program.signal("TERM");
    assert!(program.end().success());
    program.wait_said("every connection was done");
    assert_eq!(program.lines("shares no TLS version").len(), 2);
}
