//! Records fit the client: the handshake is never split, application data always is.

use super::{NODE, house_with, mebibyte32, mebibyte8266, old};
use crate::clients::{Call, Chip};
use crate::house::{House, esp8266, wait_until};

#[test]
fn an_esp8266_takes_a_mebibyte_with_each_size_of_buffers() {
    let image = mebibyte8266();
    let house = house_with(&image, "");
    for (n, (receive, send)) in [(16384, 512), (1024, 1024), (512, 512)]
        .into_iter()
        .enumerate()
    {
        let report = Call::poll(
            Chip::Esp8266,
            &house,
            &format!("dev/lotus/n{n}/key"),
            &old(),
        )
        .with("in", receive)
        .with("out", send)
        .run();
        report.brought(&image);
        assert!(report.number("max_record_plaintext") <= 512, "{report:?}");
        assert!(report.number("first_body_record_bytes") >= 4, "{report:?}");
        assert_eq!(report.text("version"), "TLSv1.2");
    }
}

#[test]
fn an_esp32_takes_a_mebibyte_with_a_quarter_of_the_buffer() {
    let image = mebibyte32();
    let house = house_with(&image, "");
    for (n, (receive, tickets)) in [(16384, 1), (16384, 0), (4096, 1)].into_iter().enumerate() {
        let report = Call::poll(Chip::Esp32, &house, &format!("dev/lotus/n{n}/key"), &old())
            .with("in", receive)
            .with("tickets", tickets)
            .run();
        report.brought(&image);
        let largest = report.number("max_record_plaintext");
        assert!((2048..=4096).contains(&largest), "{report:?}");
        assert!(report.number("first_body_record_bytes") >= 4, "{report:?}");
    }
}

#[test]
fn who_says_nothing_of_itself_gets_middle_records_and_curl_large_ones() {
    let image = mebibyte8266();
    let house = house_with(&image, "");
    let path = format!("/ota_update/{NODE}");
    let largest = |agent: &str| {
        let report = Call::get(Chip::Esp32, house.https, &path, &[("User-Agent", agent)]).run();
        report.brought(&image);
        report.number("max_record_plaintext")
    };
    assert!(largest("curl/8.5.0") > 8 * 1024);
    assert!((2048..=4096).contains(&largest("esp_http_client/1.0")));
    assert!(largest("ESPHome/2026.7 (https://esphome.io)") <= 512);
}

#[test]
fn the_first_flight_fits_a_client_with_4096_bytes() {
    let house = House::new();
    for chip in [Chip::Esp8266, Chip::Esp32] {
        let report = Call::poll(chip, &house, NODE, &old()).run();
        assert_eq!(report.answer(), (304, "no-image"));
        let longest = report.number("max_handshake_record");
        assert!((1..4096).contains(&longest), "{report:?}");
    }
}

#[test]
fn clients_that_verify_accept_the_private_root_by_name_and_by_address() {
    let house = House::new();
    for chip in [Chip::Esp8266, Chip::Esp32] {
        for name in ["localhost", "127.0.0.1"] {
            let report = Call::poll(chip, &house, NODE, &old())
                .trusting(&house, name)
                .run();
            assert_eq!(report.answer(), (304, "no-image"), "{chip:?} {name}");
        }
        let report = Call::poll(chip, &house, NODE, &old())
            .trusting(&house, "other.test")
            .run();
        assert_eq!(report.text("outcome"), "tls", "{chip:?}: {report:?}");
    }
    wait_until("no connection is left", || house.shared.open() == 0);
}

#[test]
fn dates_are_checked_by_those_who_know_the_time() {
    let house = House::new();
    let report = Call::poll(Chip::Esp32, &house, NODE, &old())
        .trusting(&house, "localhost")
        .with("dates", 1)
        .run();
    assert_eq!(report.answer(), (304, "no-image"));
    let report = Call::poll(Chip::Esp8266, &house, NODE, &old())
        .trusting(&house, "localhost")
        .with("time", 0)
        .run();
    assert_eq!(report.text("outcome"), "tls", "a chip in 1970: {report:?}");
}

#[test]
fn a_probe_for_max_fragment_length_leaves_nothing_behind() {
    let house = House::new();
    for size in [512, 1024, 2048, 4096] {
        let report = Call::get(Chip::Esp8266, house.https, "/", &[])
            .flag("mfln-probe")
            .with("probe-size", size)
            .run();
        assert_eq!(report.0["mfln"], false, "rustls cannot: {report:?}");
        assert_eq!(
            report.number("record_type"),
            22,
            "but it answers: {report:?}"
        );
    }
    wait_until("no connection is left", || house.shared.open() == 0);
    assert_eq!(
        house
            .request(
                "GET",
                &format!("/ota_update/{NODE}"),
                "HTTP/1.0",
                &esp8266(&old())
            )
            .status,
        304
    );
}

#[test]
fn an_image_that_is_read_as_it_is_sent_fits_the_records_and_is_counted() {
    let image = mebibyte8266();
    let house = House::patient("settle = \"0s\"\nquiet = \"0s\"\nmemory = \"1 KiB\"", "");
    house.put("dev/key/firmware.bin", &image);
    house.wait_served(NODE, &image);
    for _ in 0..3 {
        let report = Call::poll(Chip::Esp8266, &house, NODE, &old())
            .with("in", 512)
            .with("end", "fin")
            .run();
        report.brought(&image);
        assert!(report.number("max_record_plaintext") <= 512, "{report:?}");
        assert!(report.number("first_body_record_bytes") >= 4, "{report:?}");
        wait_until("no connection is left", || house.shared.open() == 0);
    }
    let fourth = Call::poll(Chip::Esp8266, &house, NODE, &old()).run();
    assert_eq!(fourth.answer(), (304, "held does-not-stick"));
}
