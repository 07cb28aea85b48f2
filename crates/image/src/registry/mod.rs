//! Registries (OCI distribution-spec): manifests and blobs by name, from mirrors first, with retries.

mod auth;
pub mod challenge;
pub mod credentials;
mod download;
mod endpoint;
mod failure;
mod http;
mod mirrors;
mod tls;

use std::path::PathBuf;

use ureq::http::header;

pub use download::Download;

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::manifest::{Descriptor, MediaType};
use crate::reference::Reference;
use endpoint::Endpoint;
use failure::{Failure, retry};

/// How registries are reached, as the user says.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Speak plain HTTP.
    pub plain_http: bool,
    /// Believe any certificate.
    pub insecure: bool,
    /// A file with authorities to trust, beside the system's.
    pub ca: Option<PathBuf>,
    /// A directory of directories with certificates, in place of /etc/containers/certs.d and /etc/docker/certs.d.
    pub cert_dir: Option<PathBuf>,
    /// A file with credentials, in place of the usual ones.
    pub auth_file: Option<PathBuf>,
    /// URLs to ask first.
    pub mirrors: Vec<String>,
    /// A file that names mirrors for registries, in place of the usual one.
    pub registries_file: Option<PathBuf>,
}

/// A repository: its registry, and mirrors that are asked first.
#[derive(Debug)]
pub struct Registry {
    endpoints: Vec<Endpoint>,
    options: Options,
}

/// A manifest or an index, as it came.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// What it is, by the registry's word and its own bytes' digest.
    pub descriptor: Descriptor,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Registry {
    /// Reaches nobody yet, except to find out whether a registry on loopback speaks TLS.
    pub fn new(reference: &Reference, options: &Options) -> Result<Self> {
        let mut urls = options.mirrors.clone();
        urls.extend(mirrors::configured(options.registries_file.as_deref(), reference.registry())?);
        let mut endpoints = Vec::new();
        for url in urls {
            endpoints.push(Endpoint::mirror(&url, reference, options)?);
        }
        endpoints.push(Endpoint::origin(reference.registry(), Some(reference.repository()), options)?);
        Ok(Registry { endpoints, options: options.clone() })
    }

    /// For content that lies elsewhere: without credentials.
    fn anywhere(&self) -> Result<http::Http> {
        let tls = tls::config(None, self.options.insecure, self.options.ca.as_deref(), None)?;
        Ok(http::Http::new(tls, false))
    }

    /// Proves that the credentials for `registry` are good.
    pub fn check_login(registry: &str, login: credentials::Credentials, options: &Options) -> Result<()> {
        let endpoint = Endpoint::with_credentials(registry, None, options, Some(login))?;
        retry(|| endpoint.get("", &[])).map(drop).map_err(|failure| failure.error)
    }

    /// Fetches what `wanted` (a tag or a digest) names.
    pub fn manifest(&self, wanted: &str) -> Result<Fetched> {
        let expected: Option<Digest> = wanted.parse().ok();
        self.first(|endpoint| fetch_manifest(endpoint, wanted, expected.as_ref()))
    }

    /// Fetches a small blob, and verifies it.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.first(|endpoint| {
            let path = format!("blobs/{}", descriptor.digest);
            let bytes = http::document(endpoint.get(&path, &[])?, &endpoint.url(&path))?;
            descriptor.digest.check(&bytes)?;
            Ok(bytes)
        })
    }

    /// Asks one after the other; the registry itself, which is the last, has the last word.
    fn first<T>(&self, mut ask: impl FnMut(&Endpoint) -> Result<T, Failure>) -> Result<T> {
        let mut mirrors = Vec::new();
        for endpoint in &self.endpoints {
            match retry(|| ask(endpoint)) {
                Ok(value) => return Ok(value),
                Err(failure) => mirrors.push(failure.error),
            }
        }
        let last = mirrors.pop().unwrap_or_else(|| Error::new(Kind::NotFound, "no registry"));
        Err(mirrors.into_iter().rev().fold(last, |error, mirror| error.within(format!("mirror: {mirror}; registry"))))
    }
}

fn fetch_manifest(endpoint: &Endpoint, wanted: &str, expected: Option<&Digest>) -> Result<Fetched, Failure> {
    let accepted = MediaType::accepted();
    let path = format!("manifests/{wanted}");
    let answer = endpoint.get(&path, &[(header::ACCEPT, &accepted)])?;
    let media_type = http::text(&answer, header::CONTENT_TYPE).unwrap_or_default().into();
    let announced = answer.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
    let announced: Option<Digest> = announced.and_then(|text| text.parse().ok());
    let url = endpoint.url(&path);
    let bytes = http::document(answer, &url)?;
    for digest in [expected, announced.as_ref()].into_iter().flatten() {
        digest.check(&bytes).map_err(|error| error.within(&url))?;
    }
    let digest = expected.cloned().unwrap_or_else(|| Digest::of(&bytes));
    Ok(Fetched { descriptor: Descriptor::new(media_type, digest, bytes.len() as u64), bytes })
}
