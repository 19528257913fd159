//! A listener for those alone who have a certificate of the operator's own authority.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use serde_json::Value;

use crate::clients::needed;
use crate::house::wait_until;
use crate::program::{Place, Program, TREE};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server whose third listener asks for a certificate, and papers for its clients.
struct Desk {
    place: Place,
    ours: Authority,
    others: Authority,
}

impl Desk {
    fn new() -> Self {
        let listen = "[[listen]]\naddress = \"127.0.0.1:0\"\n";
        let place = Place::new(&format!(
            "only{listen}{listen}tls = true\n{listen}tls = true\nclient_ca = \"clients.pem\"\n{TREE}[log]\nformat = \"json\"\n"
        ));
        let desk = Self {
            place,
            ours: authority("ours"),
            others: authority("others"),
        };
        desk.trust(&desk.ours);
        desk.paper("right", &desk.ours, ExtendedKeyUsagePurpose::ClientAuth);
        desk.paper("wrong", &desk.others, ExtendedKeyUsagePurpose::ClientAuth);
        desk.paper("server", &desk.ours, ExtendedKeyUsagePurpose::ServerAuth);
        desk
    }

    fn trust(&self, authority: &Authority) {
        fs::write(self.place.path("clients.pem"), authority.pem()).unwrap();
    }

    fn paper(&self, name: &str, issuer: &Authority, usage: ExtendedKeyUsagePurpose) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["node1".to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let leaf = params.signed_by(&key, issuer).unwrap();
        let text = leaf.pem() + &key.serialize_pem();
        fs::write(self.paper_of(name), text).unwrap();
    }

    fn paper_of(&self, name: &str) -> PathBuf {
        self.place.path(&format!("{name}.pem"))
    }

    /// What curl gets of `/healthz`: the status, or nothing where the handshake fails.
    fn curl(&self, at: SocketAddr, paper: Option<&str>, more: &[&str]) -> Option<String> {
        let mut curl = Command::new(needed("curl", "curl"));
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert"])
            .arg(self.place.path("state/identity/root.pem"))
            .args(more)
            .arg(format!("https://localhost:{}/healthz", at.port()));
        if let Some(paper) = paper {
            curl.arg("--cert").arg(self.paper_of(paper));
        }
        let done = curl.output().unwrap();
        let status = String::from_utf8(done.stdout).unwrap();
        done.status.success().then_some(status)
    }

