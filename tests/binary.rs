//! The program as systemd and people run it: exit codes, signals, notifications, passed sockets.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use otatree::firmware::Md5;

use crate::clients::needed;
use crate::house::{DEADLINE, esp8266, image8266, wait_until};
use crate::program::{Place, Program, TREE, ask, bare};

const NODE: &str = "/ota_update/dev/lotus/node1/key";
const OLD: &str = "00000000000000000000000000000000";

fn wrong(output: &Output) -> (Option<i32>, String) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

/// Runs the server of this place, which is to fail.
#[track_caller]
fn fails(place: &Place, code: i32, words: &[&str]) {
    let (exit, said) = wrong(&place.run(&["serve"]));
    assert_eq!(exit, Some(code), "{said}");
    for words in words {
        assert!(said.contains(words), "{words:?} in {said}");
    }
}

fn served(program: &Program) -> u16 {
    ask(program.addresses().0, "GET", NODE, &esp8266(OLD)).status
}

#[test]
fn a_bad_configuration_is_78_and_names_its_line() {
    let place = Place::new("only[tree]\nroot = \"ota\"\nsetle = \"2s\"\n");
    fails(&place, 78, &["config.toml", "line 3, column 1", "setle"]);
    place.configure("only[tree]\nsettle = \"soon\"\n");
    fails(&place, 78, &["line 2, column 10", "soon"]);
    place.configure("only[tree\n");
    fails(&place, 78, &["line 1"]);
    fs::remove_file(place.path("config.toml")).unwrap();
    fails(&place, 78, &["config.toml"]);
}

#[test]
fn a_bad_certificate_is_78() {
    let place = Place::new("[tls]\ncertificate = \"none.pem\"\nkey = \"none-key.pem\"\n");
    fails(&place, 78, &["none.pem"]);
    fs::write(place.path("none.pem"), "no PEM\n").unwrap();
    fs::write(place.path("none-key.pem"), "no PEM\n").unwrap();
    fails(&place, 78, &["none.pem"]);
}

#[test]
fn a_taken_port_is_70_and_says_the_cure() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let place = Place::new(&format!("only[[listen]]\naddress = \"{address}\"\n"));
    fails(
        &place,
        70,
        &[&address.to_string(), "another program listens there"],
    );
}

#[test]
fn a_second_server_on_one_state_folder_is_refused() {
    let place = Place::new("");
    let program = place.serve();
    fails(&place, 70, &["another otatree runs on the state folder"]);
    assert_eq!(served(&program), 304, "the first is not disturbed");
}

