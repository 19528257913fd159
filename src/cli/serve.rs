//! `otatree serve`: the only wiring. Everything that can fail, fails before a socket is bound.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use otatree::config::{Config, Level};
use otatree::desk::Desk;
use otatree::doors::{self, probes};
use otatree::health::Board;
use otatree::people::People;
use otatree::server::tls::{Tls, arduino_lines};
use otatree::server::{self, Ended, Listener, Shared};
use otatree::tree::Tree;
use sd_notify::NotifyState;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::console::Offered;
use super::{Exit, console, log, people, settings, state};

/// Renewed certificates are found this often without being told.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(600);

/// Serves until a signal.
pub fn run(path: &Path, level: Option<Level>) -> anyhow::Result<Exit> {
    let config = Config::load(path)?;
    log::start(&config.log, level);
    let _lock = state::lock(&config.state.dir)?;
    let tls = open_tls(&config)?;
    runtime()?.block_on(serve(path, config, tls))
}

/// One thread on one core: nothing to steal, nobody to wake.
fn runtime() -> std::io::Result<Runtime> {
    let mut builder = match std::thread::available_parallelism() {
        Ok(cores) if cores.get() == 1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

fn open_tls(config: &Config) -> anyhow::Result<Option<Tls>> {
    let Some(settings) = settings::tls(config) else {
        return Ok(None);
    };
    // The warnings come again at the first look for renewed certificates, a moment later: then there is a board.
    let (tls, _) = Tls::open(settings, SystemTime::now())?;
    for certificate in tls.summary(SystemTime::now()) {
        tracing::info!(
            path = %certificate.path.display(), names = certificate.names.join(" "), days_left = certificate.days_left,
            issuer = certificate.issuer, "certificate"
        );
    }
    Ok(Some(tls))
}

/// Accounts that cannot be read close the doors for people; devices are served on. Which orgs asked them for secrets is
/// lost with the accounts, so none asks: else a damaged database would end the updates of every fleet.
async fn open_people(config: &Config, board: &Board) -> Result<People, String> {
    let opened = people::open_serving(&config.state.dir).await;
    opened.map_err(|error| {
        let said = format!("{error:#}");
        board.trouble(
            "people",
            Some(format!(
                "people cannot sign in, and devices are served on without being asked for secrets: {said}"
            )),
        );
        said
    })
}

struct Running {
    config: Config,
    tls: Option<Tls>,
    tree: Tree,
    desk: Arc<Desk>,
    shared: Arc<Shared>,
    board: Arc<Board>,
}

async fn serve(path: &Path, config: Config, tls: Option<Tls>) -> anyhow::Result<Exit> {
    let board = Arc::new(Board::new());
    let tree = Tree::start(settings::tree(&config), &board)?;
    let people = open_people(&config, &board).await;
    let rules = settings::rules(&config);
    let desk = Arc::new(Desk::new(tree.clone(), rules, people.clone().ok()));
    let office = people::office(&config, people, tree.clone());
    // It ends with the runtime.
    tokio::spawn(office.clone().record_drops());
    let api = people::api(&config, office);
    let doors = doors::open(&config.doors, &desk, &board, api.clone());
    let shared = Shared::new(
        doors,
        tls.clone(),
        config.limits.clone(),
        config.trusted_proxies.clone(),
    );
    let mut running = Running {
        config,
        tls,
        tree,
        desk,
        shared,
        board,
    };

    // Heard from here on: none is lost, whenever it comes.
    let mut signals = Signals {
        hangup: signal(SignalKind::hangup())?,
        term: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    let listeners = server::bind(&running.config.listen, &running.config.limits)?;
    let drain = running.config.limits.drain;
    let commands = console::offer(&running.config.state.dir, api, drain, &running.board);
    greet(&running, &listeners);
    notify(&[NotifyState::Ready]);
    let shared = running.shared.clone();
    let board = running.board.clone();
    let mut last = None;
    let ended = server::run(listeners, shared, async {
        running.until_told(path, &mut signals).await;
        board.progress(
            probes::DRAINING,
            Some("the server ends; running downloads may finish".to_owned()),
        );
        notify(&[NotifyState::Stopping]);
        last = commands.map(Offered::end);
    })
    .await;
    if let Some(last) = last {
        last.await?;
    }
    match ended {
        Ended::Drained => tracing::info!("ended; every connection was done"),
        Ended::CutOff(open) => tracing::warn!(
            open,
            "ended; the drain time was over and connections were cut off"
        ),
    }
    Ok(Exit::Ok)
}

struct Signals {
    hangup: Signal,
    term: Signal,
    interrupt: Signal,
}

impl Running {
    /// Reloads, pats the watchdog, and returns when the server is to end.
    async fn until_told(&mut self, path: &Path, signals: &mut Signals) {
        let mut watchdog = tokio::time::interval(watchdog_every());
        let mut certificates = tokio::time::interval(CERTIFICATES_EVERY);
        loop {
            tokio::select! {
                _ = signals.hangup.recv() => self.reload(path),
                _ = signals.term.recv() => return tracing::info!("SIGTERM: no new connections"),
                _ = signals.interrupt.recv() => return tracing::info!("SIGINT: no new connections"),
                _ = watchdog.tick() => notify(&[NotifyState::Watchdog]),
                _ = certificates.tick() => self.reload_certificates(),
            }
        }
    }

    /// SIGHUP. A bad configuration changes nothing.
    fn reload(&mut self, path: &Path) {
        if let Ok(time) = NotifyState::monotonic_usec_now() {
            notify(&[NotifyState::Reloading, time]);
        }
        match Config::load(path) {
            Ok(config) => self.obey(config),
            Err(error) => self.board.trouble(
                "config",
                Some(format!(
                    "{:#}; the old configuration stays",
                    anyhow::Error::from(error)
                )),
            ),
        }
        notify(&[NotifyState::Ready]);
    }

    fn obey(&mut self, mut config: Config) {
        self.board.trouble("config", None);
        let later = stay(&self.config, &mut config);
        if !later.is_empty() {
            let sections = later.join(" ");
            tracing::warn!(
                sections,
                "changes in these sections count at the next start"
            );
        }
        self.desk.obey(settings::rules(&config));
        self.tree.take_keys(settings::keys(&config));
        self.shared
            .obey(config.limits.clone(), config.trusted_proxies.clone());
        self.config = config;
        self.reload_certificates();
        self.desk.sweep();
        tracing::info!(
            "reloaded: certificates, guards, limits, public_keys, trusted_proxies; the tree is looked at again"
        );
    }

    fn reload_certificates(&mut self) {
        let (Some(tls), Some(settings)) = (&self.tls, settings::tls(&self.config)) else {
            return;
        };
        match tls.reload_settings(settings, SystemTime::now()) {
            Ok(reloaded) => {
                self.board.trouble("certificates", None);
                let warnings: Vec<String> =
                    reloaded.warnings.iter().map(ToString::to_string).collect();
                self.board.trouble(
                    "certificate-warnings",
                    (!warnings.is_empty()).then(|| warnings.join("; ")),
                );
                for path in reloaded.changed {
                    tracing::info!(path = %path.display(), "certificate reloaded");
                }
            }
            Err(error) => {
                let error = anyhow::Error::from(error);
                self.board.trouble(
                    "certificates",
                    Some(format!("{error:#}; the old certificates stay")),
                );
            }
        }
    }
}

/// What only a start can take over stays as it is, and its sections are named. Another state folder would be another
/// private root, which no device trusts.
fn stay(old: &Config, new: &mut Config) -> Vec<&'static str> {
    let changed = [
        ("[tree]", old.tree != new.tree),
        ("[state]", old.state != new.state),
        ("[[listen]]", old.listen != new.listen),
        ("[log]", old.log != new.log),
        ("[doors]", old.doors != new.doors),
        (
            "[limits] connections",
            old.limits.connections != new.limits.connections,
        ),
        (
            "[limits] dead_peer",
            old.limits.dead_peer != new.limits.dead_peer,
        ),
    ];
    new.tree.clone_from(&old.tree);
    new.state.clone_from(&old.state);
    new.listen.clone_from(&old.listen);
    new.log.clone_from(&old.log);
    new.doors.clone_from(&old.doors);
    new.limits.connections = old.limits.connections;
    new.limits.dead_peer = old.limits.dead_peer;
    let later = changed.into_iter().filter(|(_, changed)| *changed);
    later.map(|(name, _)| name).collect()
}

fn watchdog_every() -> Duration {
    // Half of what systemd asks, as sd_watchdog_enabled(3) advises; without it, a tick that nobody hears.
    sd_notify::watchdog_enabled().map_or(Duration::from_secs(60), |asked| asked / 2)
}

/// Without systemd nobody hears it, and nothing is wrong.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

/// Where it listens, for the log; and on a terminal, what to try next.
fn greet(running: &Running, listeners: &[Listener]) {
    let mut ports = (None, None);
    for listener in listeners {
        let Ok(address) = listener.address() else {
            continue;
        };
        tracing::info!(%address, tls = listener.tls, "listening");
        if listener.client_ca.is_some() {
            continue;
        }
        if listener.tls {
            ports.0.get_or_insert(address.port());
        } else {
            ports.1.get_or_insert(address.port());
        }
    }
    tracing::info!(tree = %running.config.tree.root.display(), state = %running.config.state.dir.display(), "serving");
    let text = hints(running, ports);
    // Nobody reads it when stdout is closed.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn hints(running: &Running, (https, http): (Option<u16>, Option<u16>)) -> String {
    let prefix = &running.config.doors.frugal_iot.prefix;
    let sample = format!("/{prefix}/demo/any/node1/sample_esp8266");
    let mut text = String::from("\nTry it:\n");
    if let Some(port) = http {
        text.push_str(&format!(
            "  curl -si http://localhost:{port}{sample} --output - | head -c 700\n"
        ));
    }
    let Some(port) = https else { return text };
    let Some((tls, root)) = running
        .tls
        .as_ref()
        .and_then(|tls| Some((tls, tls.root_pem()?)))
    else {
        text.push_str(&format!(
            "  curl -si https://localhost:{port}{sample} --output - | head -c 700\n"
        ));
        return text;
    };
    let file = running.config.state.dir.join("identity/root.pem");
    text.push_str(&format!(
        "  curl -si --cacert {} https://localhost:{port}{sample} --output - | head -c 700\n",
        file.display()
    ));
    let name = tls
        .summary(SystemTime::now())
        .first()
        .and_then(|leaf| leaf.names.first().cloned())
        .unwrap_or_else(|| "localhost".to_owned());
    text.push_str(&format!(
        "\nIn the sketch (Frugal-IoT; the trailing slash is needed):\n  #define SYSTEM_OTA_SERVERPORTPATH \"https://{name}:{port}/{prefix}/\"\n\n\
         The server's own root certificate, for the sketch to trust:\n{}\n",
        arduino_lines(&root)
    ));
    text
}
