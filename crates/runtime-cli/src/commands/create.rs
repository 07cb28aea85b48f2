//! `create`: a container that waits for `start`.

use std::path::PathBuf;

use anyhow::Result;
use libcontainer::container::{self, CreateOptions};
use libcontainer::process::sealed_exe::Sealed;

use super::{Context, check_id};
use crate::cli::{self, given};

/// Creates the container.
pub fn run(context: Context<'_>, args: &cli::Create, sealed: Sealed) -> Result<u8> {
    let store = context.store()?;
    let options = options(context, args)?;
    check_id(&options.id)?;
    context.log.debug(|| format!("creating {} from {}", options.id, options.bundle.display()));
    let launched = container::create(&store, &options, sealed)?;
    context.log.warnings(&launched.warnings);
    context.log.debug(|| format!("created {}, its init is {}", options.id, launched.pid.as_raw_nonzero()));
    Ok(0)
}

/// What `create` and `run` tell the library.
pub fn options(context: Context<'_>, args: &cli::Create) -> Result<CreateOptions> {
    Ok(CreateOptions {
        id: args.id.clone(),
        bundle: given(&args.bundle).unwrap_or_else(|| PathBuf::from(".")),
        config: given(&args.config),
        pid_file: given(&args.pid_file),
        console_socket: given(&args.console_socket),
        pidfd_socket: given(&args.pidfd_socket),
        preserve_fds: args.preserve_fds,
        no_pivot: args.no_pivot,
        no_new_keyring: args.no_new_keyring,
        rootless: context.rootless()?,
        systemd_cgroup: context.systemd_cgroup()?,
        attach_console: false,
        raw_console: false,
        console_size: None,
        trace: context.log.trace(),
    })
}
