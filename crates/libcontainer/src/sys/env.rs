//! The environment, which the C library keeps without a lock.

use super::clone::SingleThreaded;

/// Removes a variable.
pub fn remove(_alone: &SingleThreaded, name: &str) {
    // SAFETY: the proof says that no other thread reads or writes the environment.
    unsafe { std::env::remove_var(name) }
}
