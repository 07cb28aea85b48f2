//! `unshare`: a command among the owners that a user's images have.

use std::os::unix::process::CommandExt;
use std::process::Command;

use creel_image::error::{Error, Result, SysContext};

use crate::cli::Unshare;

/// Executes it in place of this process, which has gone into the namespace already. Returns only if that fails.
pub fn unshare(args: &Unshare) -> Result<()> {
    let [program, arguments @ ..] = &args.args[..] else { return Err(Error::invalid("COMMAND", "is missing")) };
    Err(Command::new(program).args(arguments).exec()).sys("execve", program.display())
}
