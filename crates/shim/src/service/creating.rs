//! Calls to a container that is being made: they wait until it is there, or is not.

use containerd_shim_protos::api::DeleteRequest;
use containerd_shim_protos::ttrpc::Request;
use libcontainer::container;

use super::{Job, parse};
use crate::process::{Caller, Container};
use crate::shim::Shim;
use crate::worker::Report;

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
        // All requests have the container's id in the same field.
        let DeleteRequest { id, exec_id, .. } = parse(&request.payload).unwrap_or_default();
        let Some(creating) = self.creating.get_mut(&id) else { return Some(request) };
        let gives_up = request.method == "Delete" && exec_id.is_empty();
        creating.waiting.push((caller, request));
        if gives_up {
            let store = creating.container.store.clone();
            self.employ(Job::GiveUp { id: id.clone() }, move || {
                // Its hooks may hang. They end with its init, and so does the worker that runs them.
                container::delete(&store, &id, true)?;
                Ok(Report::default())
            });
        }
        None
    }
}
