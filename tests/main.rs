//! One binary for all tests that need more than one room, a socket, a file or another program.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by failing")]

mod arrows;
mod bad_input;
mod binary;
mod by_record;
mod cli;
mod client;
mod clients;
mod decision;
mod documents;
mod files;
mod fleet;
mod formats;
mod house;
mod identity;
mod limits;
mod loop_guard;
mod nginx;
mod poll;
mod program;
mod proxy;
mod ranges;
mod real_clients;
mod snapshot;
mod stop;
mod tls_room;
mod tools;
mod tree_choice;
mod tree_events;
mod tree_kit;
mod tree_links;
mod tree_memory;
mod tree_removal;
mod tree_root;
mod tree_settle;
mod withheld;
