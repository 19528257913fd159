//! Slow is not dead: only who acknowledges nothing is let go.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use otatree::firmware::forge::Esp8266;

use super::{NODE, house_with, mebibyte8266, old};
use crate::clients::{Call, Chip};
use crate::house::{Answer, House, esp8266, image8266, wait_until};

fn pause(chip: Chip, house: &House, milliseconds: u32) {
    let report = Call::poll(chip, house, NODE, &old())
        .with("pause-ms", milliseconds)
        .run();
    assert_eq!(report.answer(), (304, "no-image"));
    let took = report.0["handshake_ms"].as_f64();
    assert!(took >= Some(f64::from(milliseconds)), "{report:?}");
}

#[test]
fn a_pause_between_the_flights_is_borne() {
    let house = House::with("[limits]\nhandshake = \"5s\"");
    pause(Chip::Esp8266, &house, 1000);
    pause(Chip::Esp32, &house, 1000);
}

#[test]
#[ignore = "full length, 20 s: cargo test --test all -- --ignored full_length"]
fn full_length_a_pause_of_10_s_between_the_flights_is_borne() {
    let house = House::new();
    pause(Chip::Esp8266, &house, 10_000);
    pause(Chip::Esp32, &house, 10_000);
}

#[test]
#[ignore = "full length, 10 min: cargo test --test all -- --ignored full_length"]
fn full_length_a_reader_of_1_kb_a_second_gets_all_of_it() {
    let image = Esp8266 {
        size: 600 * 1024,
        ..Esp8266::default()
    }
    .build();
    let house = house_with(&image, "");
    let report = Call::poll(Chip::Esp8266, &house, NODE, &old())
        .with("rate", 1024)
        .with("timeout-s", 900)
        .run();
    report.brought(&image);
}

/// A reader whose window shuts again and again, each time for a moment, for far longer than `dead_peer`.
#[test]
fn a_reader_that_takes_a_little_now_and_then_is_not_dead() {
    let image = Esp8266 {
        size: 160 * 1024,
        ..Esp8266::default()
    }
    .build();
    let house = house_with(&image, "[limits]\ndead_peer = \"3s\"");
    let begun = Instant::now();
    let report = Call::poll(Chip::Esp8266, &house, NODE, &old())
        .with("rate", 16_000)
        .run();
    report.brought(&image);
    assert!(
        begun.elapsed() > Duration::from_secs(6),
        "longer than dead_peer"
    );
}

#[test]
fn a_handshake_that_never_ends_is_ended() {
    let house = House::with("[limits]\nhandshake = \"300ms\"");
    let report = Call::poll(Chip::Esp8266, &house, NODE, &old())
        .with("pause-ms", 1500)
        .run();
    assert_eq!(report.text("outcome"), "tls", "{report:?}");
    wait_until("no connection is left", || house.shared.open() == 0);
}

#[test]
fn a_slow_reader_gets_all_of_it() {
    let image = image8266(1);
    let limits = "[limits]\nhandshake = \"1s\"\nhead = \"1s\"\nanswer = \"1s\"";
    let house = house_with(&image, limits);
    let begun = Instant::now();
    let report = Call::poll(Chip::Esp8266, &house, NODE, &old())
        .with("rate", 3000)
        .run();
    report.brought(&image);
    assert!(
        begun.elapsed() > Duration::from_secs(3),
        "longer than every limit"
    );
}

#[test]
fn a_reader_that_takes_nothing_more_gives_its_place_back() {
    let image = mebibyte8266();
    let house = house_with(&image, "[limits]\ndead_peer = \"1s\"");
    let headers = esp8266("00000000000000000000000000000000");
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let request = format!("GET /ota_update/{NODE} HTTP/1.0\r\n{lines}\r\n");
    let mut plain = house.connect();
    plain.write_all(request.as_bytes()).unwrap();
    let mut tls = house.connect_tls();
    tls.write_all(request.as_bytes()).unwrap();
    wait_until("both downloads run", || house.desk.downloads() == 2);
    wait_until("their places are free", || {
        house.desk.downloads() == 0 && house.shared.open() == 0
    });
    drop((plain, tls));
}

#[test]
fn a_slow_reader_that_keeps_the_connection_is_waited_for() {
    let image = image8266(1);
    let house = house_with(&image, "[limits]\nhead = \"200ms\"");
    let lines: String = esp8266("00000000000000000000000000000000")
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let request = format!("GET /ota_update/{NODE} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
    for round in 0..4 {
        let mut stream = house.connect();
        stream.write_all(request.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(400));
        let mut all = Vec::new();
        // To the end of the image and no further: this client knows the length.
        let mut piece = [0; 1024];
        while Answer::parse(&all, false)
            .is_none_or(|answer| answer.status == 200 && answer.body.len() < image.len())
        {
            match stream.read(&mut piece).unwrap() {
                0 => break,
                taken => all.extend(&piece[..taken]),
            }
        }
        let answer = Answer::parse(&all, false).unwrap();
        drop(stream);
        if round == 3 {
            assert_eq!(
                answer.decision(),
                "held does-not-stick",
                "three downloads were complete"
            );
        } else {
            assert!(answer.body == image, "round {round}: {answer:?}");
        }
        wait_until("no connection is left", || house.shared.open() == 0);
    }
}
