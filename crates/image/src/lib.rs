//! OCI images: pulling, storing, unpacking, and making bundles of them. It knows bundles, not containers.

pub mod archive;
pub mod bundle;
pub mod digest;
pub mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod layer;
pub mod manifest;
pub mod platform;
pub mod progress;
pub mod pull;
pub mod reference;
pub mod registry;
pub mod snapshot;
pub mod store;
mod sys;
pub mod userns;
pub mod verify;

#[cfg(test)]
mod testing;
