//! (layer process)
