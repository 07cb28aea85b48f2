//! (domain sysctl)
