//! The unit under a systemd: a manager of its own, where a test may have one. The sandbox is taken off, since the program
//! lies elsewhere here; what the unit says of start, reload, watchdog and restarts is as it is shipped.

use std::fs;
use std::process::Command;

use crate::clients::needed;
use crate::house::beside;
use crate::program::Place;

/// What a user's manager cannot have, and paths of this test.
const CHANGED: &str = "[Service]\nExecStart=\nExecStart=PROGRAM serve --config CONFIG\nUser=\nGroup=\n\
    WatchdogSec=2s\nRestartSec=100ms\nStandardError=append:LOG\nReadOnlyPaths=\nProtectSystem=no\nProtectHome=no\n\
    PrivateTmp=no\nPrivateMounts=no\nPrivateDevices=no\nPrivateUsers=no\nProtectKernelTunables=no\n\
    ProtectKernelModules=no\nProtectKernelLogs=no\nProtectControlGroups=no\nProtectClock=no\nProtectHostname=no\n\
    ProtectProc=default\nProcSubset=all\n";

/// In namespaces of its own: a manager without a machine, and what becomes of the unit.
const SCRIPT: &str = r#"
set -u
mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system /run/user || exit 77
export XDG_RUNTIME_DIR=/run/user HOME=$PWD XDG_CONFIG_HOME=$PWD/config
"$MANAGER" --user --log-target=null --unit=basic.target &
until_true() { for _ in $(seq 100); do "$@" && return 0; sleep 0.1; done; return 1; }
is() { [ "$(systemctl --user show otatree -p "$1" --value)" = "$2" ]; }
say() { echo "$1: $(systemctl --user show otatree -p ActiveState -p Result -p NRestarts -p ExecMainStatus | sort | tr '\n' ' ')"; }
until_true systemctl --user --quiet is-system-running 2>/dev/null || exit 77
systemctl --user start otatree; say "start $?"
systemctl --user reload otatree; say "reload $?"
kill -STOP "$(systemctl --user show otatree -p MainPID --value)"
until_true is NRestarts 1 && until_true is ActiveState active; say "hang $?"
echo 'nonsense' >config.toml
systemctl --user reload otatree; say "bad reload $?"
systemctl --user restart otatree; say "bad restart $?"
systemctl --user stop otatree
systemctl --user exit
wait
find /sys/fs/cgroup -maxdepth 3 -name init.scope -exec rmdir {} + 2>/dev/null
exit 0
"#;

#[test]
#[ignore = "starts a systemd of its own, as root: cargo test --test all -- --ignored systemd"]
fn systemd_starts_reloads_and_watches_the_unit_and_gives_up_at_78() {
    let place = Place::new("");
    let units = place.path("config/systemd/user");
    fs::create_dir_all(units.join("otatree.service.d")).unwrap();
    let shipped = beside("../systemd/otatree.service");
    fs::copy(shipped, units.join("otatree.service")).unwrap();
    let text = |path| place.path(path).display().to_string();
    let changed = CHANGED
        .replace("PROGRAM", env!("CARGO_BIN_EXE_otatree"))
        .replace("CONFIG", &text("config.toml"))
        .replace("LOG", &text("log"));
    fs::write(units.join("otatree.service.d/test.conf"), changed).unwrap();
    let manager = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
    let manager = manager.into_iter().find(|path| fs::exists(path).unwrap());
    let output = Command::new(needed("unshare", "util-linux"))
        .args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc"])
        .args(["--cgroup", "sh", "-c", SCRIPT])
        .env("MANAGER", manager.unwrap())
        .current_dir(place.dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if said.is_empty() {
        eprintln!("skipped: no systemd can be started here: {output:?}");
        return;
    }
    let said: Vec<&str> = said.lines().map(str::trim_end).collect();
    let is = |what: &str, state: &str| format!("{what}: {state}");
    let well = "ActiveState=active ExecMainStatus=0 NRestarts=0 Result=success";
    let again = "ActiveState=active ExecMainStatus=0 NRestarts=1 Result=success";
    let given_up = "ActiveState=failed ExecMainStatus=78 NRestarts=0 Result=exit-code";
    let log = fs::read_to_string(place.path("log")).unwrap_or_default();
    assert_eq!(
        said,
        [
            is("start 0", well),
            is("reload 0", well),
            is("hang 0", again),
            is("bad reload 0", again),
            is("bad restart 1", given_up),
        ],
        "{log}"
    );
    assert!(log.contains("the old configuration stays"), "{log}");
}
