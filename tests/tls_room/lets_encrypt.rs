//! Chains of the shape of Let's Encrypt's: an old root of RSA 4096 (X1), a newer one of P-384 (X2) that the old one has
//! cross-signed, intermediates of both, a leaf of P-256. A node trusts one of the roots alone.

use std::path::PathBuf;
use std::sync::Arc;

use otatree::server::tls::{Pair, Tls, TlsError, TlsSettings, TlsWarning};
use rustls::version::{TLS12, TLS13};

use super::configured::{refused, warned};
use super::papers::{self, save, write};
use super::shake::{client, shake};
use super::{settings, today};
use crate::clients::{Call, Chip};
use crate::house::House;

struct Papers {
    dir: tempfile::TempDir,
    x1: PathBuf,
    x2: PathBuf,
    x1_pem: String,
    x2_pem: String,
    /// Leaf, intermediate, X2 cross-signed by X1.
    whole: Pair,
    /// Without the cross-signed one.
    short: Pair,
    /// The cross-signed one is over.
    over: Pair,
    /// Leaf, intermediate of RSA 2048 by X1.
    rsa: Pair,
}

impl Papers {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        let x1 = papers::root_with("ISRG Root X1", papers::rsa4096());
        let x2 = papers::root_with("ISRG Root X2", papers::p384());
        let cross = papers::cross_sign("ISRG Root X2", x2.key(), &x1);
        let over = papers::expired_cross_sign("ISRG Root X2", x2.key(), &x1);
        let e7 = papers::intermediate_with("E7", papers::p384(), &x2);
        let r12 = papers::intermediate_with("R12", papers::rsa(), &x1);
        let leaf = papers::leaf(&["ota.test"], &e7);
        let rsa = papers::leaf(&["ota.test"], &r12);
        Self {
            x1: write(path, "x1.pem", &x1.pem()),
            x2: write(path, "x2.pem", &x2.pem()),
            x1_pem: x1.pem(),
            x2_pem: x2.pem(),
            whole: save(path, "whole", &leaf, &[&e7.pem(), &cross]),
            short: save(path, "short", &leaf, &[&e7.pem()]),
            over: save(path, "over", &leaf, &[&e7.pem(), &over]),
            rsa: save(path, "rsa", &rsa, &[&r12.pem()]),
            dir,
        }
    }

    fn served(&self, pair: &Pair, anchors: &[&PathBuf]) -> TlsSettings {
        let mut settings = settings(self.dir.path(), vec![pair.clone()]);
        settings.anchors = anchors.iter().map(|anchor| (*anchor).clone()).collect();
        settings
    }
}

#[test]
fn only_a_chain_that_leads_to_the_root_of_the_nodes_is_served() {
    let papers = Papers::new();
    let (x1, x2) = (&papers.x1, &papers.x2);
    // No warning either: the first answer fits into 4096 bytes.
    for (pair, anchors) in [
        (&papers.whole, &[x1][..]),
        (&papers.whole, &[x2]),
        (&papers.whole, &[x1, x2]),
        (&papers.short, &[x2]),
        (&papers.rsa, &[x1]),
    ] {
        let found = warned(&papers.served(pair, anchors));
        assert_eq!(found, [], "{pair:?} {anchors:?}");
    }
    let over = warned(&papers.served(&papers.over, &[x2]));
    assert!(
        matches!(
            &over[..],
            [TlsWarning::IntermediateOutOfDate { position: 3, .. }]
        ),
        "{over:?}"
    );
    for (pair, anchors, missed) in [
        (&papers.short, &[x1][..], x1),
        (&papers.short, &[x2, x1], x1),
        (&papers.over, &[x1], x1),
        (&papers.rsa, &[x2], x2),
        (&papers.rsa, &[x1, x2], x2),
    ] {
        let error = refused(&papers.served(pair, anchors));
        let TlsError::NotAnchored { anchor, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(anchor, missed, "{pair:?} {anchors:?}");
    }
}

/// Which nodes get in with which chain: as the rule of the anchors has it.
#[test]
fn a_node_that_trusts_one_root_alone_gets_in_as_the_anchors_say() {
    let papers = Papers::new();
    for (pair, by_x1, by_x2) in [
        (&papers.whole, true, true),
        (&papers.short, false, true),
        (&papers.over, false, true),
        (&papers.rsa, true, false),
    ] {
        let served = papers.served(pair, &[]);
        let (tls, _) = Tls::open(served.clone(), today()).unwrap();
        let house = House::new();
        house.tls.reload_settings(served, today()).unwrap();
        for (path, pem, gets_in) in [
            (&papers.x1, &papers.x1_pem, by_x1),
            (&papers.x2, &papers.x2_pem, by_x2),
        ] {
            let anchored = Tls::open(papers.served(pair, &[path]), today()).is_ok();
            assert_eq!(anchored, gets_in, "{pair:?} {path:?}");
            for version in [&TLS12, &TLS13] {
                let client = Arc::new(client(pem, &[version]));
                let shaken = shake(&tls, &client, "ota.test");
                assert_eq!(shaken.is_ok(), gets_in, "{pair:?} {path:?} {version:?}");
            }
            for chip in [Chip::Esp8266, Chip::Esp32] {
                let node = "dev/lotus/node1/key";
                let mut call = Call::poll(chip, &house, node, "0")
                    .with("anchor", path.display())
                    .with("sni", "ota.test");
                let day = today().duration_since(std::time::UNIX_EPOCH).unwrap();
                match chip {
                    Chip::Esp8266 => call = call.with("time", day.as_secs()),
                    // This one looks at no date, as ESP-IDF does by default.
                    Chip::Esp32 if pair == &papers.over => continue,
                    Chip::Esp32 => {}
                }
                let report = call.run();
                let got_in = report.text("outcome") == "ok";
                assert_eq!(got_in, gets_in, "{chip:?} {pair:?} {path:?} {report:?}");
            }
        }
    }
}
