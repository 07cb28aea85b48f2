//! Whom to trust: the system's authorities, those of a registry's own directory, and a client's own certificate.

use std::path::{Path, PathBuf};

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::error::{Error, Kind, Result, SysContext};

/// Where Docker and containers keep certificates, a directory for each registry.
const FOLDERS: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

/// The configuration for `registry` (host or host:port); without one, only authorities count.
pub fn config(registry: Option<&str>, insecure: bool, ca: Option<&Path>, folder: Option<&Path>) -> Result<TlsConfig> {
    if insecure {
        return Ok(TlsConfig::builder().disable_verification(true).build());
    }
    let mut roots = system_roots()?;
    if let Some(path) = ca {
        roots.extend(certificates(path)?);
    }
    let mut client = None;
    let folders: Vec<PathBuf> = match folder {
        Some(folder) => vec![folder.to_owned()],
        None => FOLDERS.iter().map(PathBuf::from).collect(),
    };
    for folder in registry.iter().flat_map(|registry| folders.iter().map(move |folder| folder.join(registry))) {
        for path in entries(&folder)? {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => roots.extend(certificates(&path)?),
                Some("cert") => client = Some(ClientCert::new_with_certs(&certificates(&path)?, key(&path)?)),
                _ => {}
            }
        }
    }
    let roots = RootCerts::new_with_certs(&roots);
    Ok(TlsConfig::builder().root_certs(roots).client_cert(client).build())
}

fn system_roots() -> Result<Vec<Certificate<'static>>> {
    let found = rustls_native_certs::load_native_certs();
    // Some files may be unreadable; that none is readable is only an error if one is needed.
    Ok(found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => {
            let paths: std::io::Result<Vec<_>> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
            paths.sys("readdir", folder.display())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).sys("opendir", folder.display()),
    }
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let text = std::fs::read(path).sys("open", path.display())?;
    let mut found = Vec::new();
    for item in parse_pem(&text) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(Error::invalid(path.display(), error)),
        }
    }
    if found.is_empty() {
        return Err(Error::invalid(path.display(), "has no certificate in PEM form"));
    }
    Ok(found)
}

/// The key of `NAME.cert` is `NAME.key`.
fn key(certificate: &Path) -> Result<PrivateKey<'static>> {
    let path = certificate.with_extension("key");
    let text = std::fs::read(&path).sys("open", path.display()).map_err(|error| match error.kind() {
        Kind::NotFound => error.cause(format!("{} needs it", certificate.display())),
        _ => error,
    })?;
    PrivateKey::from_pem(&text).map_err(|error| Error::invalid(path.display(), error))
}
