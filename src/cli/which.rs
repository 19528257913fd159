//! `otatree which`: what a device would get, from which slot, and why. The same search and the same decision as the
//! server's, on the tree as it is on disk.

use std::io::BufRead;
use std::path::Path;

use otatree::config::Config;
use otatree::firmware::{
    Brakes, Decision, Device, DeviceFamily, Effective, Found, Guards, ImageKind, Md5, Order,
    RunningImage, Sha256, Standing, Visit, decide,
};
use otatree::tree::Catalog;
use serde::Serialize;

use super::{Exit, UsageError, settings, show};

/// Arguments of `which`.
#[derive(clap::Args)]
pub struct Args {
    /// The device: <org>/<project>/<node>/<key>
    #[arg(required_unless_present = "stdin")]
    device: Option<String>,
    /// The MD5 that it reports
    #[arg(long, value_name = "HEX")]
    md5: Option<Md5>,
    /// The SHA-256 that it reports (ESP32)
    #[arg(long, value_name = "HEX")]
    sha256: Option<Sha256>,
    /// Its chip family: esp8266, esp32 or pico
    #[arg(long, value_parser = family)]
    family: Option<DeviceFamily>,
    /// The filesystem image instead of the app
    #[arg(long)]
    filesystem: bool,
    /// Read many: a device and, if known, its MD5 on each line; say which would change
    #[arg(long, conflicts_with_all = ["device", "md5", "sha256"])]
    stdin: bool,
    /// Machine-readable
    #[arg(long)]
    json: bool,
}

fn family(text: &str) -> Result<DeviceFamily, String> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "esp8266" => DeviceFamily::Esp8266,
        "esp32" => DeviceFamily::Esp32,
        "pico" => DeviceFamily::Pico,
        _ => return Err("one of esp8266, esp32, pico".to_owned()),
    })
}

#[derive(Serialize)]
struct Report {
    device: String,
    decision: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    md5: Option<Md5>,
    slots: Vec<Tried>,
    policy: Vec<Ordered>,
}

/// One value of the policy that counts for the device.
#[derive(Serialize)]
struct Ordered {
    key: &'static str,
    value: String,
    file: String,
}

#[derive(Serialize)]
struct Tried {
    slot: String,
    found: String,
    won: bool,
}

/// Reads the tree and decides as the server would.
pub fn run(config: &Config, args: &Args) -> anyhow::Result<Exit> {
    let guards = settings::rules(config).guards;
    if args.stdin {
        return many(config, args, guards);
    }
    let device = parse(args.device.as_deref().unwrap_or_default())?;
    let catalog = settings::read_tree(config)?;
    let report = report(
        &catalog,
        &device,
        &visit(args, args.md5, args.sha256),
        guards,
    );
    if args.json {
        show::json(&report)?;
        return Ok(Exit::Ok);
    }
    let mut lines = vec![format!("{}: {}", report.device, report.decision)];
    lines.extend(report.why.map(|why| format!("  {why}")));
    lines.extend(
        report
            .image
            .as_ref()
            .map(|image| format!("  image {image}")),
    );
    lines.push("slots, most specific first:".to_owned());
    for tried in &report.slots {
        lines.push(format!(
            "{} {}  {}",
            if tried.won { ">" } else { " " },
            tried.slot,
            tried.found
        ));
    }
    if !report.policy.is_empty() {
        lines.push("policy, the strictest on its way:".to_owned());
    }
    for Ordered { key, value, file } in &report.policy {
        lines.push(format!("  {key} = {value}  ({file})"));
    }
    lines.push(
        "(read from disk; what a running server remembers of this device was not asked)".to_owned(),
    );
    show::lines(&lines)?;
    Ok(Exit::Ok)
}

fn many(config: &Config, args: &Args, guards: Guards) -> anyhow::Result<Exit> {
    let mut asked = Vec::new();
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line?;
        let mut words = line.split_whitespace();
        let Some(name) = words.next() else { continue };
        let wrong = |error: String| UsageError(format!("line {}: {error}", number + 1));
        let device = parse(name).map_err(|error| wrong(error.to_string()))?;
        let md5 = words
            .next()
            .map(str::parse)
            .transpose()
            .map_err(|error| wrong(format!("{error}")))?;
        asked.push((device, md5));
    }
    let catalog = settings::read_tree(config)?;
    let reports: Vec<Report> = asked
        .iter()
        .map(|(device, md5)| report(&catalog, device, &visit(args, *md5, None), guards))
        .collect();
    if args.json {
        show::json(&reports)?;
        return Ok(Exit::Ok);
    }
    let lines: Vec<String> = reports
        .iter()
        .map(|report| {
            format!(
                "{}  {}  {}",
                report.device,
                report.decision,
                report.image.as_deref().unwrap_or("-")
            )
        })
        .collect();
    show::lines(&lines)?;
    Ok(Exit::Ok)
}

