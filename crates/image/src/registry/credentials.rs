//! Credentials as Docker, podman and skopeo keep them: auths, credential helpers, and where the file is.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result, SysContext};
use crate::reference::DEFAULT_REGISTRY;

/// The key that Docker files Docker Hub's credentials under.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// What to show to a registry. `Debug` does not show the secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// User and password.
    Password(String, String),
    /// An OAuth2 refresh token.
    IdentityToken(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl Credentials {
    /// The value of `Authorization` that has user and password.
    pub fn basic(&self) -> Option<String> {
        match self {
            Credentials::Password(user, password) => {
                Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            Credentials::IdentityToken(_) => None,
        }
    }
}

/// Docker's config.json, or containers' auth.json: what is read of it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AuthFile {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// What a credential helper says and is told.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperEntry {
    #[serde(default, rename = "ServerURL")]
    server_url: String,
    username: String,
    secret: String,
}

/// The files that may have credentials, in the order in which they are asked.
pub fn files(named: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = named {
        return vec![path.to_owned()];
    }
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = of("REGISTRY_AUTH_FILE") {
        return vec![path];
    }
    let docker = of("DOCKER_CONFIG").or_else(|| of("HOME").map(|home| home.join(".docker")));
    let containers = of("XDG_RUNTIME_DIR").map(|directory| directory.join("containers/auth.json"));
    docker.map(|directory| directory.join("config.json")).into_iter().chain(containers).collect()
}

/// The credentials for `repository` of `registry`, if any file has them.
pub fn find(named: Option<&Path>, registry: &str, repository: &str) -> Result<Option<Credentials>> {
    for path in files(named) {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => continue,
            Err(error) => return Err(error).sys("open", path.display()),
        };
        let file: AuthFile = serde_json::from_slice(&bytes)
            .map_err(|error| Error::invalid(path.display(), error).remedy("repair the file, or log in again"))?;
        if let Some(found) = file.find(registry, repository).map_err(|error| error.within(path.display()))? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

impl AuthFile {
    fn find(&self, registry: &str, repository: &str) -> Result<Option<Credentials>> {
        if let Some(helper) = self.cred_helpers.get(registry).or(self.creds_store.as_ref())
            && let Some(found) = ask_helper(helper, key_of(registry))?
        {
            return Ok(Some(found));
        }
        // containers' auth.json may have keys for parts of a registry; the longest that fits counts.
        let mut scope = format!("{registry}/{repository}");
        loop {
            let entry = self.auths.iter().find(|(key, _)| normal(key) == scope);
            if let Some((key, entry)) = entry {
                return entry.credentials().map_err(|error| error.within(format!("auths[{key:?}]")));
            }
            match scope.rfind('/') {
                Some(end) => scope.truncate(end),
                None => return Ok(None),
            }
        }
    }
}

impl Entry {
    fn credentials(&self) -> Result<Option<Credentials>> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credentials::IdentityToken(self.identitytoken.clone())));
        }
        if self.auth.is_empty() {
            let named = !self.username.is_empty();
            return Ok(named.then(|| Credentials::Password(self.username.clone(), self.password.clone())));
        }
        let wrong = || Error::new(Kind::Invalid, "auth: must be user:password in base64");
        let decoded = STANDARD.decode(self.auth.trim()).map_err(|_| wrong())?;
        let text = String::from_utf8(decoded).map_err(|_| wrong())?;
        let (user, password) = text.split_once(':').ok_or_else(wrong)?;
        Ok(Some(Credentials::Password(user.to_owned(), password.trim_end_matches('\0').to_owned())))
    }
}

/// `https://host/v1/` and `host` are the same.
fn normal(key: &str) -> String {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    match key {
        "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY.to_owned(),
        other => other.to_owned(),
    }
}

fn key_of(registry: &str) -> &str {
    if registry == DEFAULT_REGISTRY { DOCKER_HUB_KEY } else { registry }
}

