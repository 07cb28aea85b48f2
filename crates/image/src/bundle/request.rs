//! What a user wants otherwise than the image has it.

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
}
