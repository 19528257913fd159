//! The real program in a folder of its own: the tree `ota/`, a config.toml with ports of the kernel's choice.

use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;

use crate::house::{Answer, DEADLINE, wait_until};

pub const LISTEN: &str =
    "[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen]]\naddress = \"127.0.0.1:0\"\ntls = true\n";
pub const TREE: &str = "[tree]\nsettle = \"0s\"\nremoval_grace = \"0s\"\nquiet = \"0s\"\n";

/// A folder with a configuration and a tree.
pub struct Place {
    pub dir: TempDir,
}

impl Place {
    /// With these sections; [`LISTEN`] and [`TREE`] are there unless `text` begins with `only`.
    pub fn new(text: &str) -> Self {
        let place = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(place.path("ota")).unwrap();
        place.configure(text);
        place
    }

    pub fn configure(&self, text: &str) {
        let text = match text.strip_prefix("only") {
            Some(all) => all.to_owned(),
            None => format!("{LISTEN}{TREE}[log]\nformat = \"json\"\n{text}"),
        };
        fs::write(self.path("config.toml"), text).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.path("ota").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// The program with nothing of this machine's environment but PATH, in this folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bare(Path::new(env!("CARGO_BIN_EXE_otatree")), self.dir.path());
        command.args(arguments);
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command with `--json` and gives its document and its exit code.
    pub fn json(&self, arguments: &[&str], input: &str) -> (Value, Option<i32>) {
        let mut child = self
            .command(arguments)
            .arg("--json")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let document = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
        (document, output.status.code())
    }

    /// Starts the server and waits until it serves.
    pub fn serve(&self) -> Program {
        let program = Program::start(self.command(&[]));
        program.wait_said("serving");
        program
    }
}

/// A command without this machine's environment.
pub fn bare(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir(folder).stdin(Stdio::null());
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

impl Place {
    /// The program in a user namespace and a mount namespace of its own, after these lines of shell as its root. Says
    /// so and gives nothing where the machine forbids them.
    pub fn unshared(&self, script: &str) -> Option<Command> {
        let shell = |script: &str| {
            let mut command = bare(Path::new("unshare"), self.dir.path());
            command.args(["-Urm", "sh", "-euc", script]);
            command
        };
        let why = match shell(script).output() {
            Ok(output) if output.status.success() => {
                let mut command = shell(&format!("{script}\nexec \"$0\""));
                command.arg(env!("CARGO_BIN_EXE_otatree"));
                return Some(command);
            }
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        println!("skipped: this machine does not allow {script:?} in a user namespace: {why}");
        None
    }
}

/// The server as a process. Dropped, it is killed.
pub struct Program {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl Program {
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let (stderr, to) = (child.stderr.take().unwrap(), said.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                to.lock().unwrap().push(line);
            }
        });
        Self { child, said }
    }

    /// The lines of the log with these words.
    pub fn lines(&self, words: &str) -> Vec<String> {
        let said = self.said.lock().unwrap();
        said.iter()
            .filter(|line| line.contains(words))
            .cloned()
            .collect()
    }

    #[track_caller]
    pub fn wait_said(&self, words: &str) {
        wait_until(&format!("{words:?} in {:#?}", self.lines("")), || {
            !self.lines(words).is_empty()
        });
    }

    /// The addresses of HTTP and HTTPS, as it said them.
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        // It may say READY to systemd before its log was read here.
        wait_until("it says where it listens", || {
            self.lines("\"listening\"").len() >= 2
        });
        let listening = |tls: bool| {
            self.lines("\"listening\"")
                .iter()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .find(|line| line["tls"] == tls)
                .and_then(|line| line["address"].as_str()?.parse().ok())
                .unwrap()
        };
        (listening(false), listening(true))
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Runs shell in the namespaces and the folder of a program that [`Place::unshared`] made.
    pub fn enters(&self, script: &str) {
        let entered = Command::new("nsenter")
            .args([
                "-U",
                "-m",
                "--preserve-credentials",
                "-t",
                &self.id().to_string(),
            ])
            .args(["sh", "-euc", &format!("cd \"$0\"\n{script}")])
            .arg(fs::read_link(format!("/proc/{}/cwd", self.id())).unwrap())
            .status();
        assert!(entered.unwrap().success(), "{script}");
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the server ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request over plain HTTP to anybody.
pub fn ask(server: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    Answer::parse(&all, method == "HEAD")
        .unwrap_or_else(|| panic!("no answer in {:?}", String::from_utf8_lossy(&all)))
}
