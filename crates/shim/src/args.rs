//! The command line that containerd gives a shim: flags as Go's flag package reads them, then an action.

/// What was given.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// `-namespace`: containerd's namespace.
    pub namespace: String,
    /// `-id`: the container.
    pub id: String,
    /// `-address`: containerd's gRPC socket, which is part of what names our own.
    pub address: String,
    /// `-bundle`: its directory, if it is not the working directory.
    pub bundle: String,
    /// `-socket`: where to listen, instead of the address that is computed.
    pub socket: String,
    /// `-debug`.
    pub debug: bool,
    /// `-v`, `-version`.
    pub version: bool,
    /// `-info`.
    pub info: bool,
    /// `start`, `delete` or nothing.
    pub action: String,
    /// The value of a flag that means nothing to us.
    pub unused: String,
}

impl Args {
    /// Reads the arguments after the program's name. Go takes one dash or two, and `=` or the next argument as value;
    /// the first that is no flag ends them.
    ///
    /// # Errors
    /// Says which flag is unknown or has no value.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Args, String> {
        let mut parsed = Args::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let Some(flag) = arg.strip_prefix('-').filter(|flag| !matches!(*flag, "" | "-")) else {
                parsed.action = if arg == "--" { args.next().unwrap_or_default() } else { arg };
                break;
            };
            let flag = flag.strip_prefix('-').unwrap_or(flag);
            let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
            if let Some(switch) = parsed.switch(name) {
                *switch = !matches!(value, Some("false" | "0" | "f" | "F" | "FALSE" | "False"));
                continue;
            }
            let Some(text) = parsed.text(name) else { return Err(format!("flag provided but not defined: -{name}")) };
            match value.map(str::to_owned).or_else(|| args.next()) {
                Some(value) => *text = value,
                None => return Err(format!("flag needs an argument: -{name}")),
            }
        }
        Ok(parsed)
    }

    fn switch(&mut self, name: &str) -> Option<&mut bool> {
        Some(match name {
            "debug" => &mut self.debug,
            "v" | "version" => &mut self.version,
            "info" => &mut self.info,
            _ => return None,
        })
    }

    fn text(&mut self, name: &str) -> Option<&mut String> {
        Some(match name {
            "namespace" => &mut self.namespace,
            "id" => &mut self.id,
            "address" => &mut self.address,
            "bundle" => &mut self.bundle,
            "socket" => &mut self.socket,
            // Taken and not used: we publish by ourselves, and have no profiler to serve.
            "publish-binary" | "debug-socket" => &mut self.unused,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_containerd_gives() {
        let args =
            parse("-namespace k8s.io -address /run/c.sock -publish-binary /usr/bin/containerd -id x -debug start");
        let args = args.expect("valid");
        assert_eq!((args.namespace.as_str(), args.id.as_str(), args.action.as_str()), ("k8s.io", "x", "start"));
        assert!(args.debug && !args.version);
        let args = parse("--namespace=n -id=y -bundle /b delete later").expect("valid");
        assert_eq!((args.id.as_str(), args.bundle.as_str(), args.action.as_str()), ("y", "/b", "delete"));
        assert!(parse("-v").expect("valid").version);
        assert!(!parse("-debug=false start").expect("valid").debug);
        assert_eq!(parse("-publish-binary /x").expect("valid").action, "", "it is not an action");
    }

    #[test]
    fn what_is_wrong_is_told() {
        assert_eq!(parse("-nope"), Err("flag provided but not defined: -nope".into()));
        assert_eq!(parse("-id"), Err("flag needs an argument: -id".into()));
    }
}
