//! As many connections as the default allows, each kept open between two polls: nobody is refused, and nobody waits.
//! A command of its own: it opens tens of thousands of sockets.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use crate::client::{path, request};
use crate::house::{DEADLINE, esp8266, image8266, wait_until};
use crate::program::{Place, Program, ask};
use otatree::firmware::Md5;

/// `connections` of `[limits]`, as it is shipped.
const MOST: usize = 20_000;

/// For what neither side of the test counts: the log, the tree, the standard streams, the poll in between.
const SPARE: usize = 64;

/// One address has 28,000 ports by default; a fleet has more addresses than one.
const ADDRESSES: usize = 8;

const THREADS: usize = 4;

const NODE: &str = "dev/lotus/node1/key";

/// A poll in between is answered within this time, whoever else is connected.
const IN_TIME: Duration = Duration::from_secs(1);

/// How many connections this machine lets a process have. The program inherits the limit that is raised here.
fn allowed() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = |most| Rlimit {
        current: most,
        maximum: most,
    };
    let enough = (MOST + SPARE) as u64;
    if limit.maximum.is_some_and(|most| most < enough)
        && setrlimit(Resource::Nofile, raised(Some(enough))).is_ok()
    {
        return MOST - 1;
    }
    setrlimit(Resource::Nofile, raised(limit.maximum)).unwrap();
    let descriptors = limit.maximum.map_or(usize::MAX, |most| {
        usize::try_from(most).unwrap_or(usize::MAX)
    });
    // One place is for the poll in between.
    let many = (MOST - 1).min(descriptors.saturating_sub(SPARE));
    if many < MOST - 1 {
        println!(
            "a process has {descriptors} descriptors here at most (ulimit -Hn): {many} connections have to do"
        );
    }
    many
}

fn connect(number: usize, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let last = u8::try_from(number % ADDRESSES).unwrap() + 2;
    let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// A poll that leaves the connection open; the answer is a head alone.
#[track_caller]
fn poll(stream: &mut TcpStream, poll: &str) {
    stream.write_all(poll.as_bytes()).unwrap();
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") {
        let got = stream.read(&mut piece).unwrap();
        assert!(got > 0, "closed after {:?}", String::from_utf8_lossy(&head));
        head.extend(&piece[..got]);
    }
    let head = String::from_utf8_lossy(&head);
    assert!(
        head.starts_with("HTTP/1.1 304") && head.contains("up-to-date"),
        "{head}"
    );
}

/// Memory of the server that nobody shares, in bytes.
fn memory(program: &Program) -> usize {
    let all = fs::read_to_string(format!("/proc/{}/smaps_rollup", program.id())).unwrap();
    let line = all.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    kib.unwrap().trim().parse::<usize>().unwrap() * 1024
}

#[test]
#[ignore = "tens of thousands of connections: cargo test --test all -- --ignored --nocapture crowd"]
fn crowd_every_connection_of_the_default_is_answered_and_kept() {
    let many = allowed();
    assert!(
        many >= 1000,
        "this machine lets a process have {many} connections"
    );
    // Nobody is closed for his silence while the others are polled.
    let place = Place::new(&format!(
        "[limits]\nconnections = {MOST}\nhead = \"10m\"\nanswer = \"10s\"\n"
    ));
    let image = image8266(1);
    place.put("dev/lotus/key/firmware.bin", &image);
    let program = place.serve();
    let server = program.addresses().0;
    let md5 = Md5::of(&image).to_string();
    let headers = esp8266(&md5);
    wait_until("it is offered", || {
        ask(server, "GET", &path(NODE), &headers).decision() == "up-to-date"
    });
    let text = request(&path(NODE), "HTTP/1.1", &headers);
    let before = memory(&program);

    let begun = Instant::now();
    let mut kept: Vec<TcpStream> = std::thread::scope(|scope| {
        let text = &text;
        let parts: Vec<_> = (0..THREADS)
            .map(|part| {
                scope.spawn(move || -> Vec<TcpStream> {
                    (part..many)
                        .step_by(THREADS)
                        .map(|number| {
                            let mut stream = connect(number, server);
                            poll(&mut stream, text);
                            stream
                        })
                        .collect()
                })
            })
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap())
            .collect()
    });
    assert_eq!(kept.len(), many);
    let connected = begun.elapsed();
    let each = memory(&program).saturating_sub(before) / many;

    let between = |what: &str| {
        let begun = Instant::now();
        let answer = ask(server, "GET", &path(NODE), &headers);
        assert_eq!(answer.decision(), "up-to-date");
        let took = begun.elapsed();
        assert!(took < IN_TIME, "{what}: {took:?}");
        took
    };
    let idle = between("while all are silent");

    // All of them again on the connections they have, and somebody new in between.
    let begun = Instant::now();
    let busy = std::thread::scope(|scope| {
        let text = &text;
        let parts: Vec<_> = kept
            .chunks_mut(many.div_ceil(THREADS))
            .map(|part| scope.spawn(move || part.iter_mut().for_each(|stream| poll(stream, text))))
            .collect();
        let mut longest = Duration::ZERO;
        while !parts.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            longest = longest.max(between("while all poll"));
            std::thread::sleep(Duration::from_millis(20));
        }
        longest
    });
    println!(
        "{many} connections in {connected:.1?}, {each} bytes of the server's memory each; polled again in {:.1?}; \
         a poll in between took {idle:.1?} while they were silent, {busy:.1?} at most while they polled",
        begun.elapsed()
    );
}
