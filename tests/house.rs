//! The house of the tests: a tree in a temporary folder, the server on port 0, clients. Dropped, it is gone.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use otatree::config::Config;
use otatree::desk::{Desk, Rules};
use otatree::doors;
use otatree::doors::people::api::Api;
use otatree::firmware::forge::{Esp32, Esp8266};
use otatree::firmware::{Guards, Md5};
use otatree::health::Board;
use otatree::office::Office;
use otatree::people::{People, PeopleError};
use otatree::server::tls::{Tls, TlsSettings};
use otatree::server::{self, Shared};
use otatree::store::Store;
use otatree::tree::{Patience, Settings, Tree};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// Nothing in a test takes longer than this unless it is broken.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until `done` is true; fails with `what` when it never is.
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < end, "it never came true: {what}");
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// A server with everything around it.
pub struct House {
    pub dir: TempDir,
    pub http: SocketAddr,
    pub https: SocketAddr,
    pub root_pem: String,
    pub tls: Tls,
    #[allow(dead_code, reason = "for tests of the tree")]
    pub tree: Tree,
    pub desk: Arc<Desk>,
    pub board: Arc<Board>,
    pub shared: Arc<Shared>,
    pub api: Api,
    /// Why nobody is known, or everybody.
    pub people: Result<People, PeopleError>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<server::Ended>>,
}

impl House {
    /// With `settle` and `removal_grace` of nothing, so that a dropped file is there at once.
    pub fn new() -> Self {
        Self::with("")
    }

    /// With more lines of config.toml: whole sections; `[tree]` lines go before everything else by [`House::patient`].
    pub fn with(more: &str) -> Self {
        Self::build(
            tempfile::tempdir().unwrap(),
            "settle = \"0s\"\nremoval_grace = \"0s\"\nquiet = \"0s\"",
            more,
        )
    }

    /// With other lines in `[tree]`.
    pub fn patient(tree_lines: &str, more: &str) -> Self {
        Self::build(tempfile::tempdir().unwrap(), tree_lines, more)
    }

    /// Over a folder that may hold a tree (`ota/`) and a state (`state/`) already.
    pub fn build(dir: TempDir, tree_lines: &str, more: &str) -> Self {
        fs::create_dir_all(dir.path().join("ota")).unwrap();
        fs::create_dir_all(dir.path().join("state")).unwrap();
        let trusted = more
            .lines()
            .find(|line| line.starts_with("trusted_proxies"))
            .unwrap_or("");
        let rest: String = more
            .lines()
            .filter(|line| !line.starts_with("trusted_proxies"))
            .fold(String::new(), |mut all, line| {
                let _ = writeln!(all, "{line}");
                all
            });
        let text = format!(
            "{trusted}\n[[listen]]\naddress = \"127.0.0.1:0\"\nPROXY_HTTP\n[[listen]]\naddress = \"127.0.0.1:0\"\ntls = true\nPROXY_HTTPS\n[tree]\n{tree_lines}\n{rest}"
        );
        let proxy = if rest.contains("#proxy_protocol") {
            "proxy_protocol = true"
        } else {
            ""
        };
        let text = text
            .replace("PROXY_HTTPS", proxy)
            .replace("PROXY_HTTP", proxy);
        let config = Config::parse(&text, dir.path()).unwrap();
        let settings = TlsSettings {
            pairs: Vec::new(),
            anchors: Vec::new(),
            client_cas: Vec::new(),
            names: Vec::new(),
            sessions: 1000,
            identity: dir.path().join("state/identity"),
        };
        let (tls, _) = Tls::open(settings, SystemTime::now()).unwrap();
        Self::open(dir, &config, tls)
    }

