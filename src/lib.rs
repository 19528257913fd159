//! otatree
pub mod config;
pub mod desk;
pub mod doors;
pub mod firmware;
pub mod health;
pub mod http;
pub mod server;
pub mod tree;
