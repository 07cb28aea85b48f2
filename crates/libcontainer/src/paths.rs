//! (paths)
