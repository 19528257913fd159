//! The C clients of `tests/clients/`, compiled once and run against the house.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::house::{House, beside};

/// Which client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chip {
    /// ESP8266: BearSSL.
    Esp8266,
    /// ESP32: mbedTLS 2.28.
    Esp32,
}

impl Chip {
    fn program(self) -> &'static Path {
        static BEARSSL: OnceLock<PathBuf> = OnceLock::new();
        static MBEDTLS: OnceLock<PathBuf> = OnceLock::new();
        match self {
            Self::Esp8266 => BEARSSL.get_or_init(|| compile("bearssl_client", &["bearssl"])),
            Self::Esp32 => MBEDTLS
                .get_or_init(|| compile("mbedtls_client", &["mbedtls", "mbedx509", "mbedcrypto"])),
        }
    }
}

fn compile(name: &str, libraries: &[&str]) -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // Another run of the tests may execute the old one.
    let fresh = program.with_extension(std::process::id().to_string());
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&fresh)
        .arg(beside("clients").join(name).with_extension("c"))
        .args(libraries.iter().map(|library| format!("-l{library}")));
    let cure = "tests/run installs a C compiler, libbearssl-dev and libmbedtls-dev";
    match cc.output() {
        Ok(done) if done.status.success() => {}
        Ok(done) => panic!(
            "{name} does not compile; {cure}\n{}",
            String::from_utf8_lossy(&done.stderr)
        ),
        Err(error) => panic!("cc cannot be run ({error}); {cure}"),
    }
    std::fs::rename(&fresh, &program).unwrap();
    program
}

/// A program that a test cannot do without.
pub fn needed(program: &str, package: &str) -> PathBuf {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .chain(["/usr/sbin".into(), "/usr/bin".into()])
        .map(|folder| folder.join(program))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{program} is missing; tests/run installs Debian's {package}"))
}

/// One connection of a client, with its request.
pub struct Call {
    command: Command,
    request: Vec<u8>,
}

impl Call {
    /// A GET in HTTP/1.0 with these headers, as all Arduino updaters send it.
    pub fn get(chip: Chip, server: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut request =
            format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let mut command = Command::new(chip.program());
        command
            .arg("--connect")
            .arg(server.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self {
            command,
            request: request.into_bytes(),
        }
    }

    /// A poll of a device that reports `md5`.
    pub fn poll(chip: Chip, house: &House, device: &str, md5: &str) -> Self {
        let headers = match chip {
            Chip::Esp8266 => crate::house::esp8266(md5),
            Chip::Esp32 => crate::house::esp32(md5, ""),
        };
        Self::get(
            chip,
            house.https,
            &format!("/ota_update/{device}"),
            &headers,
        )
    }

    /// An option of the client with its value.
    pub fn with(mut self, option: &str, value: impl ToString) -> Self {
        self.command
            .arg(format!("--{option}"))
            .arg(value.to_string());
        self
    }

    /// An option without a value.
    pub fn flag(mut self, option: &str) -> Self {
        self.command.arg(format!("--{option}"));
        self
    }

    /// Trusts this root alone and checks the name.
    pub fn trusting(self, house: &House, name: &str) -> Self {
        let path = house.dir.path().join("trusted.pem");
        std::fs::write(&path, &house.root_pem).unwrap();
        self.with("anchor", path.display()).with("sni", name)
    }

    /// Begins it.
    pub fn start(mut self) -> Running {
        let mut child = self.command.spawn().unwrap();
        // A client that asks nothing (a probe) may be gone already.
        let _ = child.stdin.take().unwrap().write_all(&self.request);
        Running(child)
    }

    /// Runs it to its end.
    pub fn run(self) -> Report {
        self.start().end()
    }
}

/// A client under way.
pub struct Running(Child);

impl Running {
    /// Waits for its report.
    #[track_caller]
    pub fn end(self) -> Report {
        let done = self.0.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&done.stdout);
        let Ok(report) = serde_json::from_str(&text) else {
            panic!(
                "no report in {text:?}: {}",
                String::from_utf8_lossy(&done.stderr)
            );
        };
        Report(report)
    }
}

/// What a client saw.
#[derive(Debug)]
pub struct Report(pub Value);

impl Report {
    pub fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_default()
    }

    pub fn number(&self, key: &str) -> i64 {
        self.0[key].as_i64().unwrap_or(-1)
    }

    pub fn resumed(&self) -> bool {
        self.0["resumed"] == true
    }

    pub fn decision(&self) -> &str {
        self.0["headers"]["x-ota-decision"]
            .as_str()
            .unwrap_or_default()
    }

    /// Status and decision of a whole answer.
    #[track_caller]
    pub fn answer(&self) -> (i64, &str) {
        assert_eq!(self.text("outcome"), "ok", "{}", self.0);
        (self.number("status"), self.decision())
    }

    /// A whole image came, and it is this one.
    #[track_caller]
    pub fn brought(&self, image: &[u8]) {
        assert_eq!(self.answer(), (200, "update"), "{}", self.0);
        let md5 = otatree::firmware::Md5::of(image).to_string();
        assert_eq!(self.text("body_md5"), md5, "{}", self.0);
        assert_eq!(self.text("x_md5"), md5);
        assert_eq!(self.number("trailing_bytes"), 0, "{}", self.0);
    }
}
