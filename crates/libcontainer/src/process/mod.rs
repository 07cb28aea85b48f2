//! (layer process)

pub mod signals;
