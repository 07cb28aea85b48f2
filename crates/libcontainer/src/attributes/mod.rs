//! (domain attributes)