#[test]
fn what_cannot_be_meant_is_2_and_help_is_0() {
    let place = Place::new("");
    for arguments in [
        &["dance"][..],
        &["--dance"],
        &["which"],
        &["which", "a/b"],
        &["--log-level", "loud"],
    ] {
        assert_eq!(place.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    for arguments in [["--help"], ["--version"]] {
        let output = place.run(&arguments);
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
        assert!(String::from_utf8_lossy(&output.stdout).contains("otatree"));
    }
}

#[test]
fn serve_is_what_happens_without_a_command_wherever_the_configuration_is() {
    let place = Place::new("");
    let config = place.path("config.toml");
    let elsewhere = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_otatree").as_ref();
    let mut option = bare(program, elsewhere.path());
    option.arg("--config").arg(&config);
    let mut environment = bare(program, elsewhere.path());
    environment.arg("serve").env("OTATREE_CONFIG", &config);
    for command in [option, environment] {
        let program = Program::start(command);
        program.wait_said("serving");
        assert_eq!(served(&program), 304);
    }
    let here = fs::read_dir(elsewhere.path()).unwrap().count();
    assert_eq!(here, 0, "paths are relative to the configuration");
}

#[test]
fn it_tells_systemd_how_it_is() {
    let place = Place::new("");
    let path = place.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut command = place.command(&[]);
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000");
    let mut program = Program::start(command);
    let hear = |words: &str| {
        let end = Instant::now() + DEADLINE;
        let mut buffer = [0; 512];
        while Instant::now() < end {
            let length = socket.recv(&mut buffer).unwrap();
            let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if said.contains(words) {
                return said;
            }
        }
        panic!("never heard {words:?}");
    };
    hear("READY=1");
    assert_eq!(served(&program), 304, "ready means ready");
    let begun = Instant::now();
    for _ in 0..5 {
        hear("WATCHDOG=1");
    }
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "twice as often as asked, and each second at the latest"
    );
    program.signal("HUP");
    assert!(hear("RELOADING=1").contains("MONOTONIC_USEC="));
    hear("READY=1");
    program.signal("TERM");
    hear("STOPPING=1");
    assert_eq!(program.end().code(), Some(0));
}

#[test]
fn sockets_of_systemd_are_used_by_their_ports() {
    let activate = needed("systemd-socket-activate", "systemd");
    let ports = [(); 2].map(|()| {
        TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
    });
    let place = Place::new(&format!(
        "only[[listen]]\naddress = \"127.0.0.1:{}\"\ntls = true\n[[listen]]\naddress = \"127.0.0.1:{}\"\n{TREE}",
        ports[1].port(),
        ports[0].port(),
    ));
    let image = image8266(1);
    place.put("dev/key/firmware.bin", &image);
    let mut command = bare(&activate, place.dir.path());
    // Passed in another order than they are configured.
    for port in &ports {
        command.arg(format!("--listen={port}"));
    }
    let program = Program::start({
        command.arg(env!("CARGO_BIN_EXE_otatree"));
        command
    });
    wait_until("it waits for a client", || {
        TcpStream::connect(ports[0]).is_ok()
    });
    program.wait_said("serving");
    wait_until("the image is served", || {
        ask(ports[0], "GET", NODE, &esp8266(OLD)).status == 200
    });
    let mut curl = bare(&needed("curl", "curl"), place.dir.path());
    let url = format!("https://localhost:{}{NODE}", ports[1].port());
    let output = curl
        .args(["--silent", "--cacert", "state/identity/root.pem", &url])
        .output()
        .unwrap();
    assert!(output.stdout == image, "{output:?}");
}

#[test]
fn a_socket_that_nobody_configured_is_78() {
    let activate = needed("systemd-socket-activate", "systemd");
    let free = || {
        TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
    };
    let (asked, unasked) = (free(), free());
    let place = Place::new(&format!("only[[listen]]\naddress = \"{asked}\"\n{TREE}"));
    let mut command = bare(&activate, place.dir.path());
    command
        .arg(format!("--listen={unasked}"))
        .arg(env!("CARGO_BIN_EXE_otatree"));
    let mut program = Program::start(command);
    wait_until("it waits for a client", || {
        TcpStream::connect(unasked).is_ok()
    });
    assert_eq!(program.end().code(), Some(78), "{:?}", program.lines(""));
    assert!(
        !program.lines("no [[listen]] section has port").is_empty(),
        "{:?}",
        program.lines("")
    );
}

#[test]
fn sighup_reloads_guards_and_keeps_what_it_had_when_the_new_is_wrong() {
    let place = Place::new("");
    let image = image8266(1);
    place.put("dev/key/firmware.bin", &image);
    let program = place.serve();
    let http = program.addresses().0;
    wait_until("the image is served", || {
        ask(http, "HEAD", NODE, &[]).status == 200
    });
    assert_eq!(served(&program), 200);

    place.configure("[guards]\nloop = 1\nlop = 2\n");
    program.signal("HUP");
    program.wait_said("the old configuration stays");
    assert_eq!(served(&program), 200);
    assert!(program.lines("the old configuration stays")[0].contains("lop"));
    let health = String::from_utf8(ask(http, "GET", "/healthz", &[]).body).unwrap();
    assert!(health.contains("the old configuration stays"), "{health}");

    place.configure("[guards]\nloop = 1\n");
    program.signal("HUP");
    program.wait_said("reloaded: ");
    let held = ask(http, "GET", NODE, &esp8266(OLD));
    assert_eq!(held.decision(), "held does-not-stick");
    let health = String::from_utf8(ask(http, "GET", "/healthz", &[]).body).unwrap();
    assert_eq!(health, "ok\n");
}

#[test]
fn sighup_names_what_waits_for_the_next_start() {
    let place = Place::new("");
    let program = place.serve();
    place.configure(
        "[limits]\nconnections = 7\ndead_peer = \"60s\"\n[tls]\nsessions = 7\n[doors.frugal_iot]\nprefix = \"x\"\n",
    );
    program.signal("HUP");
    program.wait_said("reloaded: ");
    let said = program.lines("changes in these sections count at the next start");
    let sections = "[doors] [limits] connections [limits] dead_peer";
    assert!(said.len() == 1 && said[0].contains(sections), "{said:?}");
    program.wait_said("`sessions` is taken over at the next start");
}

#[test]
fn sighup_serves_a_renewed_certificate_and_keeps_the_old_one_when_the_new_is_broken() {
    let place = Place::new("[tls]\ncertificate = \"leaf.pem\"\nkey = \"leaf-key.pem\"\n");
    let make = |days: &str| {
        let made = bare(&needed("openssl", "openssl"), place.dir.path())
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
            ])
            .args([
                "-subj",
                &format!("/CN={days}"),
                "-addext",
                "subjectAltName=DNS:localhost",
            ])
            .args(["-days", days, "-out", "leaf.pem", "-keyout", "leaf-key.pem"])
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        fs::read_to_string(place.path("leaf.pem")).unwrap()
    };
    let served = |program: &Program, pem: &str| {
        let address = program.addresses().1.to_string();
        let shown = bare(&needed("openssl", "openssl"), place.dir.path())
            .args(["s_client", "-connect", &address, "-servername", "localhost"])
            .output()
            .unwrap();
        let body = pem.lines().nth(1).unwrap();
        String::from_utf8_lossy(&shown.stdout).contains(body)
    };
    let first = make("60");
    let program = place.serve();
    assert!(served(&program, &first));
    let second = make("61");
    program.signal("HUP");
    wait_until("the new certificate is served", || {
        served(&program, &second)
    });
    fs::write(place.path("leaf.pem"), "half").unwrap();
    program.signal("HUP");
    program.wait_said("the old certificates stay");
    assert!(served(&program, &second));
}