    fn open(dir: TempDir, config: &Config, tls: Tls) -> Self {
        let board = Arc::new(Board::new());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let guard = runtime.enter();
        let tree = Tree::start(settings(config), &board).unwrap();
        let rules = Rules {
            guards: Guards {
                loop_limit: config.guards.loop_limit,
            },
            downloads_at_once: config.limits.downloads_at_once,
            answer: config.limits.answer,
        };
        let people = Store::open(&config.state.dir)
            .map_err(PeopleError::from)
            .and_then(People::open);
        let desk = Arc::new(Desk::new(tree.clone(), rules, people.clone().ok()));
        let people_or_why = people.clone().map_err(|error| error.to_string());
        let office = Office::new(
            people_or_why,
            tree.clone(),
            config.tree.root.clone(),
            config.tree.largest_image.as_u64(),
        );
        let api = Api::new(office, None);
        let doors = doors::open(&config.doors, &desk, &board, api.clone());
        let shared = Shared::new(
            doors,
            Some(tls.clone()),
            config.limits.clone(),
            config.trusted_proxies.clone(),
        );
        let listeners = server::bind(&config.listen, &config.limits).unwrap();
        let (http, https) = (
            listeners[0].address().unwrap(),
            listeners[1].address().unwrap(),
        );
        let (stop, stopped) = oneshot::channel();
        let running = server::run(listeners, shared.clone(), async {
            let _ = stopped.await;
        });
        drop(guard);
        let thread = std::thread::spawn(move || runtime.block_on(running));
        let root_pem = tls.root_pem().unwrap();
        Self {
            dir,
            http,
            https,
            root_pem,
            tls,
            tree,
            desk,
            board,
            shared,
            api,
            people,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// The tree's folder.
    pub fn ota(&self) -> PathBuf {
        self.dir.path().join("ota")
    }

    /// Puts a file into the tree as `cp` would, over whatever is there.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.ota().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Puts a file into the tree as `rsync` would: beside, then renamed.
    pub fn put_renamed(&self, path: &str, bytes: &[u8]) {
        let path = self.ota().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let hidden = path.with_file_name(".incoming");
        fs::write(&hidden, bytes).unwrap();
        fs::rename(hidden, path).unwrap();
    }

    pub fn remove(&self, path: &str) {
        let path = self.ota().join(path);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
    }

    /// A GET over HTTP with these headers.
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.request("GET", path, "HTTP/1.1", headers)
    }

    pub fn request(
        &self,
        method: &str,
        path: &str,
        version: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut text =
            format!("{method} {path} {version}\r\nHost: localhost\r\nConnection: close\r\n");
        for (name, value) in headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text.push_str("\r\n");
        self.raw(text.as_bytes())
    }

    /// Sends bytes over HTTP, reads to the end, and takes the first answer apart.
    pub fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        Answer::read(&mut stream, bytes.starts_with(b"HEAD"))
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// A GET over HTTPS that trusts the house's own root.
    pub fn get_tls(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut text = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        for (name, value) in headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text.push_str("\r\n");
        let mut stream = self.connect_tls();
        stream.write_all(text.as_bytes()).unwrap();
        Answer::read(&mut stream, false)
    }

    pub fn connect_tls(&self) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
        self.connect_tls_over(TcpStream::connect(self.https).unwrap())
    }

