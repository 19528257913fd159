//! One binary for all tests that need more than one room, a socket, a file or another program.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by failing")]

mod arrows;
mod bad_input;
mod client;
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod binary;
mod cli;
mod clients;
mod decision;
mod documents;
mod files;
mod formats;
mod house;
mod identity;
mod nginx;
mod loop_guard;
mod poll;
mod program;
mod real_clients;
mod ranges;
mod tls_room;
mod tools;
