//! `-info`: what this runtime is, for containerd's introspection (since 2.0).

use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{Message, MessageField};
use containerd_shim_protos::types::introspection::{RuntimeInfo, RuntimeVersion};

use crate::RUNTIME;
use crate::events::encode;
use crate::options::Options;

/// The answer to the options that containerd has given on stdin, perhaps none.
///
/// # Errors
/// If they cannot be read.
pub fn info(input: &[u8]) -> Result<Vec<u8>, String> {
    let options = Any::parse_from_bytes(input).map_err(|error| format!("runtime options: {error}"))?;
    let options = Some(options).filter(|options| !options.type_url.is_empty());
    Options::from_any(options.as_ref()).map_err(|status| status.message)?;
    let version = RuntimeVersion { version: env!("CARGO_PKG_VERSION").to_owned(), ..RuntimeVersion::default() };
    Ok(encode(&RuntimeInfo {
        name: RUNTIME.to_owned(),
        version: MessageField::some(version),
        options: options.into(),
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
}
