//! Processes: the parent's side of making one, the child's side of becoming the payload, and what lies between.

pub(crate) mod birth;
mod channel;
mod exec;
pub(crate) mod gate;
mod init;
pub(crate) mod launch;
pub mod own;
mod payload;
mod posture;
pub mod sealed_exe;
pub mod signals;
pub(crate) mod sources;
mod stage;
pub mod wait;

#[cfg(any(test, fuzzing))]
pub use channel::fuzz as fuzz_channel;
pub(crate) use exec::Joiner;
pub(crate) use init::Init;
