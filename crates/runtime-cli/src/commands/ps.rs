//! `ps`: the host's ps(1), narrowed to a container's processes.

use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};
use libcontainer::container;

use super::{Context, check_id};
use crate::logging::plain;
use crate::{cli, output};

/// Prints the processes.
pub fn run(context: Context<'_>, args: &cli::Ps) -> Result<u8> {
    let store = context.store()?;
    check_id(&args.id)?;
    let pids = container::pids(&store, &args.id)?;
    match args.format.as_str() {
        "table" => output::print(table(args, &pids)?)?,
        "json" => output::print(output::json_line(&pids)?)?,
        _ => bail!("invalid format option"),
    }
    Ok(0)
}

fn table(args: &cli::Ps, pids: &[i32]) -> Result<String> {
    let mut ps = Command::new("ps");
    if args.args.is_empty() {
        ps.arg("-ef");
    } else {
        ps.args(&args.args);
    }
    let output = ps.output().map_err(|error| anyhow!("cannot run ps: {}", plain(&error)))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("ps: {}: {}", output.status, String::from_utf8_lossy(&said));
    }
    narrow(&String::from_utf8_lossy(&output.stdout), pids)
}

/// The header of ps's output and the lines of these processes.
fn narrow(text: &str, pids: &[i32]) -> Result<String> {
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let column = header.split_whitespace().position(|title| title == "PID");
    let column = column.context("couldn't find PID field in ps output")?;
    let mut result = format!("{header}\n");
    for line in lines.filter(|line| !line.is_empty()) {
        let field = line.split_whitespace().nth(column).unwrap_or_default();
        let pid: i32 = field.parse().with_context(|| format!("unable to parse pid {field:?}"))?;
        if pids.contains(&pid) {
            result.push_str(line);
            result.push('\n');
        }
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_and_the_containers_lines_stay() {
        let text = "UID        PID  PPID CMD\nroot         1     0 init\nroot     11165     1 sleep 1000\n\n";
        assert_eq!(
            narrow(text, &[11165, 7]).expect("a table"),
            "UID        PID  PPID CMD\nroot     11165     1 sleep 1000\n"
        );
        assert_eq!(narrow(text, &[]).expect("a table"), "UID        PID  PPID CMD\n");
    }

    #[test]
    fn output_without_pids_is_refused() {
        assert!(narrow("COMMAND\nsh\n", &[1]).expect_err("no PID").to_string().contains("couldn't find PID field"));
        assert!(narrow("USER PID\nroot x\n", &[1]).expect_err("no number").to_string().contains("unable to parse"));
    }

    #[test]
    fn the_hosts_ps_shows_this_process() {
        let args = |options: &[&str]| cli::Ps {
            format: "table".into(),
            id: "c1".into(),
            args: options.iter().map(Into::into).collect(),
        };
        let own = i32::try_from(std::process::id()).expect("a pid");
        for options in [&[][..], &["aux"], &["-e", "-o", "pid,comm"]] {
            assert_eq!(table(&args(options), &[own]).expect("ps runs").lines().count(), 2, "{options:?}");
        }
        let error = table(&args(&["--no-such-option"]), &[own]).expect_err("ps refuses");
        assert!(error.to_string().contains("exit status: 1"), "{error}");
    }
}
