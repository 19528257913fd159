//! Behind Debian's nginx with caching and gzip on, as people put it there: images pass whole and are never cached.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use otatree::firmware::Md5;

use crate::clients::needed;
use crate::house::{Answer, DEADLINE, House, esp8266, image8266, wait_until};
use crate::program::ask;

const NODE: &str = "dev/lotus/node1/key";
const TRUSTED: &str = "trusted_proxies = [\"127.0.0.1/32\"]";

/// nginx as a child, before the house.
struct Nginx {
    child: Child,
    /// The house is asked over HTTP/1.0, nginx's default, and nginx caches what it may.
    plain: SocketAddr,
    /// The house is asked over HTTPS with kept connections, without a cache.
    tls: SocketAddr,
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

impl Nginx {
    fn before(house: &House) -> Self {
        let dir = house.dir.path().join("nginx");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("root.pem"), &house.root_pem).unwrap();
        let (plain, tls) = (free(), free());
        let at = dir.display();
        let text = format!(
            "daemon off; master_process off; pid {at}/pid; error_log stderr warn;
             events {{}}
             http {{
               client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi;
               uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi; access_log off;
               proxy_cache_path {at}/cache keys_zone=all:1m; proxy_cache all; proxy_cache_valid any 10m;
               gzip on; gzip_proxied any; gzip_min_length 1; gzip_http_version 1.0; gzip_types text/plain;
               add_header X-Cached $upstream_cache_status always;
               proxy_set_header Host $host;
               proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
               proxy_set_header X-Forwarded-Proto $scheme;
               server {{ listen {plain}; location / {{ proxy_pass http://{http}; }} }}
               upstream house {{ server {https}; keepalive 4; }}
               server {{ listen {tls}; location / {{
                 proxy_cache off; proxy_pass https://house; proxy_http_version 1.1; proxy_set_header Connection '';
                 proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                 proxy_ssl_verify on; proxy_ssl_trusted_certificate {at}/root.pem; proxy_ssl_name localhost;
                 proxy_ssl_server_name on; }} }}
             }}",
            http = house.http,
            https = house.https,
        );
        fs::write(dir.join("conf"), text).unwrap();
        let child = Command::new(needed("nginx", "nginx"))
            .arg("-p")
            .arg(&dir)
            .args(["-e", "stderr", "-c"])
            .arg(dir.join("conf"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let nginx = Self { child, plain, tls };
        wait_until("nginx listens", || {
            [plain, tls].iter().all(|at| TcpStream::connect(at).is_ok())
        });
        nginx
    }

    fn both(&self) -> [SocketAddr; 2] {
        [self.plain, self.tls]
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn path() -> String {
    format!("/ota_update/{NODE}")
}

#[test]
fn an_image_passes_nginx_whole_and_the_next_one_is_new() {
    let house = House::with(TRUSTED);
    let nginx = Nginx::before(&house);
    for (seed, at) in [1, 2, 3, 4]
        .into_iter()
        .zip(nginx.both().into_iter().cycle())
    {
        let image = image8266(seed);
        house.put_renamed("dev/key/firmware.bin", &image);
        house.wait_served(NODE, &image);
        for accept in ["gzip, deflate, br", "identity"] {
            let answer = ask(at, "GET", &path(), &[("Accept-Encoding", accept)]);
            assert_eq!((answer.status, answer.decision()), (200, "update"));
            assert_eq!(answer.header("content-encoding"), None);
            assert_eq!(answer.header("transfer-encoding"), None);
            assert_eq!(answer.header("x-md5"), Some(&*Md5::of(&image).to_string()));
            assert_ne!(answer.header("x-cached"), Some("HIT"));
            assert!(answer.body == image, "image {seed}, {accept}");
        }
    }
}

/// A poll as an ESP8266 sends it, of the node with this name.
fn poll(at: SocketAddr, node: &str, md5: &str) -> Answer {
    let lines: String = esp8266(md5)
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let head = format!("GET /ota_update/dev/lotus/{node}/key HTTP/1.0\r\nHost: localhost\r\n");
    stream
        .write_all(format!("{head}{lines}\r\n").as_bytes())
        .unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    Answer::parse(&all, false).unwrap()
}

const OLD: &str = "00000000000000000000000000000000";

#[test]
fn a_poll_of_an_esp8266_passes_nginx() {
    let house = House::with(TRUSTED);
    let nginx = Nginx::before(&house);
    let image = image8266(1);
    // A node that runs something else again was flashed by hand.
    house.put("ota.toml", b"by_hand = \"update\"");
    house.put("dev/key/firmware.bin", &image);
    house.wait_served(NODE, &image);
    for (node, at) in ["n0", "n1"].into_iter().zip(nginx.both()) {
        let answer = poll(at, node, OLD);
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("content-length"),
            Some(&*image.len().to_string())
        );
        assert!(answer.body == image);
        let answer = poll(at, node, &Md5::of(&image).to_string());
        assert_eq!(
            (answer.status, answer.decision(), answer.body.len()),
            (304, "up-to-date", 0)
        );
        let answer = poll(at, node, OLD);
        assert_eq!(answer.status, 200, "nginx kept neither answer: {answer:?}");
    }
}

#[test]
fn no_answer_stays_in_the_cache_of_nginx() {
    let house = House::with(TRUSTED);
    let nginx = Nginx::before(&house);
    let image = image8266(1);
    assert_eq!(poll(nginx.plain, "node1", OLD).decision(), "no-image");
    assert_eq!(ask(nginx.plain, "GET", "/nowhere", &[]).status, 404);
    let version = [("x-ESP8266-mode", "version"), ("x-ESP8266-version", "1.0")];
    let answer = ask(nginx.plain, "GET", &path(), &version);
    assert_eq!(
        (answer.status, answer.header("x-version")),
        (200, Some("1.0"))
    );
    house.put("dev/key/firmware.bin", &image);
    house.wait_served(NODE, &image);
    let answer = poll(nginx.plain, "node1", OLD);
    assert_eq!(answer.status, 200, "{answer:?}");
    for path in [
        path(),
        format!("{}/image.bin.md5", path()),
        "/nowhere".to_owned(),
        "/healthz".to_owned(),
    ] {
        for _ in 0..2 {
            assert_eq!(
                ask(nginx.plain, "GET", &path, &[]).header("x-cached"),
                Some("MISS"),
                "{path}"
            );
        }
    }
}

#[test]
fn heads_pass_nginx_and_so_do_ranges_and_conditions_where_it_does_not_cache() {
    let house = House::with(TRUSTED);
    let nginx = Nginx::before(&house);
    let image = image8266(1);
    house.put("dev/key/firmware.bin", &image);
    house.wait_served(NODE, &image);
    for at in nginx.both() {
        let head = ask(at, "HEAD", &path(), &[]);
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(
            head.header("content-length"),
            Some(&*image.len().to_string())
        );
        let tag = head.header("etag").unwrap().to_owned();
        let part = ask(at, "GET", &path(), &[("Range", "bytes=100-199")]);
        if at == nginx.plain {
            // A caching nginx asks for the whole, to keep it; what may not be kept is passed on whole.
            assert_eq!((part.status, part.body == image), (200, true));
            continue;
        }
        assert_eq!((part.status, part.body == image[100..200]), (206, true));
        let part = ask(
            at,
            "GET",
            &path(),
            &[("Range", "bytes=12000-"), ("If-Range", &tag)],
        );
        assert_eq!((part.status, part.body == image[12000..]), (206, true));
        let same = ask(at, "GET", &path(), &[("If-None-Match", &tag)]);
        assert_eq!((same.status, same.body.len()), (304, 0));
    }
}

#[test]
fn the_client_behind_nginx_is_known_by_its_address() {
    let house = House::with(TRUSTED);
    let nginx = Nginx::before(&house);
    let image = image8266(1);
    house.put("demo/key/firmware.bin", &image);
    let path = "/ota_update/demo/lotus/node1/key";
    wait_until("the image is served to this machine", || {
        ask(nginx.plain, "GET", path, &[]).status == 200
    });
    for at in nginx.both() {
        // The samples are for this machine only.
        assert_eq!(ask(at, "GET", path, &[]).status, 200);
        let far = ask(at, "GET", path, &[("X-Forwarded-For", "192.0.2.7")]);
        assert_eq!((far.status, far.decision()), (304, "no-image"));
    }
}
