//! otatree
pub mod firmware;
