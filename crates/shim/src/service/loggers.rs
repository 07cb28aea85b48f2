//! Loggers that end before their process: it goes on, and what it writes is dropped.

use std::os::fd::OwnedFd;

use rustix::fs::OFlags;
use rustix::process::Pid;

use crate::io::pump::Pump;
use crate::process::Name;
use crate::shim::Shim;

impl Shim {
    /// A child has ended: whether it was the logger of a process that is still there.
    pub(crate) fn part_from_logger(&mut self, pid: Pid) -> bool {
        let found = self.containers.iter().find_map(|(id, container)| {
            if container.init.held.logger == Some(pid) {
                return Some(Name::init(id));
            }
            let (exec, _) = container.execs.iter().find(|(_, exec)| exec.held.logger == Some(pid))?;
            Some(Name { container: id.clone(), exec: exec.clone() })
        });
        found.inspect(|name| self.lose_logger(name)).is_some()
    }

    /// Reads in the logger's stead. Otherwise the process would wait for room in its pipes for ever.
    pub(super) fn lose_logger(&mut self, name: &Name) {
        let Some(container) = self.containers.get_mut(&name.container) else { return };
        let Ok(process) = container.process_mut(&name.exec) else { return };
        process.held.logger = None;
        let drains: Vec<Pump> = std::mem::take(&mut process.held.outputs).into_iter().filter_map(drain).collect();
        let pumps: Vec<u32> = drains.into_iter().map(|drain| self.add_pump(drain)).collect();
        if let Some(process) = self.containers.get_mut(&name.container).and_then(|one| one.process_mut(&name.exec).ok())
        {
            process.held.pumps.extend(pumps);
        }
    }
}

fn drain(pipe: OwnedFd) -> Option<Pump> {
    // The logger read by the same open file, and is gone.
    rustix::fs::fcntl_setfl(&pipe, OFlags::NONBLOCK).ok()?;
    Some(Pump::new(pipe, crate::io::null().ok()?))
}
