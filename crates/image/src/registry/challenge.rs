//! `WWW-Authenticate`: what a registry asks for (RFC 9110, section 11).

use std::collections::BTreeMap;

const MAX_LENGTH: usize = 8 * 1024;

/// One challenge: a scheme in lower case, and its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// `basic` or `bearer`, or one that is not known here.
    pub scheme: String,
    /// realm, service, scope; names in lower case.
    pub parameters: BTreeMap<String, String>,
}

/// The challenges of one header. What cannot be read ends the list; nothing here fails.
pub fn parse(header: &str) -> Vec<Challenge> {
    let mut rest = Cursor(&header[..header.floor_char_boundary(MAX_LENGTH)]);
    let mut challenges: Vec<Challenge> = Vec::new();
    loop {
        rest.skip(|c| c == ',' || c.is_ascii_whitespace());
        let token = rest.take(is_token).to_ascii_lowercase();
        if token.is_empty() {
            return challenges;
        }
        rest.skip(|c| c.is_ascii_whitespace());
        if !rest.0.starts_with('=') {
            challenges.push(Challenge { scheme: token, parameters: BTreeMap::new() });
            continue;
        }
        rest.0 = &rest.0[1..];
        rest.skip(|c| c.is_ascii_whitespace());
        let Some(value) = rest.value() else { return challenges };
        let Some(challenge) = challenges.last_mut() else { return challenges };
        challenge.parameters.entry(token).or_insert(value);
    }
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn take(&mut self, accepted: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !accepted(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn skip(&mut self, skipped: impl Fn(char) -> bool) {
        self.take(skipped);
    }

    /// A token, or a quoted string; nothing if the quote does not end.
    fn value(&mut self) -> Option<String> {
        let Some(quoted) = self.0.strip_prefix('"') else { return Some(self.take(is_token).to_owned()) };
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        while let Some((position, character)) = characters.next() {
            match character {
                '"' => {
                    self.0 = &quoted[position + 1..];
                    return Some(value);
                }
                '\\' => value.push(characters.next()?.1),
                other => value.push(other),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_registries_send_is_understood() {
        let header = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push", Basic realm="x \"y\"""#;
        let challenges = parse(header);
        assert_eq!(challenges.iter().map(|c| c.scheme.as_str()).collect::<Vec<_>>(), ["bearer", "basic"]);
        assert_eq!(challenges[0].parameters["scope"], "repository:a/b:pull,push");
        assert_eq!(challenges[1].parameters["realm"], "x \"y\"");
        assert_eq!(parse("BASIC")[0].scheme, "basic");
    }

    #[test]
    fn nonsense_gives_what_could_be_read_and_no_panic() {
        for header in ["", ",,,", "=", "Bearer realm=\"", "Bearer realm=\"\\", "é é=é", "a=b", &"Bearer ".repeat(9999)]
        {
            assert!(parse(header).iter().all(|challenge| challenge.parameters.is_empty()), "{header}");
        }
    }

    #[test]
    fn damaged_challenges_do_no_harm() {
        let whole =
            r#"Bearer realm="https://a.io/token",service="r",scope="repository:a:pull" , Basic realm="x \"y\"""#;
        let mut random = crate::testing::Random::new();
        for _ in 0..20_000 {
            let mut bytes = whole.as_bytes().to_vec();
            random.damage(&mut bytes);
            let header = String::from_utf8_lossy(&bytes);
            for challenge in parse(&header) {
                assert!(!challenge.scheme.is_empty() && challenge.scheme.len() <= header.len());
            }
        }
    }
}
