//! `pull`: an image from a registry.

use creel_image::error::Result;
use creel_image::platform::Platform;
use creel_image::progress::Progress;
use creel_image::pull::Pull;
use creel_image::store::Store;

use super::output;
use crate::cli::{self, Format};

/// Pulls, and prints the image's name and digest.
pub fn pull(store: &Store, args: cli::Pull) -> Result<()> {
    let progress = match (args.quiet, args.format) {
        (true, _) => Progress::Quiet,
        (false, Format::Json) => Progress::Json,
        (false, Format::Text) => Progress::for_stderr(),
    };
    let platform = args.image.platform.unwrap_or_else(Platform::host);
    let image = Pull {
        store,
        reference: &args.image.reference,
        platform: &platform,
        options: &args.registry.into(),
        unpack: !args.no_unpack,
        progress: &progress,
    }
    .run()?;
    let (name, digest) = (&image.name, &image.descriptor.digest);
    match (args.quiet, args.format) {
        (_, Format::Json) => {
            let platform = image.platform().to_string();
            let (event, index) = ("pulled", image.index());
            output::json(
                &serde_json::json!({"event": event, "name": name, "digest": digest, "index": index, "platform": platform}),
            )
        }
        (true, Format::Text) => output::line(digest),
        (false, Format::Text) => output::line(format_args!("{name} {digest}")),
    }
}
