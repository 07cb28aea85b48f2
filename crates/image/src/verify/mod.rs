//! Signatures by a key, as cosign makes them: a manifest under the tag `sha256-HEX.sig`, whose layers are payloads that name
//! the signed digest, and whose annotations have the signatures.

mod key;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

pub use key::Key;

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::manifest::{Descriptor, Document};
use crate::reference::Reference;
use crate::registry::Registry;
use crate::store::Image;

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const TYPE: &str = "cosign container image signature";

/// What is not looked at; whoever shows a result says so.
pub const NOT_CHECKED: &str = "not checked: the transparency log, certificates of keyless signatures, when it was signed, \
                               and signatures that are kept as referrers";

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Signed,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Signed {
    docker_manifest_digest: Digest,
}

/// Finds a signature by `key` for the image, or for the index that it was selected from; tells the digest that is signed.
///
/// # Errors
/// If there is none; the error says what there is instead.
pub fn verify(registry: &Registry, reference: &Reference, image: &Image, key: &Key) -> Result<Digest> {
    let index = image.index().and_then(|text| text.parse().ok());
    let digests: Vec<Digest> = [Some(image.descriptor.digest.clone()), index].into_iter().flatten().collect();
    let mut problems = Vec::new();
    for digest in &digests {
        let tag = format!("{}-{}.sig", digest.algorithm().name(), digest.hex());
        let fetched = match registry.manifest(&tag) {
            Ok(fetched) => fetched,
            Err(error) if error.kind() == Kind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let Document::Manifest(manifest) = Document::parse(&fetched.descriptor.media_type, &fetched.bytes)? else {
            return Err(Error::corrupt(tag, "is an index, and should be a signature"));
        };
        for layer in manifest.layers.iter().filter(|layer| layer.media_type.to_string() == PAYLOAD) {
            match check(registry, layer, digest, key) {
                Ok(()) => return Ok(digest.clone()),
                Err(error) if error.kind() == Kind::Denied || error.kind() == Kind::Corrupt => {
                    problems.push(error.to_string())
                }
                Err(error) => return Err(error),
            }
        }
    }
    let error = Error::new(Kind::Denied, format!("{reference}: no signature by this key"));
    Err(match problems.is_empty() {
        true => error.cause("the registry has none for it").remedy(NOT_CHECKED),
        false => error.cause(problems.join("; ")),
    })
}

/// One signature: the payload's bytes are signed, and name the digest.
fn check(registry: &Registry, layer: &Descriptor, digest: &Digest, key: &Key) -> Result<()> {
    let refused = |why: String| Error::new(Kind::Denied, format!("signature {}: {why}", layer.digest.short()));
    let signature = layer.annotations.get(SIGNATURE).and_then(|text| STANDARD.decode(text.trim()).ok());
    let signature = signature.ok_or_else(|| refused("it has no signature in base64".to_owned()))?;
    let bytes = registry.blob(layer)?;
    // Nothing of the payload is read before it is known to be signed.
    if !key.signed(&bytes, &signature) {
        return Err(refused("it is not by this key".to_owned()));
    }
    let payload: Payload = serde_json::from_slice(&bytes).map_err(|error| refused(error.to_string()))?;
    if payload.critical.kind != TYPE {
        return Err(refused(format!("it is a {:?}", payload.critical.kind)));
    }
    let signed = payload.critical.image.docker_manifest_digest;
    if signed == *digest { Ok(()) } else { Err(refused(format!("it is for {signed}"))) }
}
