//! (domain seccomp)
