//! Each way in which a device hangs up after it has everything counts as complete; a download that was cut off does not.
//! What counts is seen by the loop guard: after three complete downloads without effect the image is held.

use super::{MIB, NODE, house_with, mebibyte8266, old};
use crate::clients::{Call, Chip, Report};
use crate::house::{House, image32, image8266, wait_until};

const ENDINGS: [&str; 3] = ["fin", "notify", "wait"];

fn poll(house: &House, chip: Chip, node: &str, end: &str) -> Report {
    let report = Call::poll(chip, house, &format!("dev/lotus/{node}/key"), &old())
        .with("end", end)
        .run();
    wait_until("no connection is left", || house.shared.open() == 0);
    report
}

#[test]
fn a_download_is_complete_however_the_device_hangs_up() {
    for (chip, image) in [(Chip::Esp8266, image8266(1)), (Chip::Esp32, image32(1))] {
        let house = house_with(&image, "");
        for end in ENDINGS {
            for _ in 0..3 {
                poll(&house, chip, end, end).brought(&image);
            }
            let fourth = poll(&house, chip, end, end);
            assert_eq!(
                fourth.answer(),
                (304, "held does-not-stick"),
                "{chip:?} --end {end}"
            );
        }
    }
}

#[test]
fn a_304_ends_well_however_the_device_hangs_up() {
    let house = House::new();
    for chip in [Chip::Esp8266, Chip::Esp32] {
        for end in ENDINGS {
            let report = poll(&house, chip, "n", end);
            assert_eq!(report.answer(), (304, "no-image"), "{chip:?} --end {end}");
            assert_eq!(report.number("trailing_bytes"), 0);
        }
    }
}

#[test]
fn the_server_says_that_it_closes() {
    let image = image8266(1);
    let house = house_with(&image, "");
    for path in [NODE, "dev/lotus/node1/other"] {
        let report = Call::poll(Chip::Esp8266, &house, path, &old())
            .with("end", "wait")
            .run();
        assert_eq!(report.text("server_close"), "notify", "{report:?}");
    }
}

#[test]
fn a_download_that_was_cut_off_counts_for_nothing() {
    let image = mebibyte8266();
    let house = house_with(&image, "");
    for option in ["abort-after", "stop-after"] {
        for after in [0, 1, 4096, MIB / 2] {
            let report = Call::poll(Chip::Esp8266, &house, NODE, &old())
                .with(option, after)
                .run();
            assert_eq!(report.number("status"), 200, "{report:?}");
            wait_until("no connection is left", || house.shared.open() == 0);
        }
    }
    assert_eq!(house.desk.downloads(), 0);
    poll(&house, Chip::Esp8266, "node1", "fin").brought(&image);
}
