//! One registry or mirror: where it is, how it is spoken to, and what it is shown.

use super::auth::Auth;
use super::credentials::{self, Credentials};
use super::failure::Failure;
use super::http::{self, Answer, Header, Http};
use super::{Options, tls};
use crate::error::{Error, Kind, Result};
use crate::reference::{DEFAULT_REGISTRY, Reference};

const DOCKER_HUB: &str = "registry-1.docker.io";

/// A registry, or a repository in it.
#[derive(Debug)]
pub struct Endpoint {
    /// `https://host:port/v2/` and the repository, with a slash at its end.
    base: String,
    /// For a mirror that serves several registries (`ns`, as containerd's mirrors know it).
    query: String,
    http: Http,
    auth: Auth,
}

impl Endpoint {
    /// The registry that a name names.
    pub fn origin(registry: &str, repository: Option<&str>, options: &Options) -> Result<Self> {
        let credentials = credentials::find(options.auth_file.as_deref(), registry, repository.unwrap_or_default())?;
        Self::with_credentials(registry, repository, options, credentials)
    }

    /// The registry, with credentials that are given.
    pub fn with_credentials(
        registry: &str,
        repository: Option<&str>,
        options: &Options,
        credentials: Option<Credentials>,
    ) -> Result<Self> {
        let host = if registry == DEFAULT_REGISTRY { DOCKER_HUB } else { registry };
        let http = http_for(registry, options)?;
        let secure = !options.plain_http && !speaks_plain(host, &http);
        let scheme = if secure { "https" } else { "http" };
        let base = base(&format!("{scheme}://{host}"), repository);
        Ok(Endpoint { base, query: String::new(), http, auth: Auth::new(registry, secure, repository, credentials) })
    }

    /// A mirror, by its URL.
    pub fn mirror(url: &str, reference: &Reference, options: &Options) -> Result<Self> {
        let Some((scheme @ ("http" | "https"), rest)) = url.split_once("://") else {
            return Err(Error::invalid(format!("mirror {url:?}"), "must be a URL, such as https://mirror.example"));
        };
        let host = rest.split('/').next().unwrap_or_default();
        let repository = Some(reference.repository());
        let credentials = credentials::find(options.auth_file.as_deref(), host, reference.repository())?;
        let auth = Auth::new(host, scheme == "https", repository, credentials);
        let base = base(url.trim_end_matches('/').trim_end_matches("/v2"), repository);
        Ok(Endpoint { base, query: format!("?ns={}", reference.registry()), http: http_for(host, options)?, auth })
    }

    /// The URL of `path` within the repository.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}{}", self.base, self.query)
    }

    /// Whether it is spoken to in TLS.
    pub fn is_secure(&self) -> bool {
        self.base.starts_with("https://")
    }

    /// GET of `path` within the repository; an answer that tells an error is a failure.
    pub fn get(&self, path: &str, headers: &[Header]) -> Result<Answer, Failure> {
        let url = self.url(path);
        let shown = self.auth.header();
        let mut answer = self.http.get(&url, shown.as_deref(), headers)?;
        if answer.status().as_u16() == 401 {
            self.auth.answer(&self.http, &answer, shown.as_deref())?;
            answer = self.http.get(&url, self.auth.header().as_deref(), headers)?;
        }
        match answer.status().as_u16() {
            200 | 206 => Ok(answer),
            401 => Err(self.auth.refused().into()),
            _ => Err(http::refused(answer, &url)),
        }
    }
}

fn base(server: &str, repository: Option<&str>) -> String {
    match repository {
        Some(repository) => format!("{server}/v2/{repository}/"),
        None => format!("{server}/v2/"),
    }
}

fn http_for(host: &str, options: &Options) -> Result<Http> {
    // Also where plain HTTP is spoken: a redirect may lead to TLS.
    let tls = tls::config(Some(host), options.insecure, options.ca.as_deref(), options.cert_dir.as_deref())?;
    Ok(Http::new(tls, is_loopback(host)))
}

/// Whether a registry on loopback answers a TLS greeting with something else: then it speaks plain HTTP.
fn speaks_plain(host: &str, http: &Http) -> bool {
    is_loopback(host)
        && http
            .get(&format!("https://{host}/v2/"), None, &[])
            .is_err_and(|failure| failure.error.kind() == Kind::Unsupported)
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_loopback() {
        for host in ["localhost", "localhost:5000", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.evil.io", "127.0.0.1.nip.io", "10.0.0.1:5000", "[::2]:1", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
