//! Answering a registry's challenge: basic credentials, or a token for pulling one repository.

use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use super::challenge::{self, Challenge};
use super::credentials::Credentials;
use super::failure::Failure;
use super::http::{self, Answer, Http};
use crate::error::{Error, Kind, Result};

/// What is known of one registry's wishes; shared by the threads that download from it.
#[derive(Debug)]
pub struct Auth {
    registry: String,
    secure: bool,
    scope: String,
    credentials: Option<Credentials>,
    header: Mutex<Option<String>>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

impl Auth {
    /// Shows nothing until it is asked. `secure` says whether the registry is spoken to in TLS.
    pub fn new(registry: &str, secure: bool, repository: Option<&str>, credentials: Option<Credentials>) -> Self {
        let scope = repository.map(|repository| format!("repository:{repository}:pull")).unwrap_or_default();
        Auth { registry: registry.to_owned(), secure, scope, credentials, header: Mutex::new(None) }
    }

    /// The `Authorization` for the next request.
    pub fn header(&self) -> Option<String> {
        self.header.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes up the challenge of a 401 to a request that showed `shown`.
    pub fn answer(&self, http: &Http, refusal: &Answer, shown: Option<&str>) -> Result<(), Failure> {
        let mut header = self.header.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread has done it meanwhile.
        if header.as_deref() != shown {
            return Ok(());
        }
        let challenges = refusal.headers().get_all(ureq::http::header::WWW_AUTHENTICATE);
        let challenges: Vec<Challenge> =
            challenges.iter().filter_map(|value| value.to_str().ok()).flat_map(challenge::parse).collect();
        let of = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
        *header = Some(match (of("bearer"), of("basic")) {
            (Some(bearer), _) => format!("Bearer {}", self.token(http, bearer)?),
            (None, Some(_)) => self.basic()?,
            (None, None) => {
                let error = Error::new(Kind::Denied, format!("{}: 401 without a challenge known here", self.registry));
                return Err(error.cause("only Basic and Bearer are").into());
            }
        });
        Ok(())
    }

    fn basic(&self) -> Result<String> {
        match self.credentials.as_ref().and_then(Credentials::basic) {
            Some(header) => Ok(header),
            None => Err(self.denied("the registry wants user and password, and there are none for it")),
        }
    }

    /// The error for credentials that are missing or wrong.
    pub fn denied(&self, why: &str) -> Error {
        Error::new(Kind::Denied, format!("{}: {why}", self.registry))
            .remedy(format!("give them with: creel-image login {}", self.registry))
    }

    /// The error for a registry that is not content with what it was shown.
    pub fn refused(&self) -> Error {
        match self.credentials {
            Some(_) => self.denied("the credentials were refused"),
            None => self.denied("there is no such repository, or it wants credentials"),
        }
    }

    fn token(&self, http: &Http, challenge: &Challenge) -> Result<String, Failure> {
        let parameter = |name: &str| challenge.parameters.get(name).map(String::as_str).unwrap_or_default();
        let realm = parameter("realm");
        if self.secure && !realm.starts_with("https://") {
            let error = Error::new(Kind::Denied, format!("{}: the token server {realm:?} is not https", self.registry));
            return Err(error.cause("credentials would go there in the open").into());
        }
        let scope = if parameter("scope").is_empty() { self.scope.as_str() } else { parameter("scope") };
        let answer = match &self.credentials {
            Some(Credentials::IdentityToken(token)) => http.post_form(
                realm,
                &[
                    ("grant_type", "refresh_token"),
                    ("service", parameter("service")),
                    ("client_id", "creel-image"),
                    ("scope", scope),
                    ("refresh_token", token),
                ],
            )?,
            credentials => {
                let separator = if realm.contains('?') { '&' } else { '?' };
                let mut url = format!("{realm}{separator}service={}", encoded(parameter("service")));
                for part in scope.split(' ').filter(|part| !part.is_empty()) {
                    url.push_str(&format!("&scope={}", encoded(part)));
                }
                http.get(&url, credentials.as_ref().and_then(Credentials::basic).as_deref(), &[])?
            }
        };
        if matches!(answer.status().as_u16(), 401 | 403) {
            let refused = http::refused(answer, realm).error;
            let why =
                if self.credentials.is_some() { "the credentials were refused" } else { "credentials are needed" };
            return Err(self.denied(why).cause(refused.to_string()).into());
        }
        if !answer.status().is_success() {
            return Err(http::refused(answer, realm));
        }
        let bytes = http::document(answer, realm)?;
        let answer: TokenAnswer = serde_json::from_slice(&bytes).map_err(|error| Error::corrupt(realm, error))?;
        let token = if answer.token.is_empty() { answer.access_token } else { answer.token };
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::corrupt(realm, "the answer has no token").into());
        }
        Ok(token)
    }
}

/// Percent-encodes all but unreserved characters.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => out.push(byte.into()),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}
