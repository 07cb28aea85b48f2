//! (domain hooks)
