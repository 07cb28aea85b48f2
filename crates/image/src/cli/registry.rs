//! Flags of the commands that reach registries.

use std::path::PathBuf;

use clap::Args;
use creel_image::registry::Options;

/// How registries are reached.
#[derive(Clone, Debug, Args)]
pub struct RegistryArgs {
    /// Speak plain HTTP (on loopback that is found out)
    #[arg(long)]
    pub plain_http: bool,
    /// Believe any certificate
    #[arg(long)]
    pub insecure: bool,
    /// Trust these authorities too (PEM)
    #[arg(long, value_name = "file")]
    pub ca: Option<PathBuf>,
    /// Look for HOST/*.crt, *.cert and *.key here [default: /etc/containers/certs.d and /etc/docker/certs.d]
    #[arg(long, value_name = "dir")]
    pub cert_dir: Option<PathBuf>,
    /// Credentials [default: $REGISTRY_AUTH_FILE, Docker's config.json, then containers' auth.json]
    #[arg(long, value_name = "file")]
    pub authfile: Option<PathBuf>,
    /// Ask this mirror first (may be given several times)
    #[arg(long, value_name = "url")]
    pub mirror: Vec<String>,
    /// Mirrors by registry [default: /etc/creel/registries.json]
    #[arg(long, value_name = "file")]
    pub registries: Option<PathBuf>,
}

impl From<RegistryArgs> for Options {
    fn from(args: RegistryArgs) -> Self {
        Options {
            plain_http: args.plain_http,
            insecure: args.insecure,
            ca: args.ca,
            cert_dir: args.cert_dir,
            auth_file: args.authfile,
            mirrors: args.mirror,
            registries_file: args.registries,
        }
    }
}
