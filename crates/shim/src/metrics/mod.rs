//! The library's statistics as containerd's messages: one type for v1 and one for v2, as its clients know them.

mod v1;
mod v2;

use containerd_shim_protos::protobuf::well_known_types::any::Any;
use libcontainer::cgroups::stats::Stats;

use crate::events::encode;

/// In the message of the version that governs this host.
pub fn message(stats: &Stats, unified: bool) -> Any {
    let (type_url, value) = match unified {
        true => ("io.containerd.cgroups.v2.Metrics", encode(&v2::metrics(stats))),
        false => ("io.containerd.cgroups.v1.Metrics", encode(&v1::metrics(stats))),
    };
    Any { type_url: type_url.to_owned(), value, ..Any::default() }
}
