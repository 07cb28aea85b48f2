//! The mount system calls that rustix does not wrap.
