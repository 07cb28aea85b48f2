//! What the fuzz target of `fuzz/` calls: any bytes must be taken or refused, without a panic. Compiled for it and for
//! tests only; `cargo test` gives it its corpus.

#![allow(missing_docs)]

use containerd_shim_protos::api::{
    CloseIORequest, ConnectRequest, CreateTaskRequest, DeleteRequest, ExecProcessRequest, KillRequest, PidsRequest,
    ResizePtyRequest, StateRequest, StatsRequest, UpdateTaskRequest, WaitRequest,
};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::ttrpc::Request;
use libcontainer::spec::{Process, Resources, parse_json};

use crate::io::uri::Target;
use crate::mounts::plan::Plan;
use crate::options::Options;
use crate::ttrpc::frame::{FrameReader, LONGEST};

/// What comes over a connection, in pieces, as far as it decides anything: frames, requests, what is in them.
pub fn ttrpc(bytes: &[u8]) {
    let mut reader = FrameReader::default();
    // The first byte is the length of the pieces.
    let Some((length, stream)) = bytes.split_first() else { return };
    for piece in stream.chunks(usize::from(*length) + 1) {
        reader.push(piece);
        while let Some(frame) = reader.next() {
            let Some(message) = frame.message else { continue };
            assert!(message.len() <= LONGEST && message.len() <= stream.len());
            if let Ok(request) = Request::parse_from_bytes(&message) {
                read(&request);
            }
        }
    }
}

fn read(request: &Request) {
    let payload = &request.payload;
    match request.method.as_str() {
        "Create" => create(payload),
        "Exec" => {
            let Ok(request) = ExecProcessRequest::parse_from_bytes(payload) else { return };
            let _ = parse_json::<Process>(&request.spec.value);
        }
        "Update" => {
            let Ok(request) = UpdateTaskRequest::parse_from_bytes(payload) else { return };
            let _ = parse_json::<Resources>(&request.resources.value);
        }
        "State" => drop(StateRequest::parse_from_bytes(payload)),
        "Delete" => drop(DeleteRequest::parse_from_bytes(payload)),
        "Pids" => drop(PidsRequest::parse_from_bytes(payload)),
        "Kill" => drop(KillRequest::parse_from_bytes(payload)),
        "ResizePty" => drop(ResizePtyRequest::parse_from_bytes(payload)),
        "CloseIO" => drop(CloseIORequest::parse_from_bytes(payload)),
        "Wait" => drop(WaitRequest::parse_from_bytes(payload)),
        "Connect" => drop(ConnectRequest::parse_from_bytes(payload)),
        _ => drop(StatsRequest::parse_from_bytes(payload)),
    }
}

fn create(payload: &[u8]) {
    let Ok(request) = CreateTaskRequest::parse_from_bytes(payload) else { return };
    for mount in &request.rootfs {
        let _ = Plan::of(mount);
    }
    for stream in [&request.stdin, &request.stdout, &request.stderr] {
        let _ = Target::parse(stream);
    }
    let _ = Options::read(request.options.as_ref(), |_| Ok(Vec::new()));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_corpus_is_taken() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/ttrpc");
        let inputs = std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
        assert!(inputs.map(|input| ttrpc(&std::fs::read(input.expect("entry").path()).expect("read"))).count() > 0);
    }
}
