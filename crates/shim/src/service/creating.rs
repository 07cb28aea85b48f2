//! Calls to a container that is being made: they wait until it is there, or is not.

use containerd_shim_protos::api::{DeleteRequest, StatsRequest};
use containerd_shim_protos::ttrpc::Request;
use libcontainer::container;

use super::create::ROOTFS;
use super::{Job, parse};
use crate::mounts;
use crate::process::{Caller, Container};
use crate::shim::Shim;
use crate::ttrpc::{Code, Status};
use crate::worker::{Outcome, Report};

/// As many calls wait at most: a hook may hang for days, and somebody may ask for the container's state each second.
const MOST_WAITING: usize = 256;

/// A container that a worker is making.
#[derive(Debug)]
pub(crate) struct Creating {
    /// What it will be.
    pub(super) container: Container,
    /// The calls that wait for it.
    pub(super) waiting: Vec<(Caller, Request)>,
}

impl Shim {
    /// Keeps a call to a container that is being made; gives back any other. A containerd that was killed and is back
    /// would take "not created" for a shim that nobody needs, and the container would then be nobody's.
    pub(super) fn postpone(&mut self, caller: Caller, request: Request) -> Option<Request> {
        if self.creating.is_empty() {
            return Some(request);
        }
        // All requests have the container's id in the same field; this one has no other, whose type might differ.
        let StatsRequest { id, .. } = parse(&request.payload).unwrap_or_default();
        let Some(creating) = self.creating.get_mut(&id) else { return Some(request) };
        let store = creating.container.store.clone();
        let gives_up = request.method == "Delete"
            && parse(&request.payload).is_ok_and(|DeleteRequest { exec_id, .. }| exec_id.is_empty());
        if gives_up || creating.waiting.len() < MOST_WAITING {
            creating.waiting.push((caller, request));
        } else {
            let why = format!("container {id} is still being created");
            self.answer(caller, Err(Status::new(Code::UNAVAILABLE, why)));
        }
        if gives_up {
            self.employ(Job::GiveUp { id: id.clone() }, move || {
                // Its hooks may hang. They end with its init, and so does the worker that runs them.
                container::delete(&store, &id, true)?;
                Ok(Report::default())
            });
        }
        None
    }

    /// The worker that made a container was killed. What it had made would be nobody's: containerd takes a failed creation
    /// for one that has left nothing, and calls `delete` only where a shim is gone. Its calls wait until that is so.
    pub(super) fn clear_up(&mut self, caller: Caller, id: &str, why: Status) {
        let Some(Creating { container, .. }) = self.creating.get(id) else { return };
        let (store, rootfs, name) = (container.store.clone(), container.bundle.join(ROOTFS), id.to_owned());
        self.employ(Job::ClearUp { caller, id: id.to_owned(), why }, move || {
            container::delete(&store, &name, true)?;
            mounts::unmount_all(&rootfs)?;
            Ok(Report::default())
        });
    }

    /// Answers the creation that failed, and then whoever waited for it.
    pub(super) fn cleared_up(&mut self, caller: Caller, id: &str, why: Status, outcome: Outcome) {
        if let Err(status) = outcome {
            self.log.warning(format!("clearing up what is left of container {id}: {}", status.message));
        }
        let Some(Creating { waiting, .. }) = self.creating.remove(id) else { return };
        self.answer(caller, Err(why.within("OCI runtime create failed")));
        waiting.into_iter().for_each(|(caller, request)| self.handle(caller, request));
    }
}
