//! The transport and the task API, against the ttrpc crate and against what no client would send.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use crate::common::{ID, Pod, code_of, eventually, soon, with_shim};
use containerd_shim_protos::api::{
    CheckpointTaskRequest, ConnectRequest, CreateTaskRequest, ExecProcessRequest, PidsRequest, StateRequest,
    StatsRequest, UpdateTaskRequest, WaitRequest,
};
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{Message, MessageField};
use containerd_shim_protos::ttrpc::{Code, Request};
use serde_json::{Value, json};

#[test]
fn a_containers_life_by_containerds_client() {
    with_shim("life", Path::new(""), |pod| {
        pod.fill_rootfs();
        assert_eq!(code_of(pod.state()), Code::NOT_FOUND);
        let pid = pod.create("exit 7", &[], "", "").expect("create");
        assert_eq!(code_of(pod.create("exit 8", &[], "", "")), Code::ALREADY_EXISTS);
        let state = pod.state().expect("state");
        assert_eq!((state.pid, state.status.value(), state.id.as_str()), (pid, 1, ID), "created");
        assert_eq!(code_of(pod.client.checkpoint(soon(), &CheckpointTaskRequest::new())), Code::UNIMPLEMENTED);
        assert_eq!(pod.start_task().expect("start"), pid);
        assert_eq!(pod.wait(), 7);
        let deleted = pod.delete().expect("delete");
        assert_eq!((deleted.pid, deleted.exit_status), (pid, 7));
        assert_eq!(code_of(pod.delete()), Code::NOT_FOUND);
    });
}

#[test]
fn calls_wait_for_a_container_that_is_being_made() {
    with_shim("creating", Path::new(""), |pod| {
        pod.fill_rootfs();
        let path = pod.bundle.join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("JSON");
        config["hooks"] = json!({"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "1"]}]});
        std::fs::write(&path, config.to_string()).expect("write");
        let create = CreateTaskRequest {
            id: ID.into(),
            bundle: pod.bundle.to_string_lossy().into_owned(),
            options: MessageField::some(pod.options.clone()),
            ..CreateTaskRequest::default()
        };
        // So long that, read as a text, it is none: what another field means differs from call to call.
        let limits = format!("{{\"pids\": {{\"limit\": 50}}}}{}", " ".repeat(300));
        let resources = Any { type_url: "LinuxResources".into(), value: limits.into_bytes(), ..Any::default() };
        let update = UpdateTaskRequest {
            id: ID.into(),
            resources: MessageField::some(resources),
            ..UpdateTaskRequest::default()
        };
        std::thread::scope(|scope| {
            let making = scope.spawn(|| pod.client.create(soon(), &create).expect("create").pid);
            std::thread::sleep(std::time::Duration::from_millis(300));
            assert!(!making.is_finished(), "its hook takes a second");
            pod.client.update(soon(), &update).expect("update");
            let pid = making.join().expect("create");
            assert_eq!(pod.state().expect("state").pid, pid);
        });
        pod.delete().expect("delete");
    });
}

#[test]
fn many_calls_on_one_connection_are_answered_each_with_its_own() {
    with_shim("many", Path::new(""), |pod| {
        pod.fill_rootfs();
        let pid = pod.create("while :; do :; done", &[], "", "").expect("create");
        let client = Arc::new(pod.client.clone());
        // One that is answered at the end, in front of all the others.
        let waiting = Arc::clone(&client);
        let wait =
            std::thread::spawn(move || waiting.wait(soon(), &WaitRequest { id: ID.into(), ..WaitRequest::default() }));
        pod.start_task().expect("start");
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let client = Arc::clone(&client);
                std::thread::spawn(move || {
                    for round in 0..50 {
                        let exists = (number + round) % 2 == 0;
                        let id = if exists { ID.to_owned() } else { format!("none-{number}-{round}") };
                        let found = client.state(soon(), &StateRequest { id, ..StateRequest::default() });
                        assert_eq!(found.map(|state| state.pid).ok(), exists.then_some(pid));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("each its own"));
        pod.kill().expect("kill");
        assert_eq!(wait.join().expect("thread").expect("wait").exit_status, 137);
    });
}

/// xorshift64*: the same mutations each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).expect("31 bits") % limit
    }
}

fn frame(stream: u32, kind: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    [&length[..], &stream.to_be_bytes()[..], &[kind, 0], message].concat()
}

/// Valid frames of most calls, and of none: there is no container that they could harm.
fn seeds() -> Vec<Vec<u8>> {
    let exec = ExecProcessRequest { id: ID.into(), exec_id: "e".into(), ..ExecProcessRequest::default() };
    let create = CreateTaskRequest { id: "d".into(), bundle: "/no/such/bundle".into(), ..CreateTaskRequest::default() };
    let bytes =
        |message: &dyn containerd_shim_protos::protobuf::MessageDyn| message.write_to_bytes_dyn().expect("bytes");
    let state = bytes(&StateRequest { id: ID.into(), ..StateRequest::default() });
    let calls = [
        ("State", state.clone()),
        ("Create", bytes(&create)),
        ("Exec", bytes(&exec)),
        ("Pids", bytes(&PidsRequest { id: ID.into(), ..PidsRequest::default() })),
        ("Stats", bytes(&StatsRequest { id: ID.into(), ..StatsRequest::default() })),
        ("Connect", bytes(&ConnectRequest::new())),
        ("Kill", state.clone()),
        ("Wait", state.clone()),
        ("Update", state),
        ("Nonsense", vec![255; 40]),
    ];
    let mut seeds = Vec::new();
    for (index, (method, payload)) in calls.into_iter().enumerate() {
        let mut request = Request::new();
        request.service = format!("containerd.task.v{}.Task", 2 + index % 2);
        request.method = method.to_owned();
        request.payload = payload;
        seeds.push(frame(2 * index as u32 + 1, 1, &request.write_to_bytes().expect("bytes")));
    }
    seeds
}

/// Bits, bytes, lengths, beginnings and joints are changed.
fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, 1, 127, 128, 255][random.below(5)],
            2 => bytes.truncate(at + 1),
            3 => bytes.extend_from_slice(&seeds[random.below(seeds.len())]),
            4 => drop(bytes.splice(at..at, std::iter::repeat_n(0xff, random.below(12)))),
            // Of the header: a length that may be far too long, another kind.
            _ => bytes[at.min(random.below(10))] = random.below(256) as u8,
        }
    }
    bytes
}

