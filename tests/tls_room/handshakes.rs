//! Handshakes in memory: what each kind of client gets.

use std::sync::Arc;

use otatree::server::tls::{Tls, TlsSettings};
use rustls::client::{Resumption, Tls12Resumption};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{HandshakeKind, NamedGroup, ProtocolVersion};

use super::papers::{self, Leaf, save};
use super::shake::{TLS12, TLS13, client, client_with, shake};
use super::{DAY, settings, today};

fn der(leaf: &Leaf) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(leaf.pem.as_bytes()).unwrap()
}

fn open(settings: TlsSettings) -> Tls {
    Tls::open(settings, today()).unwrap().0
}

#[test]
fn both_versions_shake_hands_over_x25519() {
    let dir = tempfile::tempdir().unwrap();
    let root = papers::root("R");
    let leaf = papers::leaf(&["ota.test"], &root);
    let tls = open(settings(
        dir.path(),
        vec![save(dir.path(), "a", &leaf, &[])],
    ));
    for (versions, version) in [
        (TLS12, ProtocolVersion::TLSv1_2),
        (TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let client = Arc::new(client(&root.pem(), versions));
        let shaken = shake(&tls, &client, "ota.test").unwrap();
        assert_eq!(shaken.server.protocol_version(), Some(version));
        assert_eq!(
            shaken
                .server
                .negotiated_key_exchange_group()
                .unwrap()
                .name(),
            NamedGroup::X25519
        );
        assert_eq!(shaken.leaf(), der(&leaf));
        assert_eq!(shaken.server.alpn_protocol(), None, "no ALPN is fine");
        assert_eq!(shaken.client.tls13_tickets_received(), 0);
    }
}

#[test]
fn tls12_goes_over_x25519_whatever_the_client_prefers() {
    let dir = tempfile::tempdir().unwrap();
    let root = papers::root("R");
    let leaf = papers::leaf(&["ota.test"], &root);
    let tls = open(settings(
        dir.path(),
        vec![save(dir.path(), "a", &leaf, &[])],
    ));
    let hybrid = kx_group::X25519MLKEM768;
    let (x25519, p256, p384) = (kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1);
    for (versions, offered, taken) in [
        (TLS12, vec![p384, p256, x25519], NamedGroup::X25519),
        (TLS12, vec![p384, p256], NamedGroup::secp256r1),
        (TLS12, vec![p384], NamedGroup::secp384r1),
        // A key share of the first is on its way already.
        (TLS13, vec![p256, x25519], NamedGroup::secp256r1),
        (TLS13, vec![x25519, p256], NamedGroup::X25519),
        // Browsers put the post-quantum hybrid first, and get it.
        (TLS13, vec![hybrid, x25519], NamedGroup::X25519MLKEM768),
    ] {
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups = offered;
        let client = Arc::new(client_with(provider, &root.pem(), versions));
        let shaken = shake(&tls, &client, "ota.test").unwrap();
        let group = shaken.server.negotiated_key_exchange_group().unwrap();
        assert_eq!(group.name(), taken);
        assert_eq!(shaken.kind(), HandshakeKind::Full);
    }
}

#[test]
fn the_first_answer_is_one_record_of_the_size_foretold() {
    let dir = tempfile::tempdir().unwrap();
    let root = papers::root("R");
    let middle = papers::intermediate("I", &root);
    for key in [papers::p256(), papers::p384(), papers::rsa()] {
        let leaf = papers::dated_leaf(&["ota.test"], &middle, key, today() - DAY, 90 * DAY);
        let tls = open(settings(
            dir.path(),
            vec![save(dir.path(), "a", &leaf, &[&middle.pem()])],
        ));
        let mut client = client(&root.pem(), TLS12);
        client.alpn_protocols = vec![b"http/1.1".to_vec()];
        let flight = shake(&tls, &Arc::new(client), "ota.test").unwrap().flight;
        let length = usize::from(u16::from_be_bytes([flight[3], flight[4]]));
        assert_eq!(
            flight.len(),
            length + 5,
            "split handshake messages break mbedTLS before 3.6.3"
        );
        let foretold = tls.summary(today())[0].flight_bytes;
        assert!(
            (length..length + 50).contains(&foretold),
            "{length} sent, {foretold} foretold"
        );
    }
}

#[test]
fn alpn_is_taken_where_it_is_offered() {
    let dir = tempfile::tempdir().unwrap();
    let root = papers::root("R");
    let leaf = papers::leaf(&["ota.test"], &root);
    let tls = open(settings(
        dir.path(),
        vec![save(dir.path(), "a", &leaf, &[])],
    ));
    let offer = |protocols: &[&str]| {
        let mut client = client(&root.pem(), rustls::ALL_VERSIONS);
        client.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        shake(&tls, &Arc::new(client), "ota.test")
    };
    for protocols in [&["http/1.1"][..], &["h2", "http/1.1"]] {
        let shaken = offer(protocols).unwrap();
        assert_eq!(shaken.server.alpn_protocol(), Some(&b"http/1.1"[..]));
    }
    assert_eq!(
        offer(&["h2"]).err(),
        Some(rustls::Error::NoApplicationProtocol)
    );
}

#[test]
fn a_client_gets_the_certificate_it_asks_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let root = papers::root("R");
    let default = papers::leaf(&["default.test", "192.0.2.7"], &root);
    let wild = papers::leaf(&["*.fleet.test"], &root);
    let exact = papers::leaf(&["one.fleet.test", "192.0.2.8"], &root);
    let pairs = vec![
        save(path, "d", &default, &[]),
        save(path, "w", &wild, &[]),
        save(path, "e", &exact, &[]),
    ];
    let tls = open(settings(path, pairs));
    let client = Arc::new(client(&root.pem(), TLS12));
    for (name, leaf) in [
        ("default.test", &default),
        ("one.fleet.test", &exact),
        ("ONE.Fleet.Test", &exact),
        ("two.fleet.test", &wild),
        // No SNI goes with an address.
        ("192.0.2.7", &default),
    ] {
        assert_eq!(
            shake(&tls, &client, name).unwrap().leaf(),
            der(leaf),
            "{name}"
        );
    }
    // An unknown name gets the default, which this client cannot take; one that checks nothing can.
    assert!(shake(&tls, &client, "unknown.test").is_err());
    assert!(shake(&tls, &client, "a.b.fleet.test").is_err());
}

