//! The pure parts of a poll, and the examination of an image. `cargo bench`.
//!
//! Side by side with something: the search and the decision beside one SHA-256 of the image, which is what a server
//! without a catalogue would pay for each poll.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use divan::Bencher;
use otatree::firmware::forge::{Esp32, Esp8266};
use otatree::firmware::{
    Brakes, Decision, Device, DeviceFamily, Found, Guards, ImageKind, Md5, RunningImage, Sha256,
    Standing, Visit, decide, format,
};
use otatree::firmware::{Order, POLICY_FILE, Policy, Word};
use otatree::http::parse_range;
use otatree::tree::Catalog;

fn main() {
    divan::main();
}

fn device() -> Device {
    Device::parse("dev", "lotus", "esp8266-85ea2b", "sht30_d1_mini").expect("four words")
}

fn visit(md5: &Md5) -> Visit {
    Visit {
        running: RunningImage::Hashed {
            md5: Some(*md5),
            sha256: None,
        },
        family: DeviceFamily::Esp8266,
        ..Visit::plain(ImageKind::Firmware)
    }
}

#[divan::bench]
fn four_words() -> Device {
    Device::parse(
        black_box("dev"),
        black_box("lotus"),
        black_box("esp8266-85ea2b"),
        black_box("sht30_d1_mini"),
    )
    .expect("four words")
}

#[divan::bench]
fn seven_slots_of_an_empty_tree(bencher: Bencher<'_, '_>) {
    let (catalog, device) = (Catalog::default(), device());
    bencher.bench(|| black_box(&catalog).find(black_box(&device), ImageKind::Firmware));
}

#[divan::bench]
fn the_orders_of_a_tree_without_policies(bencher: Bencher<'_, '_>) {
    let (catalog, device) = (Catalog::default(), device());
    bencher.bench(|| Brakes::of(&black_box(&catalog).orders(black_box(&device)), None));
}

#[divan::bench]
fn four_policies_on_a_way(bencher: Bencher<'_, '_>) {
    let text = "downgrade = \"never\"\nby_hand = \"update\"\n";
    let files = ["", "dev", "dev/lotus", "dev/+"].map(|folder| Order {
        file: Path::new(folder).join(POLICY_FILE).into(),
        word: Word::Policy(Policy::parse(text).expect("a policy")),
    });
    let orders: Vec<&Order> = files.iter().collect();
    bencher.bench(|| Brakes::of(black_box(&orders), None));
}

#[divan::bench]
fn a_decision(bencher: Bencher<'_, '_>) {
    let visit = visit(&Md5::of(b"what it runs"));
    bencher.bench(|| -> Decision {
        decide(
            black_box(&Found::Nothing),
            black_box(&visit),
            Guards { loop_limit: 3 },
            Brakes::default(),
            |_| Some(Standing::default()),
        )
    });
}

#[divan::bench]
fn a_range() {
    black_box(parse_range(black_box(Some(b"bytes=65536-131071")), 1 << 20));
}

/// Sizes in KiB.
const SIZES: [usize; 2] = [64, 1024];

#[divan::bench(args = SIZES)]
fn the_sha256_alone(bencher: Bencher<'_, '_>, kib: usize) {
    let image = Esp8266 {
        size: kib * 1024,
        ..Esp8266::default()
    }
    .build();
    bencher.bench(|| Sha256::of(black_box(&image)));
}

#[divan::bench(args = SIZES, max_time = Duration::from_secs(2))]
fn an_esp8266_image(bencher: Bencher<'_, '_>, kib: usize) {
    let image = Esp8266 {
        size: kib * 1024,
        ..Esp8266::default()
    }
    .build();
    bencher.bench(|| format::examine(black_box(&image), ImageKind::Firmware));
}

#[divan::bench(args = SIZES, max_time = Duration::from_secs(2))]
fn an_esp32_image(bencher: Bencher<'_, '_>, kib: usize) {
    let image = Esp32 {
        size: kib * 1024,
        ..Esp32::default()
    }
    .build();
    bencher.bench(|| format::examine(black_box(&image), ImageKind::Firmware));
}
