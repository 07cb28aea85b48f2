//! `list`: all containers of the root directory.

use anyhow::{Result, anyhow, bail};
use libcontainer::container::{self, Listed};

use super::Context;
use crate::logging::plain;
use crate::{cli, output, table};

/// Prints the containers.
pub fn run(context: Context<'_>, args: &cli::List) -> Result<u8> {
    let root = context.root()?;
    let directory = root.store.root();
    if root.is_explicit
        && let Err(error) = std::fs::metadata(directory)
    {
        // The default one comes into being with the first container; one that was named is a mistake.
        return Err(anyhow!("open {}: {}", directory.display(), plain(&error)));
    }
    let mut containers = Vec::new();
    for container in container::list(&root.store)? {
        match container {
            Ok(container) => containers.push(container),
            Err(error) => context.log.error(error),
        }
    }
    output::print(render(&containers, args)?)?;
    Ok(0)
}

fn render(containers: &[Listed], args: &cli::List) -> Result<String> {
    if args.quiet {
        return Ok(containers.iter().map(|container| format!("{}\n", container.id)).collect());
    }
    match args.format.as_str() {
        "table" => {
            let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
            let rows: Vec<_> = std::iter::once(header).chain(containers.iter().map(row)).collect();
            Ok(table::render(&rows))
        }
        // Go prints an empty list as null, and that is what readers of runc's output know.
        "json" if containers.is_empty() => Ok("null\n".to_owned()),
        "json" => output::json_line(&containers),
        _ => bail!("invalid format option"),
    }
}

fn row(container: &Listed) -> [String; 6] {
    [
        container.id.clone(),
        container.pid.to_string(),
        container.status.to_string(),
        container.bundle.display().to_string(),
        container.created.clone(),
        container.owner.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use libcontainer::container::Status;

    use super::*;

    fn containers() -> Vec<Listed> {
        vec![Listed {
            oci_version: "1.3.0".into(),
            id: "c1".into(),
            pid: 11165,
            status: Status::Paused,
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            created: "2026-11-22T12:42:05.385615368Z".into(),
            annotations: Default::default(),
            owner: "root".into(),
            oom_killed: false,
        }]
    }

    fn args(format: &str, quiet: bool) -> cli::List {
        cli::List { format: format.into(), quiet }
    }

    #[test]
    fn json_is_runcs() {
        assert_eq!(
            render(&containers(), &args("json", false)).expect("json"),
            "[{\"ociVersion\":\"1.3.0\",\"id\":\"c1\",\"pid\":11165,\"status\":\"paused\",\"bundle\":\"/b\",\
             \"rootfs\":\"/b/rootfs\",\"created\":\"2026-11-22T12:42:05.385615368Z\",\"owner\":\"root\"}]\n"
        );
        assert_eq!(render(&[], &args("json", false)).expect("json"), "null\n");
    }

    #[test]
    fn quiet_wins_over_the_format() {
        assert_eq!(render(&containers(), &args("nonsense", true)).expect("ids"), "c1\n");
        assert_eq!(render(&[], &args("nonsense", false)).expect_err("format").to_string(), "invalid format option");
    }

    #[test]
    fn the_table_has_the_status_in_words() {
        let text = render(&containers(), &args("table", false)).expect("table");
        assert!(
            text.ends_with("\nc1          11165       paused      /b          2026-11-22T12:42:05.385615368Z   root\n")
        );
    }
}
