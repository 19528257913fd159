//! Drop a `.bin` into a folder, and every matching device in the field updates itself.
//!
//! This library is the house behind the program `otatree`. It is public for the program and for the tests, and
//! promises no stability to anybody else.
//!
//! # The rooms
//!
//! ```text
//!  roof       main.rs, cli/                    the program: sees all rooms, is seen by none
//!  2nd floor  server        doors              sockets and TLS · one folder a protocol
//!  stairs     http                             requests, replies, ranges: knows nothing of firmware
//!  counters   desk          office             all that doors for devices talk to · all that doors for people talk to
//!  1st floor  tree          people             the images on disk: read, judged, followed · users, tokens, audit log
//!  ground     firmware  health  disk           words and decisions · status board · whole files
//!             config    store                  config.toml · the database
//! ```
//!
//! Arrows point down only: a room uses what is below it, never what is above or beside it. `tests/arrows.rs` reads
//! every `use crate::` and fails when one points up. Three uses look odd and are meant:
//!
//! - [`config`] asks [`firmware`] whether a text is a word, so that a prefix that no path can have is refused at once;
//! - [`doors`] and [`server`] read their own sections of [`config`], already parsed;
//! - [`server`] takes a digest type from [`firmware`] to say which certificate files changed. It knows no image.
//!
//! # One poll, from socket to flash
//!
//! 1. `server/accept` takes a place and accepts. Handshake and head are read in the connection's own task.
//! 2. `server/connection` asks the doors, in the order of [`doors::open`]. The first that knows the path answers.
//! 3. `doors/devices/<name>/wire` turns headers into a [`firmware::Visit`], and the path into a [`firmware::Device`].
//!    Where its org asks devices for a secret, [`desk::Desk::admits`] compares what it shows, in memory too.
//! 4. [`desk::Desk::check_in`] finds the slot in the [`tree::Catalog`] and calls [`firmware::decide`]. All of it happens
//!    in memory, so a 304 never waits.
//! 5. Only for an update, the desk opens the bytes, and the door sends them with their sums.
//! 6. `server/linger` finds out whether the peer got the last byte. The desk remembers complete downloads: the loop
//!    guard needs them.
//!
//! Meanwhile one thread in [`tree`] follows the disk and publishes whole new catalogues; readers take an `Arc`. What people
//! publish takes its place on disk by their own threads, and the keeper takes it in before they hear that it is done.
//!
//! # Where to change what
//!
//! | you want to change | look in |
//! |---|---|
//! | the order of search | `firmware/slot.rs`, the only place that knows it |
//! | what a device hears | `firmware/decision.rs` |
//! | which hashes count as the same image | `firmware/format/` and `firmware/image.rs` |
//! | which file of a folder is taken | `tree/names.rs` and `tree/judge.rs` |
//! | how an upload takes its place | `tree/publish.rs` and `tree/hands.rs` |
//! | what an `ota.toml` can say, and who is stricter | `firmware/policy.rs`, `firmware/order.rs` |
//! | a protocol's headers | `doors/devices/<name>/wire.rs`, and nowhere else |
//! | an option | `config/sections.rs`, `config.toml`; a test holds the two together |
//! | a log line about devices | `desk/talk.rs` |
//! | certificates | `server/tls/` |
//! | a table of the database | a new step in `store/`, never an old one |
//! | who may do what | `people/actor.rs` |
//! | a command | `cli/<command>.rs`, `cli/images/` and `cli/office/` for those that ask a server |
//! | which server a command asks, and how | `cli/client/` |
//! | a call of the API | `doors/people/api/`, and the office that does it |
//!
//! A new protocol is one folder under `doors/devices/`, one line in [`doors::open`], one section of `config.toml`, one
//! client in the tests and one row in the README.

pub mod config;
pub mod desk;
pub mod disk;
pub mod doors;
pub mod firmware;
pub mod health;
pub mod http;
pub mod office;
pub mod people;
pub mod server;
pub mod store;
pub mod tree;
