//! Requests to one origin: redirects that never carry credentials elsewhere, and errors that say who failed.

use std::io::Read;
use std::time::Duration;

use ureq::http::{HeaderName, Response, Uri, header};
use ureq::tls::TlsConfig;
use ureq::{Agent, Body, Proxy};

use super::failure::{Again, Failure, retry_after};
use crate::error::{Error, Kind};
use crate::manifest::MAX_DOCUMENT;

const CONNECT: Duration = Duration::from_secs(20);
const FIRST_BYTE: Duration = Duration::from_secs(60);
/// A connection that has said nothing for so long is given up, and the download resumed.
const SILENCE: Duration = Duration::from_secs(30);
const REDIRECTS: usize = 8;
const MAX_ERROR_BODY: u64 = 64 * 1024;

/// What comes back.
pub type Answer = Response<Body>;
/// A header of a request.
pub type Header<'a> = (HeaderName, &'a str);

/// Connections with one configuration.
#[derive(Clone, Debug)]
pub struct Http {
    agent: Agent,
}

impl Http {
    /// Makes no connection yet.
    pub fn new(tls: TlsConfig, loopback: bool) -> Self {
        let builder = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(FIRST_BYTE))
            .timeout_per_read(Some(SILENCE))
            .user_agent(concat!("creel-image/", env!("CARGO_PKG_VERSION")));
        // A proxy from the environment cannot reach this machine's own loopback.
        let config = if loopback { builder.proxy(None) } else { builder.proxy(Proxy::try_from_env()) }.build();
        Http { agent: config.new_agent() }
    }

    /// GET, following redirects. `authorization` goes to the origin of `url` and nowhere else (CVE-2020-15157).
    pub fn get(&self, url: &str, authorization: Option<&str>, headers: &[Header]) -> Result<Answer, Failure> {
        let first = parse(url)?;
        let mut target = first.clone();
        for _ in 0..=REDIRECTS {
            let mut request = self.agent.get(&target);
            if let Some(value) = authorization.filter(|_| origin(&target) == origin(&first)) {
                request = request.header(header::AUTHORIZATION, value);
            }
            for (name, value) in headers {
                request = request.header(name, *value);
            }
            let answer = request.call().map_err(|error| unreachable(&target, error))?;
            // Another host's challenge must not draw out the credentials that are the first one's.
            if answer.status().as_u16() == 401 && origin(&target) != origin(&first) {
                return Err(refused(answer, &shown(&target)));
            }
            if !answer.status().is_redirection() {
                return Ok(answer);
            }
            target = redirected(&target, &answer)?;
        }
        Err(Error::new(Kind::Network, format!("{url}: more than {REDIRECTS} redirects, one after the other")).into())
    }

    /// POST of a form.
    pub fn post_form(&self, url: &str, form: &[(&str, &str)]) -> Result<Answer, Failure> {
        let target = parse(url)?;
        self.agent.post(&target).send_form(form.iter().copied()).map_err(|error| unreachable(&target, error))
    }
}

fn parse(url: &str) -> Result<Uri, Failure> {
    let parsed: Result<Uri, _> = url.parse();
    match parsed {
        Ok(uri) if uri.host().is_some() && matches!(uri.scheme_str(), Some("http" | "https")) => Ok(uri),
        _ => Err(Error::invalid(format!("URL {url:?}"), "must be http://… or https://…").into()),
    }
}

/// Scheme, host and port: what credentials are bound to.
fn origin(uri: &Uri) -> (bool, String, u16) {
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    (secure, uri.host().unwrap_or_default().to_ascii_lowercase(), port)
}

fn redirected(from: &Uri, answer: &Answer) -> Result<Uri, Failure> {
    let wrong = |why: &str| Error::new(Kind::Network, format!("{}: redirects to {why}", shown(from)));
    let location = text(answer, header::LOCATION).ok_or_else(|| wrong("no place"))?;
    let target = match location.starts_with('/') && !location.starts_with("//") {
        true => {
            let (scheme, authority) = (from.scheme_str().unwrap_or_default(), from.authority());
            format!("{scheme}://{}{location}", authority.map(|authority| authority.as_str()).unwrap_or_default())
        }
        false => location.to_owned(),
    };
    let target = parse(&target).map_err(|failure| failure.error.within(wrong("no URL")))?;
    if from.scheme_str() == Some("https") && target.scheme_str() != Some("https") {
        return Err(wrong("plain HTTP").cause("what was encrypted would go on in the open").into());
    }
    Ok(target)
}