#[test]
fn sigterm_lets_a_download_finish_and_takes_no_new_one() {
    let place = Place::new("[limits]\ndrain = \"15s\"\n");
    let image = otatree::firmware::forge::Esp8266 {
        size: 4 * 1024 * 1024,
        ..otatree::firmware::forge::Esp8266::default()
    }
    .build();
    place.put("dev/key/firmware.bin", &image);
    let mut program = place.serve();
    let http = program.addresses().0;
    wait_until("the image is served", || {
        ask(http, "HEAD", NODE, &[]).status == 200
    });
    let mut curl = bare(&needed("curl", "curl"), place.dir.path())
        .args(["--silent", "--limit-rate", "2M", "--output", "downloaded"])
        .arg(format!("http://{http}{NODE}"))
        .spawn()
        .unwrap();
    wait_until("the download runs", || place.path("downloaded").exists());
    program.signal("TERM");
    wait_until("nobody new is let in", || TcpStream::connect(http).is_err());
    assert!(!program.ended(), "the download still runs");
    assert!(curl.wait().unwrap().success());
    assert_eq!(program.end().code(), Some(0));
    let downloaded = fs::read(place.path("downloaded")).unwrap();
    assert_eq!(Md5::of(&downloaded), Md5::of(&image));
    assert!(
        !program.lines("delivered in full").is_empty(),
        "{:?}",
        program.lines("")
    );
}

#[test]
fn sigterm_ends_at_once_when_nothing_runs() {
    let place = Place::new("[limits]\ndrain = \"20s\"\n");
    let mut program = place.serve();
    let mut kept = TcpStream::connect(program.addresses().0).unwrap();
    kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    assert!(kept.read(&mut [0; 1024]).unwrap() > 0);
    let begun = Instant::now();
    program.signal("TERM");
    assert_eq!(program.end().code(), Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "a kept connection is no reason to wait"
    );
}

#[test]
fn sigterm_waits_no_longer_than_the_drain_time() {
    let place = Place::new("[limits]\ndrain = \"300ms\"\n");
    let mut program = place.serve();
    let (http, https) = program.addresses();
    let silent = [http, https].map(|at| TcpStream::connect(at).unwrap());
    assert_eq!(served(&program), 304);
    let begun = Instant::now();
    program.signal("TERM");
    assert_eq!(program.end().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop(silent);
}

#[test]
fn the_folder_of_the_shipped_configuration_is_served_as_it_is() {
    let shipped = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml")).unwrap();
    let text = shipped
        .replace("[::]:8443", "127.0.0.1:0")
        .replace("[::]:8080", "127.0.0.1:0");
    let place = Place::new(&format!("only{text}"));
    let mut program = Program::start(place.command(&[]));
    program.wait_said("serving");
    program.signal("INT");
    assert_eq!(program.end().code(), Some(0));
}
