//! Ways in: one folder a protocol. A device door sees only the desk and `http`, a door for people only the office and
//! `http`; the doors are asked in the order of [`open`]'s list.
//!
//! To add a protocol: one folder under `devices/`, one line in [`open`], one client in the conformance suite, one section
//! in `config.toml`, one row in the README.

pub mod devices;
pub mod people;
pub mod probes;

use std::sync::Arc;

use crate::config::DoorsConfig;
use crate::desk::Desk;
use crate::health::Board;
use crate::http::HttpDoor;

/// The doors that the configuration opens, in the order in which they are asked.
#[must_use]
pub fn open(
    config: &DoorsConfig,
    desk: &Arc<Desk>,
    board: &Arc<Board>,
    api: people::api::Api,
) -> Vec<Box<dyn HttpDoor>> {
    let mut doors: Vec<Box<dyn HttpDoor>> = Vec::new();
    if config.frugal_iot.enabled {
        // Before the devices': of their prefix it takes one path, by POST.
        let prefix = &config.frugal_iot.prefix;
        doors.push(Box::new(people::frugal_iot::Door::new(&api, prefix)));
        doors.push(Box::new(devices::frugal_iot::Door::new(
            config.frugal_iot.clone(),
            desk.clone(),
        )));
    }
    doors.push(Box::new(people::api::Door::new(api)));
    doors.push(Box::new(probes::Door::new(board.clone())));
    doors
}
