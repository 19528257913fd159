//! Where no notifications come, sweeps find what changed.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use crate::house::{House, image8266, settings, wait_until};
use crate::tree_kit::wait_noticed;
use otatree::config::Config;
use otatree::firmware::{Device, Found, ImageKind, Md5};
use otatree::health::Board;
use otatree::tree::{Settings, Tree};

#[test]
fn without_notifications_sweeps_find_what_changed() {
    let dir = tempfile::tempdir().unwrap();
    let slot = dir.path().join("ota/dev/key");
    fs::create_dir_all(&slot).unwrap();
    let listen = "[[listen]]\naddress = \"127.0.0.1:0\"\n";
    let lines = "[tree]\nsettle = \"0s\"\nremoval_grace = \"0s\"\nquiet = \"0s\"\npoll = \"100ms\"";
    let config = Config::parse(&format!("{listen}{lines}"), dir.path()).unwrap();
    // A tree that is not followed has no watches at all, as on a network file system or past the kernel's limit.
    let settings = Settings {
        live: false,
        sweep: Duration::from_secs(3600),
        ..settings(&config)
    };
    let tree = Tree::start(settings, &Arc::new(Board::new())).unwrap();
    let device = Device::parse("dev", "p", "n", "key").unwrap();
    let offered = || match tree.catalog().find(&device, ImageKind::Firmware) {
        Found::Offered(offer) => Some(offer.image.facts.md5),
        Found::Withheld(_) | Found::Nothing => None,
    };
    for n in 1..4 {
        fs::write(slot.join("firmware.bin"), image8266(n)).unwrap();
        wait_until("the change is found", || {
            offered() == Some(Md5::of(&image8266(n)))
        });
    }
    fs::remove_dir_all(&slot).unwrap();
    wait_until("the removal is found", || offered().is_none());
    fs::create_dir_all(dir.path().join("ota/dev/p/n")).unwrap();
    fs::write(dir.path().join("ota/dev/p/n/a.bin"), image8266(9)).unwrap();
    wait_until("the new folder is found", || {
        offered() == Some(Md5::of(&image8266(9)))
    });
}

#[test]
fn more_changes_at_once_than_the_kernel_reports_lose_nothing() {
    let house = House::new();
    wait_noticed(&house);
    let ota = house.ota();
    let noise = std::thread::spawn({
        let ota = ota.clone();
        move || {
            for n in 0..3000 {
                let slot = ota.join(format!("noise/p{}/n{n}", n % 40));
                fs::create_dir_all(&slot).unwrap();
                for m in 0..4 {
                    fs::write(slot.join(format!("note{m}.txt")), b"x").unwrap();
                }
                fs::remove_dir_all(&slot).unwrap();
            }
        }
    });
    for n in 0..100 {
        house.put(&format!("dev/lotus/n{n}/firmware.bin"), &image8266(n));
    }
    noise.join().unwrap();
    for n in 0..100 {
        house.wait_served(&format!("dev/lotus/n{n}/key"), &image8266(n));
    }
}
