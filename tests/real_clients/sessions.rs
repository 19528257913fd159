//! A node that comes back every hour is spared the handshake's arithmetic.

use std::path::PathBuf;
use std::time::SystemTime;

use otatree::server::tls::TlsSettings;

use super::{NODE, house_with, old};
use crate::clients::{Call, Chip, Report};
use crate::house::{House, image32, image8266, wait_until};

fn come_back(house: &House, chip: Chip, session: &str, tickets: Option<u8>) -> Report {
    let path: PathBuf = house.dir.path().join(session);
    let call = Call::poll(chip, house, NODE, &old()).with("session", path.display());
    match tickets {
        Some(tickets) => call.with("tickets", tickets),
        None => call,
    }
    .run()
}

#[test]
fn sessions_are_resumed_by_id_and_by_ticket_and_outlive_a_new_certificate() {
    let house = House::new();
    let nodes = [
        (Chip::Esp8266, "bearssl", None),
        (Chip::Esp32, "id", Some(0)),
        (Chip::Esp32, "ticket", Some(1)),
    ];
    for (chip, session, tickets) in nodes {
        let first = come_back(&house, chip, session, tickets);
        assert_eq!(first.answer(), (304, "no-image"));
        assert!(!first.resumed());
        let second = come_back(&house, chip, session, tickets);
        assert_eq!(second.answer(), (304, "no-image"));
        assert!(second.resumed(), "{session}: {second:?}");
    }

    let reloaded = house
        .tls
        .reload_settings(
            TlsSettings {
                pairs: Vec::new(),
                anchors: Vec::new(),
                client_cas: Vec::new(),
                names: vec!["other.test".to_owned()],
                sessions: 1000,
                identity: house.dir.path().join("state/identity"),
            },
            SystemTime::now(),
        )
        .unwrap();
    assert!(reloaded.issued.is_some(), "a name more is a new leaf");
    for (chip, session, tickets) in nodes {
        let third = come_back(&house, chip, session, tickets);
        assert!(third.resumed(), "{session}: {third:?}");
    }
    let fresh = Call::poll(Chip::Esp32, &house, NODE, &old())
        .trusting(&house, "other.test")
        .run();
    assert_eq!(fresh.answer(), (304, "no-image"));
}

#[test]
fn an_image_comes_whole_over_a_resumed_session() {
    for (chip, image) in [(Chip::Esp8266, image8266(1)), (Chip::Esp32, image32(1))] {
        let house = house_with(&image, "");
        come_back(&house, chip, "session", None);
        let report = come_back(&house, chip, "session", None);
        assert!(report.resumed());
        report.brought(&image);
    }
}

#[test]
fn a_download_under_way_is_not_cut_by_a_new_certificate() {
    let image = super::mebibyte8266();
    let house = house_with(&image, "");
    let running = Call::poll(Chip::Esp8266, &house, NODE, &old())
        .with("rate", 700_000)
        .start();
    wait_until("the download runs", || house.desk.downloads() == 1);
    let settings = TlsSettings {
        pairs: Vec::new(),
        anchors: Vec::new(),
        client_cas: Vec::new(),
        names: vec!["other.test".to_owned()],
        sessions: 1000,
        identity: house.dir.path().join("state/identity"),
    };
    let reloaded = house
        .tls
        .reload_settings(settings, SystemTime::now())
        .unwrap();
    assert!(reloaded.issued.is_some());
    assert_eq!(house.desk.downloads(), 1, "it still runs");
    running.end().brought(&image);
}
