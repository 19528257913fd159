//! Ways in for people and their programs. Such a door sees only the office and `http`.

pub mod api;
pub mod frugal_iot;
