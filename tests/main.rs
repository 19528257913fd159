//! One binary for all tests that need more than one room, a socket, a file or another program.

mod formats;
mod house;
mod poll;
mod tls_room;
