//! `import` and `export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use creel_image::archive;
use creel_image::reference::Reference;

use super::Named;

/// `import`
#[derive(Debug, Args)]
pub struct Import {
    /// A directory in OCI layout form, a tar archive of one, or what `docker save` wrote; compressed or not
    pub source: PathBuf,
    /// The image's name here, if the source has one image
    #[arg(long, value_name = "image")]
    pub name: Option<Reference>,
}

/// `export`
#[derive(Debug, Args)]
pub struct Export {
    /// The image.
    #[command(flatten)]
    pub image: Named,
    /// The file, or for `oci` the directory, which must not be there
    pub destination: PathBuf,
    /// What is written
    #[arg(long, value_enum, value_name = "form", default_value = "oci-archive")]
    pub form: Form,
}

/// What an export looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A directory in OCI layout form
    Oci,
    /// A tar archive of one
    OciArchive,
    /// What `docker load` reads
    DockerArchive,
}

impl From<Form> for archive::Form {
    fn from(form: Form) -> Self {
        match form {
            Form::Oci => archive::Form::OciDirectory,
            Form::OciArchive => archive::Form::OciArchive,
            Form::DockerArchive => archive::Form::DockerArchive,
        }
    }
}
