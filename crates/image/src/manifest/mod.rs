//! The documents of an image, checked while they are read: descriptors, indexes, manifests, configurations.
//!
//! Docker's schema 2 documents have the same members under other media types, so that one set of types serves both.
//! A document is always read from the bytes whose digest was verified, and never written again in another form.

mod config;
mod descriptor;
mod document;
mod media_type;

pub use config::{Config, Execution, History, RootFs};
pub use descriptor::{Descriptor, PlatformSpec};
pub use document::{Document, Index, MAX_DOCUMENT, Manifest};
pub use media_type::{Compression, MediaType};
