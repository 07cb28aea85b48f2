//! Flags of the commands that make and remove bundles.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Named, RegistryArgs};
use clap::Args;
use creel_image::bundle::{Form, Network, Request, Users};
use creel_image::error::{Error, Result};
use creel_image::userns::{Maps, Range, parse_range};

/// What a user may want otherwise than the image has it.
#[derive(Debug, Args)]
pub struct Wishes {
    /// Set an environment variable
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Run as this user, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Work in this directory
    #[arg(short, long, value_name = "DIRECTORY")]
    pub workdir: Option<String>,
    /// Execute this in place of the image's entry point
    #[arg(long, value_name = "FILE")]
    pub entrypoint: Option<String>,
    /// Mount a directory or file of the host
    #[arg(short, long = "volume", value_name = "SOURCE:TARGET[:ro]")]
    pub volumes: Vec<String>,
    /// Make the root filesystem read-only
    #[arg(long)]
    pub read_only: bool,
    /// Give the process a terminal
    #[arg(short, long = "tty")]
    pub terminal: bool,
    /// Limit the memory, in bytes or with k, m or g
    #[arg(short, long, value_name = "BYTES", value_parser = bytes)]
    pub memory: Option<u64>,
    /// Limit the CPUs
    #[arg(long, value_name = "NUMBER", value_parser = thousandths)]
    pub cpus: Option<u64>,
    /// Set the host name
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// none (a loopback device), or host (that of the host, with its resolver)
    #[arg(long, value_name = "KIND", default_value = "none", value_parser = network)]
    pub network: Network,
    /// Give the container a user namespace that has these users; may be repeated (root only: others have one anyway)
    #[arg(long, value_name = "INSIDE:OUTSIDE:SIZE", value_parser = parse_range)]
    pub uidmap: Vec<Range>,
    /// And these groups [default: as --uidmap]
    #[arg(long, value_name = "INSIDE:OUTSIDE:SIZE", value_parser = parse_range)]
    pub gidmap: Vec<Range>,
}

/// `bundle`
#[derive(Debug, Args)]
pub struct Bundle {
    /// What is asked for
    #[command(flatten)]
    pub wishes: Wishes,
    /// Copy the files instead of mounting an overlay of the store's
    #[arg(long)]
    pub copy: bool,
    /// The image.
    #[command(flatten)]
    pub image: Named,
    /// The bundle's directory, empty or not there
    pub directory: PathBuf,
    /// Execute this in place of the image's command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub args: Vec<String>,
}

/// `unpack`
#[derive(Debug, Args)]
pub struct Unpack {
    /// The image.
    #[command(flatten)]
    pub image: Named,
    /// The directory, empty or not there
    pub directory: PathBuf,
}

/// `mount`
#[derive(Debug, Args)]
pub struct Mount {
    /// The bundle's directory
    pub directory: PathBuf,
}

/// `unbundle`
#[derive(Debug, Args)]
pub struct Unbundle {
    /// The bundle's directory, or the name that `run` gave a container
    pub directory: PathBuf,
}

/// `run`
#[derive(Debug, Args)]
pub struct Run {
    /// What is asked for
    #[command(flatten)]
    pub wishes: Wishes,
    /// Keep standard input open
    #[arg(short, long)]
    pub interactive: bool,
    /// Remove the container's files when it ends
    #[arg(long)]
    pub rm: bool,
    /// Name the container
    #[arg(long)]
    pub name: Option<String>,
    /// The runtime to use: a file, or a name to look for in PATH
    #[arg(long, value_name = "FILE")]
    pub runtime: Option<PathBuf>,
    /// How registries are reached, if it is to be pulled.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// The image.
    #[command(flatten)]
    pub image: Named,
    /// Execute this in place of the image's command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub args: Vec<String>,
}

/// `unshare`
#[derive(Debug, Args)]
pub struct Unshare {
    /// What to execute
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND", required = true)]
    pub args: Vec<OsString>,
}

impl Wishes {
    /// The user namespace that is asked for.
    fn users(&self) -> Result<Option<Users>> {
        let (uids, gids) = (&self.uidmap, &self.gidmap);
        if uids.is_empty() && gids.is_empty() {
            return Ok(None);
        }
        // One without the other is that for both, as with podman.
        let or =
            |first: &Vec<Range>, second: &Vec<Range>| if first.is_empty() { second.clone() } else { first.clone() };
        let maps = Maps { uids: or(uids, gids), gids: or(gids, uids) };
        maps.check().map_err(|error| error.within("--uidmap and --gidmap"))?;
        Ok(Some(Users { maps, rootless: false }))
    }

    /// As the library takes them; `own` is the user namespace that the container of somebody who is not root gets.
    pub fn request(self, args: Vec<String>, own: Option<Maps>) -> Result<Request> {
        let users = match (self.users()?, own) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid("--uidmap and --gidmap", "only root may choose ids")
                    .remedy("those that /etc/subuid and /etc/subgid give you are mapped without them"));
            }
            (Some(users), None) => Some(users),
            (None, own) => own.map(|maps| Users { maps, rootless: true }),
        };
        Ok(Request {
            args,
            entrypoint: self.entrypoint,
            env: self.env,
            user: self.user,
            workdir: self.workdir,
            volumes: self.volumes,
            read_only: self.read_only,
            terminal: self.terminal,
            memory: self.memory,
            cpus: self.cpus,
            hostname: self.hostname,
            network: self.network,
            users,
        })
    }
}

impl Bundle {
    /// How the root filesystem is made.
    pub fn form(&self) -> Form {
        if self.copy { Form::Copy } else { Form::Overlay }
    }
}

/// `64m`, `1g`, `1048576`, as Docker's users write them.
fn bytes(text: &str) -> Result<u64> {
    let wrong = || Error::invalid(format!("{text:?}"), "is not a number of bytes, such as 64m");
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, shift) = match lower.as_bytes().last() {
        Some(b'k') => (&lower[..lower.len() - 1], 10),
        Some(b'm') => (&lower[..lower.len() - 1], 20),
        Some(b'g') => (&lower[..lower.len() - 1], 30),
        _ => (lower, 0),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0 && *bytes <= i64::MAX as u64).ok_or_else(wrong)
}

/// `1.5` is 1500; a thousandth is the least that the kernel can do.
fn thousandths(text: &str) -> Result<u64> {
    let wrong = || Error::invalid(format!("{text:?}"), "is not a number of CPUs, such as 1.5");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 3 || text.len() > 12 || whole.is_empty() {
        return Err(wrong());
    }
    let number: u64 = format!("{whole}{part:0<3}").parse().map_err(|_| wrong())?;
    // The shortest quota is a millisecond of the period's hundred (Documentation/scheduler/sched-bwc.rst).
    if number < 10 { Err(wrong()) } else { Ok(number) }
}

fn network(text: &str) -> Result<Network> {
    match text {
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        _ => Err(Error::invalid(format!("{text:?}"), "is neither none nor host")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_as_users_write_them() {
        assert_eq!(bytes("64m"), Ok(64 << 20));
        assert_eq!(bytes("1GB"), Ok(1 << 30));
        assert_eq!(bytes("512"), Ok(512));
        assert_eq!(thousandths("1.5"), Ok(1500));
        assert_eq!(thousandths("2"), Ok(2000));
        assert_eq!(thousandths("0.01"), Ok(10));
        for text in ["", "m", "-1", "1t", "0", "99999999999g", "1.5m"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        for text in ["", "0", ".5", "1.2345", "-1", "0.001", "1e3"] {
            assert!(thousandths(text).is_err(), "{text}");
        }
    }
}
