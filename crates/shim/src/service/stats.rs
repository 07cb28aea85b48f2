//! `Stats` and `Update`: what a container uses, and what it may use.

use containerd_shim_protos::api::{StatsRequest, StatsResponse, UpdateTaskRequest};
use containerd_shim_protos::protobuf::MessageField;
use libcontainer::container;
use libcontainer::error::Kind;
use libcontainer::intel_rdt::NewSchemata;
use libcontainer::spec::{self, Resources};

use super::{Answer, Handled, Job, now};
use crate::metrics;
use crate::process::Caller;
use crate::shim::Shim;
use crate::ttrpc::Status;
use crate::worker::Report;

/// Where every distribution mounts cgroups.
const CGROUPS: &str = "/sys/fs/cgroup";
/// The magic number of cgroup v2 (linux/magic.h).
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;

impl Shim {
    pub(super) fn stats(&mut self, request: &StatsRequest) -> Handled {
        let container = self.container(&request.id)?;
        let stats = container::stats(&container.store, &request.id).map_err(|error| match error.kind() {
            Kind::WrongState | Kind::NotFound => Status::not_found("cgroup does not exist"),
            _ => Status::from(error),
        })?;
        let stats = MessageField::some(metrics::message(&stats, is_unified()));
        now(&StatsResponse { stats, ..StatsResponse::default() })
    }

    pub(super) fn update(&mut self, caller: Caller, request: &UpdateTaskRequest) -> Handled {
        let container = self.container(&request.id)?;
        let text = request.resources.as_ref().map(|any| any.value.as_slice()).unwrap_or_default();
        let resources: Resources = spec::parse_json(text)?;
        let (store, id) = (container.store.clone(), request.id.clone());
        self.employ(Job::Update { caller }, move || {
            let warnings = container::update(&store, &id, &resources, &NewSchemata::default())?;
            Ok(Report { warnings, ..Report::default() })
        });
        Ok(Answer::Later)
    }
}

/// By the same mark as containerd: clients take the message's type from it.
fn is_unified() -> bool {
    rustix::fs::statfs(CGROUPS).is_ok_and(|found| found.f_type as u64 == CGROUP2_SUPER_MAGIC)
}