fn parse(text: &str) -> Result<Device, UsageError> {
    let words: Vec<&str> = text.trim_matches('/').split('/').collect();
    let [org, project, node, key] = words[..] else {
        return Err(UsageError(format!(
            "{text:?} is no device; four words are needed: <org>/<project>/<node>/<key>"
        )));
    };
    Device::parse(org, project, node, key).map_err(|error| UsageError(error.to_string()))
}

fn visit(args: &Args, md5: Option<Md5>, sha256: Option<Sha256>) -> Visit {
    let kind = if args.filesystem {
        ImageKind::Filesystem
    } else {
        ImageKind::Firmware
    };
    let running = match (md5, sha256, args.family) {
        (None, None, None) => RunningImage::NotAnUpdater,
        (None, None, Some(_)) => RunningImage::Unhashed,
        (md5, sha256, _) => RunningImage::Hashed { md5, sha256 },
    };
    Visit {
        running,
        family: args.family.unwrap_or(DeviceFamily::Unknown),
        ..Visit::plain(kind)
    }
}

/// The effective policy, each value with the file that says it.
fn policy(orders: &[&Order]) -> Vec<Ordered> {
    let Effective {
        bad,
        fresh,
        hold,
        downgrade,
        by_hand,
    } = Effective::together(orders);
    let mut all = Vec::new();
    let mut add = |key, value: &str, file: &Path| {
        all.push(Ordered {
            key,
            value: value.to_owned(),
            file: file.display().to_string(),
        });
    };
    if let Some(said) = bad.or(fresh) {
        add("hold", "true, since it cannot be read", said.file);
    }
    if let Some(said) = hold {
        match said.value {
            "" => add("hold", "true", said.file),
            reason => add("hold", &format!("{reason:?}"), said.file),
        }
    }
    if let Some(said) = downgrade {
        add("downgrade", &format!("\"{}\"", said.value), said.file);
    }
    if let Some(said) = by_hand {
        add("by_hand", &format!("\"{}\"", said.value), said.file);
    }
    for order in orders {
        for text in order.must_contain().into_iter().flatten() {
            add("must_contain", &format!("{text:?}"), &order.file);
        }
    }
    all
}

fn report(catalog: &Catalog, device: &Device, visit: &Visit, guards: Guards) -> Report {
    let found = catalog.find(device, visit.kind);
    let orders = catalog.orders(device);
    let brakes = Brakes::of(&orders, found.image());
    let decision = decide(&found, visit, guards, brakes, |_| Some(Standing::default()));
    let mut won = None;
    let mut slots = Vec::new();
    for tried in catalog.search(device) {
        let wins = won.is_none() && tried.ends(visit.kind);
        if wins {
            won = Some(tried.slot.to_string());
        }
        let found = match tried.folder {
            _ if tried.unread => "it cannot be read, so it may be meant".to_owned(),
            Some(folder) => show::candidate(folder.candidate(visit.kind)),
            None => "no such folder".to_owned(),
        };
        slots.push(Tried {
            slot: tried.slot.to_string(),
            found,
            won: wins,
        });
    }
    let image = match &found {
        Found::Offered(offer) => Some(&offer.image),
        Found::Nothing | Found::Withheld(_) => None,
    };
    let why = match &decision {
        Decision::Held(reason) => Some(reason.sentence()),
        Decision::NoImage => Some("none of its slots holds an image"),
        Decision::UpToDate => Some("it runs the image that it would get"),
        Decision::Update(_) => None,
    };
    Report {
        device: device.to_string(),
        decision: decision.to_string(),
        why,
        slot: won,
        image: image.map(|image| image.path.display().to_string()),
        md5: image.map(|image| image.facts.md5),
        slots,
        policy: policy(&orders),
    }
}
