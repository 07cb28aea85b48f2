//! What a user wants otherwise than the image has it.

use crate::userns::Maps;

/// The network of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Its own, with nothing but a loopback device.
    #[default]
    None,
    /// The host's, with its resolver.
    Host,
}

/// What replaces or adds to what the image says.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Replaces the command.
    pub args: Vec<String>,
    /// Replaces the entry point; the image's command is then not used either.
    pub entrypoint: Option<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// As the image's `User`.
    pub user: Option<String>,
    /// The working directory.
    pub workdir: Option<String>,
    /// `SOURCE:TARGET[:ro]`.
    pub volumes: Vec<String>,
    /// The root filesystem cannot be written to.
    pub read_only: bool,
    /// The process gets a terminal.
    pub terminal: bool,
    /// Bytes.
    pub memory: Option<u64>,
    /// CPUs, in thousandths.
    pub cpus: Option<u64>,
    /// Its host name.
    pub hostname: Option<String>,
    /// Its network.
    pub network: Network,
    /// Its user namespace, if it is to have one of its own.
    pub users: Option<Users>,
}

/// A container's user namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Users {
    /// Its ids.
    pub maps: Maps,
    /// Who makes it is not root: some of what a container can have is not his to give.
    pub rootless: bool,
}

impl Users {
    /// What the files of an image are shifted by: root's are; a user's have been unpacked as they are to be.
    pub fn shift(&self) -> Option<&Maps> {
        (!self.rootless).then_some(&self.maps)
    }
}
