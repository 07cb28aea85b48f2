//! How containerd talks to a shim that it starts: three ways, by its version.
//!
//! | containerd | on stdin | the answer |
//! |---|---|---|
//! | up to 1.6 | options, as an Any | the address |
//! | 1.7 to 2.2 | options, as an Any | the address, the protocol and the API's version as JSON |
//! | from 2.3 on | bootstrap parameters, the options among them | the same as a protobuf message |

use std::path::PathBuf;

use containerd_shim_protos::bootstrap_api::{BootstrapParams, BootstrapResult};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use serde::Serialize;

use crate::args::Args;
use crate::events;

/// Where sockets are, unless the bootstrap parameters say otherwise; below /run, whatever containerd's own state is,
/// since a socket's path has to be short.
const SOCKETS: &str = "/run/containerd/s";
const PROTOCOL: &str = "ttrpc";
/// Set by containerd from 1.7 on, and 2 ever since.
const VERSION_VARIABLE: &str = "MAX_SHIM_VERSION";
/// The task API that an answer promises. 1.7 refuses more than 2, and 2.0 to 2.2 speak both.
const JSON_VERSION: u32 = 2;
const PROTOBUF_VERSION: i32 = 3;

/// Who asks, and what for.
#[derive(Debug)]
pub enum Dialect {
    /// Up to 1.6.
    Address(Option<Any>),
    /// 1.7 to 2.2.
    Json(Option<Any>),
    /// From 2.3 on.
    Protobuf(Box<BootstrapParams>),
}

#[derive(Serialize)]
struct JsonAnswer<'a> {
    version: u32,
    address: &'a str,
    protocol: &'a str,
}

impl Dialect {
    /// Tells it by stdin and the environment.
    pub fn of(input: &[u8], args: &Args) -> Dialect {
        Dialect::tell(input, args, std::env::var_os(VERSION_VARIABLE).is_some())
    }

    /// Both messages begin with two texts, so either can be read as the other; but only bootstrap parameters repeat what
    /// the command line says.
    fn tell(input: &[u8], args: &Args, has_version: bool) -> Dialect {
        let params = BootstrapParams::parse_from_bytes(input).unwrap_or_default();
        if !args.id.is_empty() && params.instance_id == args.id && params.namespace == args.namespace {
            return Dialect::Protobuf(Box::new(params));
        }
        let options = Any::parse_from_bytes(input).ok().filter(|_| !input.is_empty());
        if has_version { Dialect::Json(options) } else { Dialect::Address(options) }
    }

    /// The runtime's options.
    pub fn options(&self) -> Option<Any> {
        match self {
            Dialect::Address(options) | Dialect::Json(options) => options.clone(),
            Dialect::Protobuf(params) => {
                let values = params.extensions.iter().filter_map(|extension| extension.value.as_ref());
                values.into_iter().find(|any| any.type_url.ends_with(".Options")).cloned()
            }
        }
    }

    /// containerd's gRPC socket.
    pub fn address<'a>(&'a self, args: &'a Args) -> &'a str {
        match self {
            Dialect::Protobuf(params) if !params.containerd_grpc_address.is_empty() => &params.containerd_grpc_address,
            _ => &args.address,
        }
    }

    /// containerd's ttrpc socket.
    pub fn events_address(&self) -> String {
        match self {
            Dialect::Protobuf(params) if !params.containerd_ttrpc_address.is_empty() => {
                params.containerd_ttrpc_address.clone()
            }
            _ => events::address_from_environment(),
        }
    }

    /// Where to make the socket.
    pub fn socket_directory(&self) -> PathBuf {
        let given = match self {
            Dialect::Protobuf(params) => params.socket_dir.as_deref().filter(|directory| !directory.is_empty()),
            _ => None,
        };
        PathBuf::from(given.unwrap_or(SOCKETS))
    }

    /// What to print.
    pub fn answer(&self, address: &str) -> Vec<u8> {
        match self {
            Dialect::Address(_) => address.as_bytes().to_vec(),
            Dialect::Json(_) => {
                let answer = JsonAnswer { version: JSON_VERSION, address, protocol: PROTOCOL };
                serde_json::to_vec(&answer).unwrap_or_default()
            }
            Dialect::Protobuf(_) => events::encode(&BootstrapResult {
                version: PROTOBUF_VERSION,
                address: address.to_owned(),
                protocol: PROTOCOL.to_owned(),
                ..BootstrapResult::default()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use containerd_shim_protos::bootstrap_api::Extension;
    use containerd_shim_protos::protobuf::MessageField;

    use super::*;

    const ADDRESS: &str = "unix:///run/containerd/s/abc";

    fn args() -> Args {
        Args { id: "c1".into(), namespace: "ns".into(), address: "/run/c.sock".into(), ..Args::default() }
    }

    fn any() -> Any {
        Any { type_url: "containerd.runc.v1.Options".into(), value: vec![8, 1], ..Any::default() }
    }

    #[test]
    fn up_to_1_6() {
        let dialect = Dialect::tell(&[], &args(), false);
        assert_eq!(dialect.answer(ADDRESS), ADDRESS.as_bytes());
        assert_eq!((dialect.options(), dialect.address(&args())), (None, "/run/c.sock"));
        let dialect = Dialect::tell(&any().write_to_bytes().expect("bytes"), &args(), false);
        assert_eq!(dialect.options(), Some(any()));
    }

    #[test]
    fn from_1_7_to_2_2() {
        let dialect = Dialect::tell(&any().write_to_bytes().expect("bytes"), &args(), true);
        let expected = format!(r#"{{"version":2,"address":"{ADDRESS}","protocol":"ttrpc"}}"#);
        assert_eq!(String::from_utf8(dialect.answer(ADDRESS)).expect("text"), expected);
        assert_eq!(dialect.options(), Some(any()));
        assert_eq!(dialect.socket_directory(), PathBuf::from(SOCKETS));
    }

    #[test]
    fn from_2_3_on() {
        let extension = Extension { value: MessageField::some(any()), ..Extension::default() };
        let mut params = BootstrapParams {
            instance_id: "c1".into(),
            namespace: "ns".into(),
            containerd_ttrpc_address: "/t".into(),
            containerd_grpc_address: "/g".into(),
            extensions: vec![extension],
            socket_dir: Some("/s".into()),
            ..BootstrapParams::default()
        };
        let dialect = Dialect::tell(&params.write_to_bytes().expect("bytes"), &args(), true);
        assert_eq!((dialect.events_address().as_str(), dialect.address(&args())), ("/t", "/g"));
        assert_eq!((dialect.options(), dialect.socket_directory()), (Some(any()), PathBuf::from("/s")));
        let answer = BootstrapResult::parse_from_bytes(&dialect.answer(ADDRESS)).expect("a message");
        assert_eq!((answer.version, answer.address.as_str(), answer.protocol.as_str()), (3, ADDRESS, "ttrpc"));
        // For another container: not bootstrap parameters, whatever it looks like.
        params.instance_id = "c2".into();
        let dialect = Dialect::tell(&params.write_to_bytes().expect("bytes"), &args(), true);
        assert!(matches!(dialect, Dialect::Json(_)));
    }
}
