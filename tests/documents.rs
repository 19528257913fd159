//! What the documents say is what the program does.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use otatree::config::Config;
use otatree::firmware::HoldReason;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What stands between backquotes in a text.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn otatree(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_otatree"))
        .args(arguments)
        .env_remove("OTATREE_CONFIG")
        .current_dir(root())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// The words of a help text that begin with `--`, without it.
fn flags(help: &str) -> BTreeSet<String> {
    help.split(|c: char| c.is_whitespace() || c == ',')
        .filter_map(|word| word.strip_prefix("--"))
        .filter(|flag| !flag.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The flags of a command and of those below it.
fn flags_below(path: &[&str]) -> BTreeSet<String> {
    let (_, help) = otatree(&[path, &["--help"]].concat());
    let mut found = flags(&help);
    if help.contains("Commands:\n") {
        for below in commands(&help).into_iter().filter(|name| *name != "help") {
            found.extend(flags_below(&[path, &[below]].concat()));
        }
    }
    found
}

fn commands(help: &str) -> Vec<&str> {
    let list = help.split("Commands:\n").nth(1).unwrap();
    let list = list.split("\n\n").next().unwrap();
    list.lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

#[test]
fn the_man_page_has_every_command_and_every_flag() {
    let (code, help) = otatree(&["--help"]);
    assert_eq!(code, Some(0), "{help}");
    let mut wanted = flags(&help);
    let commands = commands(&help);
    assert!(commands.contains(&"serve") && commands.len() > 4, "{help}");
    for command in &commands {
        wanted.extend(flags_below(&[command]));
    }
    let page = read("docs/otatree.1");
    let readme = read("README.md");
    for command in commands {
        assert!(page.contains(&format!("\n.It Cm {command}\n")), "{command}");
        assert!(
            command == "help" || readme.contains(&format!("`otatree {command}")),
            "README.md lacks {command}"
        );
    }
    for flag in &wanted {
        assert!(page.contains(&format!("Fl -{flag}")), "--{flag}");
    }
    // The page writes `--flag` as `Fl -flag`.
    for (at, _) in page.match_indices("Fl -") {
        let rest = &page[at + 4..];
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '-')
            .unwrap();
        assert!(
            wanted.contains(&rest[..end]),
            "there is no --{}",
            &rest[..end]
        );
    }
}

/// The keys that a place in the configuration takes, as the error about a wrong one lists them. `%` in the text is
/// where a wrong key goes.
fn keys(text: &str) -> BTreeSet<String> {
    let text = text.replace('%', "nonsense = 0");
    let error = Config::parse(&text, Path::new("/")).unwrap_err();
    let expected = error.split("expected").nth(1);
    let expected = expected.unwrap_or_else(|| panic!("no list of keys in {error:?}"));
    quoted(expected).into_iter().map(str::to_owned).collect()
}

/// The line of a commented or live text, without its mark.
fn bare(line: &str) -> &str {
    line.strip_prefix("# ").unwrap_or(line)
}

/// The lines of a section of the shipped file, by their numbers; `""` is what stands before the first.
fn section(lines: &[&str], header: &str) -> std::ops::Range<usize> {
    let is_header = |line: &&str| bare(line).starts_with('[');
    let start = match header {
        "" => 0,
        header => {
            let at = lines.iter().position(|line| bare(line).starts_with(header));
            at.unwrap_or_else(|| panic!("no {header} in config.toml")) + 1
        }
    };
    let length = lines[start..].iter().position(is_header);
    start..length.map_or(lines.len(), |length| start + length)
}

/// An option has a comment on its line, or prose in its block.
fn is_explained(lines: &[&str], at: usize) -> bool {
    let block = lines[..at].iter().rev().take_while(|line| !line.is_empty());
    lines[at].contains("  # ")
        || block
            .filter_map(|line| line.strip_prefix("# "))
            .any(|line| !line.contains(" = ") && !line.starts_with('['))
}

const LISTEN: &str = "[[listen]]\naddress = \"[::]:1\"\n";

#[test]
fn config_toml_has_every_option_with_a_comment() {
    let shipped = read("config.toml");
    let pair =
        "[tls]\ncertificate = \"a\"\nkey = \"b\"\n[[tls.more]]\ncertificate = \"a\"\nkey = \"b\"\n";
    let mut places = vec![
        (String::new(), keys(&format!("%\n{LISTEN}"))),
        ("[[listen]]".to_owned(), keys(&format!("{LISTEN}%"))),
        ("[[tls.more]]".to_owned(), keys(&format!("{LISTEN}{pair}%"))),
        (
            "[orgs.dev]".to_owned(),
            keys(&format!("{LISTEN}[orgs.dev]\n%")),
        ),
    ];
    let doors = keys(&format!("{LISTEN}[doors]\n%"));
    let sections = places[0].1.clone();
    let tables = sections.iter().cloned();
    for name in tables.chain(doors.iter().map(|door| format!("doors.{door}"))) {
        if !["listen", "doors", "orgs", "trusted_proxies"].contains(&&*name) {
            let found = keys(&format!("{LISTEN}[{name}]\n%"));
            places.push((format!("[{name}]"), found));
        }
    }
    let headers: Vec<String> = places.iter().map(|(header, _)| header.clone()).collect();
    let lines: Vec<&str> = shipped.lines().collect();
    for (header, keys) in places {
        let above = header.trim_matches(['[', ']']);
        let range = section(&lines, &header);
        for key in keys {
            let below = format!("{above}.{key}");
            let is_section = headers
                .iter()
                .map(|header| header.trim_matches(['[', ']']))
                .any(|name| name == below || (header.is_empty() && name == key));
            if is_section || (header.is_empty() && ["doors", "orgs"].contains(&&*key)) {
                continue;
            }
            let is_option = |line: &&str| {
                bare(line)
                    .strip_prefix(&*key)
                    .is_some_and(|rest| rest.trim_start().starts_with('='))
            };
            let at = lines[range.clone()].iter().position(is_option);
            let at = at.unwrap_or_else(|| panic!("config.toml lacks {key} in {header}"));
            assert!(
                is_explained(&lines, range.start + at),
                "{key} in {header} has no comment"
            );
        }
    }
}

#[test]
fn config_toml_says_the_defaults() {
    let base = Path::new("/base");
    let shipped = Config::parse(&read("config.toml"), base).unwrap();
    let plain = Config::parse(LISTEN, base).unwrap();
    let show = |config: &Config| {
        let Config {
            tree,
            state,
            listen: _,
            tls,
            guards,
            limits,
            log,
            doors,
            orgs,
            trusted_proxies,
        } = config;
        format!(
            "{tree:#?}\n{state:#?}\n{tls:#?}\n{guards:#?}\n{limits:#?}\n{log:#?}\n{doors:#?}\n{orgs:#?}\n{trusted_proxies:#?}"
        )
    };
    assert_eq!(show(&shipped), show(&plain));
    let listen: Vec<String> = shipped
        .listen
        .iter()
        .map(|listen| {
            format!(
                "{} {} {}",
                listen.address, listen.tls, listen.proxy_protocol
            )
        })
        .collect();
    assert_eq!(listen, ["[::]:8443 true false", "[::]:8080 false false"]);
    let quiet = plain
        .listen
        .iter()
        .all(|listen| !listen.tls && !listen.proxy_protocol);
    assert!(quiet, "the defaults that config.toml says of [[listen]]");
}

#[test]
fn every_reason_to_hold_has_its_cure_in_the_protocol() {
    let error = serde_json::from_str::<HoldReason>("\"nonsense\"").unwrap_err();
    let error = error.to_string();
    let slugs: Vec<&str> = quoted(error.split("expected").nth(1).unwrap());
    assert!(slugs.len() > 5, "{error}");
    let page = read("docs/protocol.md");
    for slug in slugs {
        let reason: HoldReason = serde_json::from_str(&format!("{slug:?}")).unwrap();
        assert_eq!(reason.slug(), slug, "one name everywhere");
        let row = format!("\n| `held {slug}` |");
        assert_eq!(page.matches(&row).count(), 1, "{slug}");
        let row = page
            .split(&row)
            .nth(1)
            .unwrap_or_else(|| panic!("no row for {slug}"));
        let cells: Vec<&str> = row.lines().next().unwrap().split('|').collect();
        assert!(cells[0].trim().len() > 20, "{slug}: no cure in {cells:?}");
    }
}

fn documents() -> Vec<PathBuf> {
    let mut all = vec![
        root().join("README.md"),
        root().join("ota/README.md"),
        root().join("CHANGELOG.md"),
    ];
    all.extend(
        fs::read_dir(root().join("docs"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "md")),
    );
    all
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' | '-' => Some('-'),
            c if c.is_alphanumeric() || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    for page in documents() {
        let text = fs::read_to_string(&page).unwrap();
        for (at, opening) in text.match_indices("](") {
            let target = text[at + opening.len()..].split(')').next().unwrap();
            if target.contains("://") {
                continue;
            }
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            assert!(path.exists(), "{}: {target}", page.display());
            if !fragment.is_empty() {
                let linked = fs::read_to_string(&path).unwrap();
                let mut headings = linked.lines().filter_map(|line| line.split_once("# "));
                assert!(
                    headings.any(|(_, heading)| anchor(heading) == fragment),
                    "{}: {target}",
                    page.display()
                );
            }
        }
    }
}

#[test]
fn the_shipped_configuration_has_no_problem() {
    let (code, text) = otatree(&["check", "--config", "config.toml"]);
    assert_eq!((code, text.as_str()), (Some(0), "no problems\n"));
}

/// What a unit file says under a key; the last one counts.
fn said<'a>(unit: &'a str, key: &str) -> &'a str {
    let mut lines = unit.lines().rev();
    let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("the unit does not say {key}"))
}

