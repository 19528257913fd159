//! Which certificate a client gets: by the name it asks for (SNI), then by the signatures it can check.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::load::Loaded;

/// Host names and one-label wildcards, each with the certificates that carry it (RFC 6125 section 6.4.3).
#[derive(Debug, Default)]
pub(super) struct NameIndex(HashMap<String, Vec<usize>>);

impl NameIndex {
    /// Adds a certificate under the names it carries.
    pub(super) fn add(&mut self, certificate: usize, names: &[String]) {
        for name in names {
            let places = self.0.entry(canonical(name)).or_default();
            if !places.contains(&certificate) {
                places.push(certificate);
            }
        }
    }

    /// The certificates for a name; a wildcard counts only where no certificate carries the name itself.
    pub(super) fn find(&self, name: &str) -> &[usize] {
        let name = canonical(name);
        let wildcard = || {
            let (first, rest) = name.split_once('.')?;
            (!first.is_empty()).then(|| self.0.get(&format!("*.{rest}")))?
        };
        self.0
            .get(&name)
            .filter(|_| !name.starts_with('*'))
            .or_else(wildcard)
            .map_or(&[], Vec::as_slice)
    }
}

fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// The first of `keys` that the client can check, those that are not RSA before those that are.
fn suited<'a>(
    keys: impl Iterator<Item = &'a Arc<CertifiedKey>>,
    schemes: &[SignatureScheme],
) -> Option<&'a Arc<CertifiedKey>> {
    keys.filter(|certified| certified.key.choose_scheme(schemes).is_some())
        .min_by_key(|certified| certified.key.algorithm() == SignatureAlgorithm::RSA)
}

/// Reads the certificates that are loaded now, for each handshake.
pub(super) struct Resolver(pub(super) Arc<ArcSwap<Loaded>>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let loaded = self.0.load();
        let all = &loaded.certificates;
        let default = all.first()?;
        if all.len() == 1 {
            return Some(default.certified.clone());
        }
        let schemes = hello.signature_schemes();
        let under = |name: &str| {
            let places = loaded.index.find(name).iter();
            suited(places.map(|&place| &all[place].certified), schemes)
        };
        hello
            .server_name()
            .and_then(under)
            // The default with the other key type is the default too.
            .or_else(|| default.names.first().map(String::as_str).and_then(under))
            .or(Some(&default.certified))
            .cloned()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(certificates: &[&[&str]]) -> NameIndex {
        let mut index = NameIndex::default();
        for (place, names) in certificates.iter().enumerate() {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            index.add(place, &names);
        }
        index
    }

    #[test]
    fn a_name_finds_its_certificates() {
        let index = index(&[
            &["ota.example.org", "OTA2.Example.ORG"],
            &["*.example.org", "example.org"],
            &["*.nodes.example.org", "ota.example.org"],
        ]);
        for (name, found) in [
            ("ota.example.org", &[0, 2][..]),
            ("OTA.EXAMPLE.ORG", &[0, 2]),
            ("ota.example.org.", &[0, 2]),
            ("ota2.example.org", &[0]),
            ("other.example.org", &[1]),
            ("example.org", &[1]),
            ("a.nodes.example.org", &[2]),
            ("nodes.example.org", &[1]),
            ("a.b.example.org", &[]),
            ("a.b.nodes.example.org", &[]),
            (".example.org", &[]),
            ("*.example.com", &[]),
            ("example.com", &[]),
            ("org", &[]),
            ("", &[]),
            (".", &[]),
        ] {
            assert_eq!(index.find(name), found, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_wildcard_stands_for_one_label(label in "[a-z0-9-]{1,20}", more in "[a-z0-9-]{1,20}") {
            let index = index(&[&["default.test"], &["*.fleet.test"]]);
            assert_eq!(index.find(&format!("{label}.fleet.test")), [1]);
            assert_eq!(index.find(&format!("{}.FLEET.test", label.to_uppercase())), [1]);
            assert!(index.find(&format!("{more}.{label}.fleet.test")).is_empty());
        }

        #[test]
        fn no_name_upsets_the_index(name in ".{0,80}") {
            index(&[&["*.fleet.test", "fleet.test"]]).find(&name);
        }
    }
}