#[test]
fn a_client_gets_a_signature_it_can_check() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let root = papers::root("R");
    let named = |key| papers::dated_leaf(&["ota.test"], &root, key, today() - DAY, 90 * DAY);
    let (rsa, ecdsa) = (named(papers::rsa()), named(papers::p256()));
    let tls = open(settings(
        path,
        vec![save(path, "r", &rsa, &[]), save(path, "e", &ecdsa, &[])],
    ));
    let mut rsa_only = aws_lc_rs::default_provider();
    rsa_only.cipher_suites.retain(|suite| {
        suite
            .suite()
            .as_str()
            .is_some_and(|name| name.contains("_RSA_"))
    });
    let all = Arc::new(client(&root.pem(), rustls::ALL_VERSIONS));
    let old = Arc::new(client_with(rsa_only, &root.pem(), TLS12));
    assert_eq!(shake(&tls, &all, "ota.test").unwrap().leaf(), der(&ecdsa));
    assert_eq!(shake(&tls, &old, "ota.test").unwrap().leaf(), der(&rsa));
}

#[test]
fn tls12_resumes_by_session_id_and_by_ticket() {
    let dir = tempfile::tempdir().unwrap();
    let root = papers::root("R");
    let leaf = papers::leaf(&["ota.test"], &root);
    let pair = save(dir.path(), "a", &leaf, &[]);
    for (how, sessions, again) in [
        (Tls12Resumption::SessionIdOnly, 8, HandshakeKind::Resumed),
        (Tls12Resumption::SessionIdOnly, 0, HandshakeKind::Full),
        (
            Tls12Resumption::SessionIdOrTickets,
            0,
            HandshakeKind::Resumed,
        ),
    ] {
        let mut settings = settings(dir.path(), vec![pair.clone()]);
        settings.sessions = sessions;
        let tls = open(settings);
        let mut client = client(&root.pem(), TLS12);
        client.resumption = Resumption::in_memory_sessions(8).tls12_resumption(how);
        let client = Arc::new(client);
        assert_eq!(
            shake(&tls, &client, "ota.test").unwrap().kind(),
            HandshakeKind::Full
        );
        assert_eq!(
            shake(&tls, &client, "ota.test").unwrap().kind(),
            again,
            "{how:?} {sessions}"
        );
    }
}

#[test]
fn the_private_leaf_is_sent_alone_and_trusted_by_its_root() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path(), Vec::new());
    settings.names = vec!["ota.home.arpa".to_owned(), "*.nodes.home.arpa".to_owned()];
    let tls = open(settings);
    let root = tls.root_pem().unwrap();
    for versions in [TLS12, TLS13] {
        let client = Arc::new(client(&root, versions));
        for name in [
            "ota.home.arpa",
            "a.nodes.home.arpa",
            "localhost",
            "127.0.0.1",
            "::1",
        ] {
            let shaken = shake(&tls, &client, name).unwrap();
            assert_eq!(shaken.client.peer_certificates().unwrap().len(), 1);
            assert!(shaken.flight.len() < 2000, "{}", shaken.flight.len());
        }
        assert!(shake(&tls, &client, "evil.test").is_err());
    }
}