#[test]
fn mutated_frames_neither_end_nor_grow_nor_confuse_it() {
    with_shim("mutated", Path::new(""), |pod| {
        let seeds = seeds();
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut sizes = Vec::new();
        for round in 0..4 {
            for _ in 0..500 {
                let mut stream = pod.socket();
                // It may have hung up already; what it answers is read as far as it is there.
                let _ = stream.write_all(&mutate(&mut random, &seeds));
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let mut answers = Vec::new();
                let _ = stream.read_to_end(&mut answers);
                assert_well_formed(&answers);
            }
            assert!(pod.client.connect(soon(), &ConnectRequest::new()).is_ok(), "after round {round}");
            eventually("no worker is left", || children(pod) == 0);
            sizes.push(pod.size());
        }
        let (before, after) = (sizes[1], sizes[3]);
        assert!(after.0 <= before.0, "descriptors: {sizes:?}");
        assert!(after.1 <= before.1 + 128, "memory: {sizes:?}");
    });
}

/// Whole frames, all of them responses.
fn assert_well_formed(mut bytes: &[u8]) {
    while let Some((header, rest)) = bytes.split_first_chunk::<10>() {
        let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
        assert_eq!(header[8], 2, "a response");
        let (message, next) = rest.split_at_checked(length).expect("a whole frame");
        containerd_shim_protos::ttrpc::Response::parse_from_bytes(message).expect("a response");
        bytes = next;
    }
    assert!(bytes.is_empty());
}

fn children(pod: &Pod) -> usize {
    let path = format!("/proc/{0}/task/{0}/children", pod.shim);
    std::fs::read_to_string(path).expect("children").split_whitespace().count()
}