#[test]
fn the_unit_fits_the_defaults() {
    let unit = read("systemd/otatree.service");
    let limits = Config::parse(LISTEN, Path::new("/")).unwrap().limits;
    let seconds = |key: &str| -> u64 { said(&unit, key).trim_end_matches('s').parse().unwrap() };
    assert!(
        seconds("TimeoutStopSec") > limits.drain.as_secs(),
        "downloads may finish"
    );
    let files: usize = said(&unit, "LimitNOFILE").parse().unwrap();
    assert!(
        files > 2 * limits.connections,
        "a socket and a file for every connection"
    );
    assert_eq!(said(&unit, "RestartPreventExitStatus"), "78");
    let wrong = otatree(&["check", "--config", "no/such.toml"]);
    assert_eq!(wrong.0, Some(78), "{}", wrong.1);
}

#[test]
fn systemd_understands_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let unit = read("systemd/otatree.service");
    let program = env!("CARGO_BIN_EXE_otatree");
    fs::write(
        folder.path().join("otatree.service"),
        unit.replace("/usr/local/bin/otatree", program),
    )
    .unwrap();
    fs::write(
        folder.path().join("otatree.socket"),
        read("systemd/otatree.socket"),
    )
    .unwrap();
    let output = Command::new("systemd-analyze")
        .args([
            "verify",
            "--man=no",
            "./otatree.service",
            "./otatree.socket",
        ])
        .current_dir(folder.path())
        .output()
        .expect("systemd-analyze: run the tests with tests/run, which installs it");
    let text = String::from_utf8_lossy(&output.stderr);
    // Units of this machine have warnings of their own.
    let ours: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("otatree"))
        .collect();
    assert!(
        output.status.success() && ours.is_empty(),
        "{} {text}",
        output.status
    );
}

#[test]
fn the_log_lines_of_the_documents_are_the_programs() {
    fn sources(folder: &Path, all: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, all);
            } else {
                all.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut program = String::new();
    sources(&root().join("src"), &mut program);
    let page = read("docs/operating.md");
    let log = page.split("## The log\n").nth(1).unwrap();
    let log = log.split("\n## ").next().unwrap();
    let lines = log.lines().filter(|line| line.starts_with("| `"));
    let mut seen = 0;
    for line in lines.flat_map(|line| quoted(line.split(" | ").next().unwrap())) {
        for part in line
            .split('…')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            assert!(program.contains(part), "no log line says {part:?}");
            seen += 1;
        }
    }
    assert!(seen > 15, "{seen}");
}