    fn openssl(&self, at: SocketAddr, more: &[&str]) -> Output {
        Command::new(needed("openssl", "openssl"))
            .args(["s_client", "-connect", &at.to_string(), "-msg"])
            .args(more)
            .current_dir(self.place.dir.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

/// The listeners with TLS: the open one, and the one that asks.
fn doors(program: &Program) -> (SocketAddr, SocketAddr) {
    let mut all = program
        .lines("\"listening\"")
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["tls"] == true)
        .map(|line| line["address"].as_str().unwrap().parse().unwrap())
        .collect::<Vec<_>>()
        .into_iter();
    (all.next().unwrap(), all.next().unwrap())
}

const VERSIONS: [[&str; 2]; 2] = [
    ["--tlsv1.2", "--tls-max=1.2"],
    ["--tlsv1.3", "--tls-max=1.3"],
];

#[test]
fn only_who_has_a_certificate_of_client_ca_is_served_where_it_is_asked_for() {
    let desk = Desk::new();
    let program = desk.place.serve();
    let (open, asking) = doors(&program);
    let ok = Some("200".to_owned());
    for [least, most] in VERSIONS {
        let version: Vec<&str> = [least].into_iter().chain(most.split('=')).collect();
        assert_eq!(desk.curl(open, None, &version), ok, "{least}");
        assert_eq!(desk.curl(open, Some("wrong"), &version), ok, "{least}");
        assert_eq!(desk.curl(asking, Some("right"), &version), ok, "{least}");
        for paper in [None, Some("wrong"), Some("server")] {
            let answer = desk.curl(asking, paper, &version);
            assert_eq!(answer, None, "{least} {paper:?}");
        }
    }
    program.wait_said("shows no certificate of client_ca");
    program.wait_said("shows a certificate that client_ca does not bear out");
}

/// The request costs memory on tiny clients.
#[test]
fn a_certificate_is_asked_for_by_no_other_listener() {
    let desk = Desk::new();
    let program = desk.place.serve();
    let (open, asking) = doors(&program);
    for version in ["-tls1_2", "-tls1_3"] {
        for (at, asks) in [(open, false), (asking, true)] {
            let said = desk.openssl(at, &[version]).stdout;
            let said = String::from_utf8_lossy(&said);
            assert!(said.contains("ServerHello"), "{said}");
            assert_eq!(said.contains("CertificateRequest"), asks, "{version} {at}");
        }
    }
}

#[test]
fn a_session_of_one_listener_opens_no_other() {
    let desk = Desk::new();
    let program = desk.place.serve();
    let (open, asking) = doors(&program);
    for version in ["-tls1_2", "-tls1_3"] {
        for more in [&[][..], &["-no_ticket"]] {
            for (from, paper) in [
                (open, &[][..]),
                (asking, &["-cert", "right.pem", "-key", "right.pem"]),
            ] {
                let mut first = vec![version, "-sess_out", "session"];
                first.extend(more);
                first.extend(paper);
                let said = desk.openssl(from, &first).stdout;
                assert!(String::from_utf8_lossy(&said).contains("ServerHello"));
                if !desk.place.path("session").exists() {
                    continue;
                }
                let mut again = vec![version, "-sess_in", "session"];
                again.extend(more);
                let said = desk.openssl(asking, &again).stdout;
                let said = String::from_utf8_lossy(&said);
                assert!(
                    said.contains("CertificateRequest"),
                    "{version} {more:?} {said}"
                );
                fs::remove_file(desk.place.path("session")).unwrap();
            }
        }
    }
}

#[test]
fn another_client_ca_counts_after_a_reload_and_a_bad_one_changes_nothing() {
    let desk = Desk::new();
    let program = desk.place.serve();
    let (_, asking) = doors(&program);
    let ok = Some("200".to_owned());
    assert_eq!(desk.curl(asking, Some("right"), &[]), ok);
    desk.trust(&desk.others);
    program.signal("HUP");
    program.wait_said("certificate reloaded");
    assert_eq!(desk.curl(asking, Some("right"), &[]), None);
    assert_eq!(desk.curl(asking, Some("wrong"), &[]), ok);

    fs::write(desk.place.path("clients.pem"), "nothing").unwrap();
    program.signal("HUP");
    program.wait_said("the old certificates stay");
    assert_eq!(desk.curl(asking, Some("wrong"), &[]), ok);
    desk.trust(&desk.ours);
    program.signal("HUP");
    wait_until("it is taken over", || {
        desk.curl(asking, Some("right"), &[]) == ok
    });
}

#[test]
fn check_says_what_is_wrong_with_client_ca() {
    let desk = Desk::new();
    let found = || {
        let (document, code) = desk.place.json(&["check"], "");
        let texts = document.as_array().unwrap().iter();
        let texts: Vec<_> = texts
            .map(|one| one["text"].as_str().unwrap().to_owned())
            .collect();
        (texts.join("\n"), code)
    };
    assert_eq!(found(), (String::new(), Some(0)));
    for (text, wanted) in [
        (None, "cannot read"),
        (Some("nothing"), "no certificate in"),
        (
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "no client can be judged by",
        ),
    ] {
        let path = desk.place.path("clients.pem");
        match text {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let (texts, code) = found();
        assert!(
            texts.contains(wanted) && texts.contains("clients.pem"),
            "{texts}"
        );
        assert_eq!(code, Some(1));
        let start = desk.place.run(&[]);
        let said = String::from_utf8_lossy(&start.stderr).into_owned();
        assert_eq!(start.status.code(), Some(78), "{said}");
        assert!(said.contains(wanted), "{said}");
    }
    let plain = "only[[listen]]\naddress = \"127.0.0.1:0\"\nclient_ca = \"clients.pem\"\n";
    desk.place.configure(plain);
    let said = desk.place.run(&["check"]);
    assert_eq!(said.status.code(), Some(78));
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        said.contains("client_ca") && said.contains("tls = true"),
        "{said}"
    );
}
