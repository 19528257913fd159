//! Both families of addresses at one listener, and who is told apart by the address he comes from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use otatree::config::{LimitsConfig, ListenConfig};
use otatree::server::{self, Shared};
use tokio::sync::oneshot;

use crate::house::{Answer, House, image8266, wait_until};
use crate::program::ask;

const SAMPLE: &str = "/ota_update/demo/p/n/sample";
const OTHER: &str = "/ota_update/dev/p/n/key";

/// Another listener of a house. Dropped, it is gone.
struct Listener {
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Listener {
    fn on(address: &str, shared: &Arc<Shared>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let listen = ListenConfig {
            address: address.parse().unwrap(),
            tls: false,
            proxy_protocol: false,
            client_ca: None,
        };
        let listeners = server::bind(&[listen], &LimitsConfig::default()).unwrap();
        let port = listeners[0].address().unwrap().port();
        let (stop, stopped) = oneshot::channel();
        let shared = shared.clone();
        let thread = std::thread::spawn(move || {
            runtime.block_on(server::run(listeners, shared, async {
                let _ = stopped.await;
            }));
        });
        Self {
            port,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn get(&self, at: impl Into<IpAddr>, path: &str) -> Answer {
        ask(SocketAddr::new(at.into(), self.port), "GET", path, &[])
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// The samples for this machine only, and an image for everybody.
fn house() -> House {
    let house = House::new();
    house.put("demo/sample/firmware.bin", &image8266(1));
    house.put("dev/key/firmware.bin", &image8266(2));
    house.wait_served("demo/p/n/sample", &image8266(1));
    house.wait_served("dev/p/n/key", &image8266(2));
    house
}

/// An address of this machine that others see.
fn outer(fits: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
    let all = if_addrs::get_if_addrs().unwrap();
    all.iter()
        .filter(|interface| !interface.is_loopback() && !interface.is_link_local())
        .map(if_addrs::Interface::ip)
        .find(fits)
}

fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

#[track_caller]
fn is_refused(answer: &Answer) {
    assert_eq!((answer.status, answer.decision()), (304, "no-image"));
}

#[test]
fn a_listener_on_all_addresses_of_ipv6_answers_ipv4_too() {
    if !has_ipv6() {
        return eprintln!("this machine has no IPv6; nothing was tested");
    }
    let house = house();
    let both = Listener::on("[::]:0", &house.shared);
    for loopback in [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ] {
        assert_eq!(both.get(loopback, OTHER).body, image8266(2), "{loopback}");
        // Its address comes as ::ffff:127.0.0.1, and is of this machine all the same.
        assert_eq!(both.get(loopback, SAMPLE).body, image8266(1), "{loopback}");
    }
}

#[test]
fn the_samples_are_refused_to_who_comes_from_another_address_than_loopback() {
    let house = house();
    let mut asked = 0;
    if let Some(address) = outer(IpAddr::is_ipv4) {
        let all = Listener::on("0.0.0.0:0", &house.shared);
        is_refused(&all.get(address, SAMPLE));
        assert_eq!(
            all.get(address, "/files/demo/sample/firmware.bin").status,
            404
        );
        assert_eq!(all.get(address, OTHER).body, image8266(2));
        assert_eq!(all.get(Ipv4Addr::LOCALHOST, SAMPLE).body, image8266(1));
        asked += 1;
    }
    if has_ipv6() {
        let all = Listener::on("[::]:0", &house.shared);
        for address in [outer(IpAddr::is_ipv4), outer(IpAddr::is_ipv6)] {
            let Some(address) = address else { continue };
            is_refused(&all.get(address, SAMPLE));
            assert_eq!(all.get(address, OTHER).body, image8266(2));
            asked += 1;
        }
    }
    if asked == 0 {
        // Then only a proxy can come from elsewhere; tests/proxy.rs has more of it.
        eprintln!("this machine has no address but loopback; a PROXY header stands for one");
        let house = House::with("trusted_proxies = [\"127.0.0.1/32\"]");
        house.put("demo/sample/firmware.bin", &image8266(1));
        let near = [("X-Forwarded-For", "127.0.0.1")];
        wait_until("this machine is served", || {
            house.get(SAMPLE, &near).status == 200
        });
        is_refused(&house.get(SAMPLE, &[("X-Forwarded-For", "203.0.113.9")]));
    }
}