/// A header's text, if there is such a header and it is text.
pub fn text(answer: &Answer, name: HeaderName) -> Option<&str> {
    answer.headers().get(name)?.to_str().ok()
}

/// The body of an answer that is a document of bounded length.
pub fn document(answer: Answer, url: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let mut reader = answer.into_body().into_reader().take(MAX_DOCUMENT + 1);
    reader.read_to_end(&mut bytes).map_err(|error| Failure::network(format!("{url}: {error}")))?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(
            Error::corrupt(url, format!("more than {MAX_DOCUMENT} bytes came, and no document is so long")).into()
        );
    }
    Ok(bytes)
}

/// The failure that an answer with an error's status is.
pub fn refused(answer: Answer, url: &str) -> Failure {
    let status = answer.status();
    let again = match status.as_u16() {
        408 | 429 | 500 | 502 | 503 | 504 => retry_after(text(&answer, header::RETRY_AFTER)),
        _ => Again::No,
    };
    let kind = match status.as_u16() {
        401 | 403 => Kind::Denied,
        404 => Kind::NotFound,
        _ => Kind::Network,
    };
    let mut body = Vec::new();
    // An error's explanation is welcome and not needed.
    let _ = answer.into_body().into_reader().take(MAX_ERROR_BODY).read_to_end(&mut body);
    let mut error = Error::new(kind, format!("{url}: {status}"));
    if let Some(said) = explanation(&body) {
        error = error.cause(format!("the registry says: {said}"));
    }
    if let Again::After(pause) = again
        && pause > super::failure::LONGEST_PAUSE
    {
        error = error.remedy(format!("it asks to come again in {} s", pause.as_secs()));
    }
    Failure { error, again }
}

/// What a registry says in its error: one line, without what could move a terminal's cursor.
fn explanation(body: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    let first = json.get("errors").and_then(|errors| errors.get(0)).unwrap_or(&json);
    let said = ["message", "code", "error_description", "details"].iter().find_map(|name| first.get(name)?.as_str())?;
    let said: String = said.chars().filter(|c| !c.is_control()).take(300).collect();
    (!said.is_empty()).then_some(said)
}

/// The URL without its query, which may have a signature in it.
fn shown(uri: &Uri) -> String {
    uri.to_string().split('?').next().unwrap_or_default().to_owned()
}

fn unreachable(uri: &Uri, error: ureq::Error) -> Failure {
    let host = uri.authority().map(|authority| authority.to_string()).unwrap_or_default();
    if let Some(tls) = tls_error(&error) {
        let error = Error::new(Kind::Network, format!("{}: TLS: {tls}", shown(uri)));
        return match tls {
            rustls::Error::InvalidCertificate(_) => error
                .of_kind(Kind::Denied)
                .remedy(format!("if its authority is your own, put it into /etc/containers/certs.d/{host}/ca.crt, or name it with --ca"))
                .into(),
            rustls::Error::InvalidMessage(_) => {
                error.of_kind(Kind::Unsupported).remedy("if it speaks plain HTTP, say --plain-http").into()
            }
            _ => Failure { error, again: Again::Soon },
        };
    }
    match error {
        ureq::Error::HostNotFound => {
            Failure { error: Error::new(Kind::Network, format!("{host}: there is no such host")), again: Again::Soon }
        }
        ureq::Error::Io(error) => Failure::network(format!("{}: {error}", shown(uri))),
        other => Failure::network(format!("{}: {other}", shown(uri))),
    }
}

fn tls_error(error: &ureq::Error) -> Option<&rustls::Error> {
    match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_bound_to_scheme_host_and_port() {
        let of = |url: &str| origin(&url.parse().expect("url"));
        assert_eq!(of("https://A.io/x"), of("https://a.io:443/y"));
        for other in ["http://a.io/", "https://a.io:444/", "https://b.a.io/", "https://a.io.evil/"] {
            assert_ne!(of("https://a.io/"), of(other));
        }
    }

    #[test]
    fn an_explanation_is_one_harmless_line() {
        let body = br#"{"errors":[{"code":"DENIED","message":"no\u001b[2J\nentry"}]}"#;
        assert_eq!(explanation(body).as_deref(), Some("no[2Jentry"));
        assert_eq!(explanation(b"<html>"), None);
    }
}
