//! Under which names and addresses this machine is reached.

use std::net::IpAddr;

use rustls::pki_types::DnsName;

/// All that a private leaf must carry: the names `given`, then what the machine says of itself, no name twice.
/// Addresses of the moment are sorted, so that the same machine always wants the same.
pub(in crate::server::tls) fn wanted(given: &[String]) -> Vec<String> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let addresses = interfaces.iter().map(if_addrs::Interface::ip).collect();
    list(given, &host(), addresses)
}

/// What the machine calls itself.
pub(super) fn host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// The form in which a name or an address stands in a certificate; `None` for what is neither.
pub(super) fn canonical(name: &str) -> Option<String> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Some(address.to_string());
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let labels = name.strip_prefix("*.").unwrap_or(&name);
    DnsName::try_from(labels).is_ok().then_some(name)
}

fn list(given: &[String], host: &str, mut addresses: Vec<IpAddr>) -> Vec<String> {
    let short = host.split('.').next().unwrap_or_default();
    let own = [host, &format!("{short}.local"), "localhost"].map(str::to_owned);
    addresses.retain(reachable);
    addresses.sort_unstable();
    let addresses = addresses.iter().map(IpAddr::to_string);
    let loopback = ["127.0.0.1", "::1"].map(str::to_owned);
    let all = given
        .iter()
        .cloned()
        .chain(own)
        .chain(addresses)
        .chain(loopback);
    let mut names: Vec<String> = Vec::new();
    for name in all.filter_map(|name| canonical(&name)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn reachable(address: &IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !link_local && !address.is_loopback() && !address.is_unspecified() && !address.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<IpAddr> {
        list.iter()
            .map(|address| address.parse().unwrap())
            .collect()
    }

    #[test]
    fn a_machine_is_reached_by_its_names_and_addresses() {
        let found = addresses(&[
            "192.168.1.7",
            "127.0.0.1",
            "fe80::1",
            "169.254.3.4",
            "10.0.0.2",
            "::1",
            "fd00::7",
        ]);
        let given = ["OTA.Home.Arpa".to_owned(), "192.0.2.9".to_owned()];
        assert_eq!(
            list(&given, "Garden-Pi.home.arpa", found),
            [
                "ota.home.arpa",
                "192.0.2.9",
                "garden-pi.home.arpa",
                "garden-pi.local",
                "localhost",
                "10.0.0.2",
                "192.168.1.7",
                "fd00::7",
                "127.0.0.1",
                "::1",
            ]
        );
    }

    #[test]
    fn a_machine_without_a_usable_name_has_addresses_still() {
        for host in ["(none)", "", "my pi", "-"] {
            let names = list(&[], host, addresses(&["10.0.0.2"]));
            assert!(names.contains(&"10.0.0.2".to_owned()), "{host}: {names:?}");
            assert!(names.contains(&"localhost".to_owned()), "{host}: {names:?}");
            assert!(names.iter().all(|name| canonical(name).is_some()));
        }
    }

    #[test]
    fn a_name_that_no_certificate_can_carry_is_no_name() {
        for name in [
            "",
            "a b",
            "http://x",
            "x:8443",
            "*",
            "*.*.org",
            "a..b",
            "ümlaut.org",
            "10.0.0.0/8",
        ] {
            assert_eq!(canonical(name), None, "{name}");
        }
        assert_eq!(canonical("*.Home.Arpa."), Some("*.home.arpa".to_owned()));
        assert_eq!(canonical("FD00:0::7"), Some("fd00::7".to_owned()));
    }
}