fn ask_helper(helper: &str, server: &str) -> Result<Option<Credentials>> {
    let output = run_helper(helper, "get", server.as_bytes())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(Error::new(Kind::Denied, format!("docker-credential-{helper} get: {}: {said}", output.status)));
    }
    let entry: HelperEntry = serde_json::from_slice(&output.stdout)
        .map_err(|error| Error::corrupt(format!("docker-credential-{helper} get"), error))?;
    Ok(Some(match entry.username.as_str() {
        "<token>" => Credentials::IdentityToken(entry.secret),
        _ => Credentials::Password(entry.username, entry.secret),
    }))
}

fn run_helper(helper: &str, action: &str, input: &[u8]) -> Result<std::process::Output> {
    if helper.contains('/') {
        return Err(Error::invalid(format!("credential helper {helper:?}"), "must be a name, not a path"));
    }
    let program = format!("docker-credential-{helper}");
    let mut command = Command::new(&program);
    command.arg(action).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().sys("execve", &program)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input).sys("write", &program)?;
    }
    child.wait_with_output().sys("wait", &program)
}

/// Keeps user and password for `registry`: with the helper that the file names, else in the file. Says where.
pub fn store(named: Option<&Path>, registry: &str, user: &str, password: &str) -> Result<String> {
    let path = files(named).into_iter().next().ok_or_else(|| {
        Error::new(Kind::NotFound, "no place for credentials: HOME is not set").remedy("name a file with --authfile")
    })?;
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => b"{}".to_vec(),
        Err(error) => return Err(error).sys("open", path.display()),
    };
    let known: AuthFile = serde_json::from_slice(&bytes).map_err(|error| Error::invalid(path.display(), error))?;
    if let Some(helper) = known.cred_helpers.get(registry).or(known.creds_store.as_ref()) {
        let (username, secret) = (user.to_owned(), password.to_owned());
        let entry = HelperEntry { server_url: key_of(registry).to_owned(), username, secret };
        let input = serde_json::to_vec(&entry).map_err(|error| Error::new(Kind::System, error.to_string()))?;
        let output = run_helper(helper, "store", &input)?;
        if !output.status.success() {
            return Err(Error::new(Kind::Denied, format!("docker-credential-{helper} store: {}", output.status)));
        }
        return Ok(format!("docker-credential-{helper}"));
    }
    // Everything else in the file stays as it is.
    let mut whole: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| Error::invalid(path.display(), error))?;
    whole["auths"][key_of(registry)] = serde_json::json!({ "auth": STANDARD.encode(format!("{user}:{password}")) });
    let text = serde_json::to_vec_pretty(&whole).map_err(|error| Error::new(Kind::System, error.to_string()))?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).sys("mkdir", folder.display())?;
    }
    crate::store::replace_file(&path, &text)?;
    Ok(path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str, registry: &str, repository: &str) -> Option<Credentials> {
        serde_json::from_str::<AuthFile>(text).expect("file").find(registry, repository).expect("found or not")
    }

    #[test]
    fn every_spelling_of_a_registry_is_found() {
        let auth = STANDARD.encode("u:p:q");
        let expected = Some(Credentials::Password("u".into(), "p:q".into()));
        for key in ["https://index.docker.io/v1/", "docker.io", "index.docker.io"] {
            let text = format!(r#"{{"auths":{{"{key}":{{"auth":"{auth}"}}}}}}"#);
            assert_eq!(find(&text, "docker.io", "library/a"), expected, "{key}");
            assert_eq!(find(&text, "evil.io", "docker.io/library/a"), None);
        }
    }

    #[test]
    fn the_longest_scope_counts() {
        let (a, b) = (STANDARD.encode("a:1"), STANDARD.encode("b:2"));
        let text = format!(r#"{{"auths":{{"q.io":{{"auth":"{a}"}},"q.io/team":{{"auth":"{b}"}}}}}}"#);
        assert_eq!(find(&text, "q.io", "team/x"), Some(Credentials::Password("b".into(), "2".into())));
        assert_eq!(find(&text, "q.io", "teams/x"), Some(Credentials::Password("a".into(), "1".into())));
    }

    #[test]
    fn what_cannot_be_read_names_its_place() {
        let file: AuthFile = serde_json::from_str(r#"{"auths":{"q.io":{"auth":"?"}}}"#).expect("file");
        assert!(file.find("q.io", "x").is_err_and(|error| error.to_string().contains("q.io")));
    }
}