    /// TLS over a connection that is there already.
    pub fn connect_tls_over(
        &self,
        stream: TcpStream,
    ) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.root_pem.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = rustls::ClientConnection::new(
            Arc::new(config),
            ServerName::try_from("localhost").unwrap(),
        )
        .unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        rustls::StreamOwned::new(client, stream)
    }

    /// A poll as an ESP8266 sends it, with the MD5 of what it runs.
    pub fn poll8266(&self, device: &str, md5: &str) -> Answer {
        self.request(
            "GET",
            &format!("/ota_update/{device}"),
            "HTTP/1.0",
            &esp8266(md5),
        )
    }

    /// A poll as an ESP32 sends it.
    pub fn poll32(&self, device: &str, md5: &str, sha256: &str) -> Answer {
        self.request(
            "GET",
            &format!("/ota_update/{device}"),
            "HTTP/1.0",
            &esp32(md5, sha256),
        )
    }

    /// Waits until a device that runs something else hears `decision` (`x-ota-decision`).
    #[track_caller]
    pub fn wait_decision(&self, device: &str, decision: &str) {
        let mut last = String::new();
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            last = self
                .head(&format!("/ota_update/{device}"))
                .header("x-ota-decision")
                .unwrap_or_default()
                .to_owned();
            if last == decision {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{device} never heard {decision:?}, but {last:?}");
    }

    /// Waits until a plain download of this device's image gives these bytes.
    #[track_caller]
    pub fn wait_served(&self, device: &str, bytes: &[u8]) {
        let md5 = Md5::of(bytes).to_string();
        wait_until(&format!("{device} is served {md5}"), || {
            self.head(&format!("/ota_update/{device}")).header("x-md5") == Some(&md5)
        });
    }

    pub fn head(&self, path: &str) -> Answer {
        self.request("HEAD", path, "HTTP/1.1", &[])
    }

    /// Ends the server in order and says how it ended; the folder stays.
    pub fn stop(&mut self) -> Option<server::Ended> {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        self.thread.take().map(|thread| thread.join().unwrap())
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

/// What the tree wants to know, as `otatree serve` has it.
pub fn settings(config: &Config) -> Settings {
    let tree = &config.tree;
    let frugal_iot = &config.doors.frugal_iot;
    Settings {
        root: tree.root.clone(),
        state: config.state.dir.clone(),
        patience: Patience {
            settle: tree.settle,
            removal_grace: tree.removal_grace,
            quiet: tree.quiet,
        },
        sweep: tree.sweep,
        poll: tree.poll,
        largest_image: tree.largest_image.as_u64(),
        memory: tree.memory.as_u64(),
        keys: config
            .orgs
            .iter()
            .filter_map(|(org, of)| Some((org.clone(), of.public_keys.clone()?)))
            .collect(),
        prefix: frugal_iot
            .enabled
            .then(|| frugal_iot.prefix.as_str().into()),
        keep_previous: config.state.keep_previous,
        live: true,
    }
}

/// Headers of ESP8266HTTPUpdate, as recorded in esp8266/Arduino issue 8079.
pub fn esp8266(md5: &str) -> Vec<(&'static str, &str)> {
    vec![
        ("User-Agent", "ESP8266-http-Update"),
        ("x-ESP8266-Chip-ID", "9807700"),
        ("x-ESP8266-STA-MAC", "48:3F:DA:95:A7:54"),
        ("x-ESP8266-AP-MAC", "4A:3F:DA:95:A7:54"),
        ("x-ESP8266-free-space", "1720320"),
        ("x-ESP8266-sketch-size", "375392"),
        ("x-ESP8266-sketch-md5", md5),
        ("x-ESP8266-chip-size", "16777216"),
        ("x-ESP8266-sdk-version", "2.2.2-dev(38a443e)"),
        ("x-ESP8266-mode", "sketch"),
        ("Content-Length", "0"),
    ]
}

/// Headers of HTTPUpdate of arduino-esp32 3.x.
pub fn esp32<'a>(md5: &'a str, sha256: &'a str) -> Vec<(&'static str, &'a str)> {
    vec![
        ("User-Agent", "ESP32-http-Update"),
        ("Cache-Control", "no-cache"),
        ("x-ESP32-BASE-MAC", "24:6F:28:AA:BB:CC"),
        ("x-ESP32-STA-MAC", "24:6F:28:AA:BB:CC"),
        ("x-ESP32-AP-MAC", "24:6F:28:AA:BB:CD"),
        ("x-ESP32-free-space", "1966080"),
        ("x-ESP32-sketch-size", "927648"),
        ("x-ESP32-sketch-md5", md5),
        ("x-ESP32-sketch-sha256", sha256),
        ("x-ESP32-chip-size", "4194304"),
        ("x-ESP32-sdk-version", "v5.1.4"),
        ("x-ESP32-mode", "sketch"),
    ]
}

/// A small valid image; another `seed` is another image.
pub fn image8266(seed: u64) -> Vec<u8> {
    Esp8266 {
        seed,
        ..Esp8266::default()
    }
    .build()
}

/// A small valid image; another `seed` is another image.
pub fn image32(seed: u64) -> Vec<u8> {
    Esp32 {
        seed,
        ..Esp32::default()
    }
    .build()
}

/// An answer, taken apart.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub version: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads to the end of the connection.
    pub fn read(stream: &mut impl Read, head_only: bool) -> Self {
        let mut all = Vec::new();
        let result = stream.read_to_end(&mut all);
        Self::parse(&all, head_only).unwrap_or_else(|| {
            panic!(
                "no answer in {:?} ({result:?})",
                String::from_utf8_lossy(&all)
            )
        })
    }

    pub fn parse(all: &[u8], head_only: bool) -> Option<Self> {
        let end = all.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&all[..end]);
        let mut lines = head.split("\r\n");
        let mut status = lines.next()?.split(' ');
        let version = status.next()?.to_owned();
        let status = status.next()?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let body = if head_only {
            Vec::new()
        } else {
            all[end + 4..].to_vec()
        };
        Some(Self {
            status,
            version,
            headers,
            body,
        })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn decision(&self) -> &str {
        self.header("x-ota-decision").unwrap_or("")
    }
}

/// The path of something beside the tests.
#[allow(dead_code, reason = "for tests with other programs")]
pub fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}
