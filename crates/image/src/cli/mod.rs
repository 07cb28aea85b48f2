//! The command line: what there is, and what it is called.

mod archive;
mod bundle;
mod registry;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use creel_image::platform::Platform;
use creel_image::reference::Reference;

pub use archive::{Export, Import};
pub use bundle::{Bundle, Mount, Run, Unbundle, Unpack, Unshare};
pub use registry::RegistryArgs;

/// Pull, store and unpack OCI images.
#[derive(Debug, Parser)]
#[command(name = "creel-image", version, disable_help_subcommand = true)]
pub struct Cli {
    /// The directory that holds images [default: $CREEL_IMAGE_STORE, /var/lib/creel/images, or below ~/.local/share if not root]
    #[arg(long, global = true, value_name = "path")]
    pub store: Option<PathBuf>,
    /// What to do; without one, help is shown.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Pull an image from a registry
    Pull(Pull),
    /// List the images of the store
    Ls(Ls),
    /// Show an image's manifest and configuration, as JSON
    Inspect(Inspect),
    /// Take names away; gc frees what nothing needs any more
    Rm(Rm),
    /// Remove what no name, no bundle and no running command needs
    Gc(Gc),
    /// Import images from a directory or an archive
    Import(Import),
    /// Export an image into a directory or an archive
    Export(Export),
    /// Check that a key's owner has signed an image (cosign)
    Verify(Verify),
    /// Prove credentials to a registry, and keep them
    Login(Login),
    /// Make a bundle of an image of the store: a root filesystem and a config.json
    Bundle(Bundle),
    /// Copy an image's root filesystem into a directory
    Unpack(Unpack),
    /// Mount a bundle's root filesystem again, as after a restart
    Mount(Mount),
    /// Unmount and remove a bundle
    Unbundle(Unbundle),
    /// Run a container of an image, which is pulled if it is not here
    Run(Run),
    /// Execute a command in the user namespace that your images' files belong to, as to look at or remove them
    Unshare(Unshare),
    /// Write the maps of the parent's user namespace
    #[command(hide = true)]
    MapIds,
}

/// How results are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Which image of the store.
#[derive(Debug, Args)]
pub struct Named {
    /// Its name: alpine, quay.io/a/b:tag, host:5000/c@sha256:…
    #[arg(value_name = "image")]
    pub reference: Reference,
    /// The platform, such as linux/arm64 [default: this machine's]
    #[arg(long, value_name = "os/arch")]
    pub platform: Option<Platform>,
}

/// `pull`
#[derive(Debug, Args)]
pub struct Pull {
    /// The image.
    #[command(flatten)]
    pub image: Named,
    /// How registries are reached.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Store the layers, and unpack none
    #[arg(long)]
    pub no_unpack: bool,
    /// Tell nothing but the digest
    #[arg(long, short)]
    pub quiet: bool,
    /// Progress and result as text or as JSON lines
    #[arg(long, value_enum, value_name = "format", default_value_t)]
    pub format: Format,
}

/// `ls`
#[derive(Debug, Args)]
pub struct Ls {
    /// Only digests
    #[arg(long, short)]
    pub quiet: bool,
    /// As a table, or as a JSON array
    #[arg(long, value_enum, value_name = "format", default_value_t)]
    pub format: Format,
}

/// `inspect`
#[derive(Debug, Args)]
pub struct Inspect {
    /// The image.
    #[command(flatten)]
    pub image: Named,
}

/// `rm`
#[derive(Debug, Args)]
pub struct Rm {
    /// The images
    #[arg(value_name = "image", required = true)]
    pub references: Vec<Reference>,
    /// Only for this platform
    #[arg(long, value_name = "os/arch")]
    pub platform: Option<Platform>,
}

/// `gc`
#[derive(Debug, Args)]
pub struct Gc {
    /// As text, or as JSON
    #[arg(long, value_enum, value_name = "format", default_value_t)]
    pub format: Format,
}

/// `verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// The image.
    #[command(flatten)]
    pub image: Named,
    /// The public key (PEM): ECDSA on P-256 or P-384, or Ed25519
    #[arg(long, value_name = "file")]
    pub key: PathBuf,
    /// How registries are reached.
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// `login`
#[derive(Debug, Args)]
pub struct Login {
    /// The registry, docker.io unless given
    #[arg(value_name = "registry", default_value = creel_image::reference::DEFAULT_REGISTRY)]
    pub registry: String,
    /// The user's name
    #[arg(long, short, value_name = "name")]
    pub username: Option<String>,
    /// Read the password from stdin
    #[arg(long)]
    pub password_stdin: bool,
    /// How registries are reached.
    #[command(flatten)]
    pub options: RegistryArgs,
}
