//! `gc`: what nothing needs goes.

use creel_image::error::Result;
use creel_image::store::Store;

use super::output;
use crate::cli::{self, Format};

/// Collects, and says how much.
pub fn gc(store: &Store, args: &cli::Gc) -> Result<()> {
    let swept = store.gc()?;
    match args.format {
        Format::Json => output::json(&swept),
        Format::Text => output::line(format_args!(
            "removed {} blobs ({:.1} MB) and {} unpacked layers",
            swept.blobs,
            swept.bytes as f64 / 1e6,
            swept.snapshots
        )),
    }
}
