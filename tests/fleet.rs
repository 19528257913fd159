//! A hundred nodes go through two releases by the updaters' own rules: each ends on the right image, none flashes twice
//! for one release, and no chip is ever given what was made for another.

mod node;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use otatree::firmware::forge::{Esp32, Esp8266, gzipped};

use crate::by_record::trusting;
use crate::house::{DEADLINE, House, wait_until};
use node::{Chip, Node, Ways};

const NODES: usize = 100;
const THREADS: usize = 4;
/// These have images of their own.
const OWN: [usize; 3] = [3, 14, 15];
/// This one has an image of its own, compressed.
const PACKED: usize = 26;
/// This one has so little space that it needs the compressed twin of the key's image.
const TIGHT: usize = 35;
/// From here on the nodes are ESP32, and from the second on they poll under the key of the ESP8266.
const ESP32_FROM: usize = 80;
const LOST_FROM: usize = 95;

fn image8266(seed: u64) -> Vec<u8> {
    Esp8266 {
        seed,
        size: 24 * 1024,
        ..Esp8266::default()
    }
    .build()
}

fn image32(seed: u64) -> Vec<u8> {
    Esp32 {
        seed,
        size: 24 * 1024,
        ..Esp32::default()
    }
    .build()
}

/// The seed of the image that this node should run after a release; 0: what it runs now.
fn wanted(release: u64, number: usize) -> u64 {
    match number {
        LOST_FROM.. => 0,
        _ if OWN.contains(&number) || number == PACKED => release * 1000 + number as u64,
        _ => release * 1000,
    }
}

fn made(number: usize, seed: u64) -> Vec<u8> {
    if number < ESP32_FROM {
        image8266(seed)
    } else {
        image32(seed)
    }
}

fn nodes() -> Vec<Node> {
    let node = |number: usize| {
        let (chip, key) = match number {
            LOST_FROM.. => (Chip::Esp32, "climate"),
            ESP32_FROM.. => (Chip::Esp32, "gate"),
            _ => (Chip::Esp8266, "climate"),
        };
        Node {
            chip,
            path: format!("/ota_update/fleet/farm/n{number}/{key}"),
            mac: format!("48:3F:DA:00:00:{number:02X}"),
            flash_mode: u8::try_from(number % 4).unwrap(),
            free_space: if number == TIGHT {
                22 * 1024
            } else {
                1_720_320
            },
            secure: number.is_multiple_of(3),
            flash: made(number, 9000 + number as u64),
            flashed: 0,
        }
    };
    (0..NODES).map(node).collect()
}

/// Lays a release into the tree, as several people would: by copying over, and by renaming into place.
fn drop_release(house: &House, release: u64) {
    for number in OWN {
        let image = image8266(wanted(release, number));
        house.put(&format!("fleet/farm/n{number}/firmware.bin"), &image);
    }
    let packed = gzipped(&image8266(wanted(release, PACKED)));
    house.put_renamed(&format!("fleet/n{PACKED}/firmware.bin.gz"), &packed);
    let image = image8266(release * 1000);
    house.put("fleet/climate/firmware.bin", &image);
    house.put("fleet/climate/firmware.bin.gz", &gzipped(&image));
    house.put_renamed("fleet/+/gate/firmware.bin", &image32(release * 1000));
}

/// Does this node run what the release wants? The mode byte is its own.
fn is_done(node: &Node, number: usize, release: u64) -> bool {
    match wanted(release, number) {
        0 => true,
        seed => node.runs(&made(number, seed)),
    }
}

#[test]
fn a_hundred_nodes_go_through_two_releases_and_flash_once_for_each() {
    let house = House::patient(
        "settle = \"150ms\"\nremoval_grace = \"150ms\"\nquiet = \"0s\"",
        "",
    );
    let ways = Ways {
        http: house.http,
        https: house.https,
        trust: trusting(&house.root_pem),
    };
    let mut nodes = nodes();
    assert!(
        nodes.iter_mut().all(|node| !node.poll(&ways)),
        "an empty tree updates nobody"
    );
    for release in [1, 2] {
        for node in &mut nodes {
            node.flashed = 0;
        }
        let done = AtomicUsize::new(0);
        let end = Instant::now() + DEADLINE;
        std::thread::scope(|scope| {
            for (part, share) in nodes.chunks_mut(NODES / THREADS).enumerate() {
                let (ways, done) = (&ways, &done);
                scope.spawn(move || {
                    // They poll before, while and after the files are laid down, and a little longer.
                    let mut quiet = 0;
                    while quiet < 3 {
                        assert!(Instant::now() < end, "release {release} never reached all");
                        let mut all = true;
                        for (at, node) in share.iter_mut().enumerate() {
                            node.poll(ways);
                            all &= is_done(node, part * (NODES / THREADS) + at, release);
                        }
                        quiet = if all { quiet + 1 } else { 0 };
                    }
                    done.fetch_add(share.len(), Ordering::Relaxed);
                });
            }
            drop_release(&house, release);
        });
        assert_eq!(done.into_inner(), NODES);
        for (number, node) in nodes.iter().enumerate() {
            let wanted = u32::from(number < LOST_FROM);
            assert_eq!(node.flashed, wanted, "node {number} in release {release}");
        }
    }
    wait_until("no connection is left", || house.shared.open() == 0);
    assert_eq!(house.desk.downloads(), 0);
}
