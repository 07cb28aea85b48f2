//! `-info`: what this runtime is and can, for containerd's introspection (since 2.0). By the features the CRI plugin tells
//! kubelets whether a handler has recursive read-only mounts and user namespaces, and containerd itself refuses
//! a container whose volumes are to be idmapped where that would be ignored.

use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{Message, MessageField};
use containerd_shim_protos::types::introspection::{RuntimeInfo, RuntimeVersion};
use libcontainer::features::features;

use crate::RUNTIME;
use crate::events::encode;
use crate::options::Options;

/// The name of features.md's document in containerd's registry of types, whose values are JSON.
const FEATURES: &str = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The answer to the options that containerd has given on stdin, perhaps none.
///
/// # Errors
/// If they cannot be read.
pub fn info(input: &[u8]) -> Result<Vec<u8>, String> {
    let options = Any::parse_from_bytes(input).map_err(|error| format!("runtime options: {error}"))?;
    let options = Some(options).filter(|options| !options.type_url.is_empty());
    Options::from_any(options.as_ref()).map_err(|status| status.message)?;
    let version = RuntimeVersion { version: VERSION.to_owned(), ..RuntimeVersion::default() };
    let value = serde_json::to_vec(&features(VERSION, "")).map_err(|error| format!("features: {error}"))?;
    Ok(encode(&RuntimeInfo {
        name: RUNTIME.to_owned(),
        version: MessageField::some(version),
        options: options.into(),
        features: MessageField::some(Any { type_url: FEATURES.to_owned(), value, ..Any::default() }),
        ..RuntimeInfo::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_the_name_and_repeats_the_options() {
        let any = Any { type_url: "containerd.runc.v1.Options".into(), ..Any::default() };
        let answer = info(&any.write_to_bytes().expect("bytes")).expect("valid");
        let info = RuntimeInfo::parse_from_bytes(&answer).expect("a message");
        assert_eq!((info.name.as_str(), info.options.type_url.as_str()), (RUNTIME, "containerd.runc.v1.Options"));
        assert!(super::info(&[]).is_ok());
    }

    #[test]
    fn it_tells_the_features() {
        let info = RuntimeInfo::parse_from_bytes(&info(&[]).expect("valid")).expect("a message");
        assert_eq!(info.features.type_url, FEATURES);
        let features: serde_json::Value = serde_json::from_slice(&info.features.value).expect("JSON");
        // What the CRI plugin and containerd look at.
        let options = features["mountOptions"].as_array().expect("a list");
        assert!(options.iter().any(|option| option == "rro"), "{options:?}");
        let namespaces = features["linux"]["namespaces"].as_array().expect("a list");
        assert!(namespaces.iter().any(|namespace| namespace == "user"), "{namespaces:?}");
        assert!(features["linux"]["mountExtensions"]["idmap"]["enabled"].is_boolean(), "{features}");
    }
}
