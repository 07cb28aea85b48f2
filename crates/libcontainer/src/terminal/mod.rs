//! (domain terminal)
