//! `ls`: the images of the store.

use creel_image::error::Result;
use creel_image::store::{Image, Store};
use serde::Serialize;

use super::output;
use crate::cli::{self, Format};

#[derive(Serialize)]
struct Row {
    name: String,
    platform: String,
    digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<String>,
    created: Option<String>,
    /// Compressed, as in the registry.
    size: u64,
}

/// Lists; an image whose documents are damaged is listed with what is known of it.
pub fn ls(store: &Store, args: &cli::Ls) -> Result<()> {
    let rows: Vec<Row> = store.images()?.into_iter().map(|image| row(store, image)).collect();
    if args.quiet {
        return rows.iter().try_for_each(|row| output::line(&row.digest));
    }
    if args.format == Format::Json {
        return output::json(&rows);
    }
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0).max("NAME".len());
    output::line(format_args!("{:width$}  {:14}  {:12}  {:>10}  CREATED", "NAME", "PLATFORM", "DIGEST", "SIZE"))?;
    rows.iter().try_for_each(|row| {
        let digest = row.digest.split_once(':').map_or("", |(_, hex)| &hex[..12]);
        let created = row.created.as_deref().unwrap_or("").chars().take(10).collect::<String>();
        let size = format!("{:.1} MB", row.size as f64 / 1e6);
        output::line(format_args!("{:width$}  {:14}  {digest}  {size:>10}  {created}", row.name, row.platform))
    })
}

fn row(store: &Store, image: Image) -> Row {
    let manifest = store.manifest(&image.descriptor).ok();
    let config = manifest.as_ref().and_then(|manifest| store.config(manifest).ok());
    let layers = manifest.iter().flat_map(|manifest| manifest.layers.iter().map(|layer| layer.size));
    Row {
        platform: image.platform().to_string(),
        digest: image.descriptor.digest.to_string(),
        index: image.index().map(str::to_owned),
        created: config
            .and_then(|config| config.created)
            .map(|text| text.chars().filter(|c| !c.is_control()).collect()),
        size: layers.fold(0, u64::saturating_add),
        name: image.name,
    }
}
