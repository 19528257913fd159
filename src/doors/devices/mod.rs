//! Doors for devices.

pub mod frugal_iot;
