//! Public keys in PEM form, as `cosign generate-key-pair` and openssl write them.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm,
};

use crate::error::{Error, Result, SysContext};

/// A public key.
pub struct Key(UnparsedPublicKey<Vec<u8>>);

type Known = (&'static [u8], usize, &'static dyn VerificationAlgorithm);

/// SubjectPublicKeyInfo (RFC 5280) up to the key itself, and the key's length: both are fixed for these kinds.
const KINDS: [Known; 3] = [
    (
        b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00",
        65,
        &ECDSA_P256_SHA256_ASN1,
    ),
    (
        b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00",
        97,
        &ECDSA_P384_SHA256_ASN1,
    ),
    (b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", 32, &ED25519),
];

impl Key {
    /// Reads a key.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).sys("open", path.display())?;
        Self::parse(&text).map_err(|error| error.within(path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let begin = text.split_once("-----BEGIN PUBLIC KEY-----").map(|(_, rest)| rest);
        let body = begin.and_then(|rest| rest.split_once("-----END PUBLIC KEY-----")).map(|(body, _)| body);
        let body: String = body.unwrap_or_default().split_whitespace().collect();
        let der = STANDARD.decode(body).ok().filter(|der| !der.is_empty());
        let der =
            der.ok_or_else(|| Error::invalid("public key", "must be in PEM form, between BEGIN and END PUBLIC KEY"))?;
        for (prefix, length, algorithm) in KINDS {
            if let Some(key) = der.strip_prefix(prefix).filter(|key| key.len() == length) {
                return Ok(Key(UnparsedPublicKey::new(algorithm, key.to_vec())));
            }
        }
        Err(Error::unsupported("public key: only ECDSA on P-256 or P-384, and Ed25519, are known here"))
    }

    /// Whether `signature` is this key's for `message`.
    pub fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify(message, signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_refused() {
        let rsa = STANDARD.encode([0x30; 200]);
        let rsa = format!("-----BEGIN PUBLIC KEY-----\n{rsa}\n-----END PUBLIC KEY-----\n");
        for text in ["", "-----BEGIN PUBLIC KEY-----", "-----BEGIN PUBLIC KEY-----?-----END PUBLIC KEY-----", &rsa] {
            assert!(Key::parse(text).is_err(), "{text}");
        }
    }
}
