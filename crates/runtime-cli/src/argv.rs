//! Go's command-line rules, which runc's users rely on, reduced to the one spelling that clap is given.
//!
//! - `-bundle` is `--bundle`, and `--b` is `-b`; values follow as the next argument, whatever it looks like, or after `=`.
//! - A switch may have a value (`--debug=false`); of a flag that is repeated the last one counts.
//! - Flags and operands may be mixed, except that `exec` and `ps` leave what follows the container's id alone.
//! - Global flags may follow the command's name, unless the command has a flag of that name.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::vec::IntoIter;

use clap::{Arg, ArgAction};

/// A command line in canonical form.
#[derive(Debug, Default)]
pub struct Line {
    program: OsString,
    /// Global flags, in order.
    pub globals: Vec<Flag>,
    /// The command's name.
    pub command: Option<String>,
    flags: Vec<Flag>,
    operands: Vec<OsString>,
}

/// A flag as it was given.
#[derive(Debug)]
pub struct Flag {
    /// Its long name.
    pub name: String,
    /// Its value; of a switch `true` or `false`.
    pub value: OsString,
    /// Whether clap wants it without a value: there if it is on, absent if it is off.
    bare: bool,
}

/// What is wrong with a command line.
#[derive(Debug, PartialEq, Eq)]
pub enum Problem {
    /// Nothing: help is wanted, for a named command or for the one at hand.
    Help(Option<String>),
    /// No command has this name.
    UnknownCommand(String),
    /// A flag that is not known, has no value or a wrong one.
    Flag(String),
    /// Too few or too many operands.
    Count(String),
}

/// Reads `argv`. What was understood is given even if there is a problem.
pub fn read(definition: &clap::Command, argv: Vec<OsString>) -> (Line, Result<(), Problem>) {
    let mut argv = argv.into_iter();
    let mut line = Line { program: argv.next().unwrap_or_else(|| "creel".into()), ..Line::default() };
    let outcome = line.read(definition, &mut argv);
    (line, outcome)
}

impl Line {
    /// The form that clap parses: `--flag=value` or `--switch`, and `--` before the operands.
    pub fn to_argv(&self) -> Vec<OsString> {
        let mut argv = vec![self.program.clone()];
        argv.extend(spelled(&self.globals));
        if let Some(command) = &self.command {
            argv.push(command.into());
            argv.extend(spelled(&self.flags));
            argv.push("--".into());
            argv.extend(self.operands.iter().cloned());
        }
        argv
    }

    fn read(&mut self, definition: &clap::Command, argv: &mut IntoIter<OsString>) -> Result<(), Problem> {
        while let Some(argument) = argv.next() {
            match flag_name(&argument) {
                Some(_) => self.flag(None, definition, &argument, argv)?,
                None if argument == "--" => {}
                None => return self.command(definition, argument, argv),
            }
        }
        Ok(())
    }

    fn command(
        &mut self,
        definition: &clap::Command,
        name: OsString,
        argv: &mut IntoIter<OsString>,
    ) -> Result<(), Problem> {
        let name = name.to_string_lossy().into_owned();
        if name == "help" || name == "h" {
            return Err(Problem::Help(argv.next().map(|topic| topic.to_string_lossy().into_owned())));
        }
        let Some(command) = definition.find_subcommand(&name) else {
            return Err(Problem::UnknownCommand(name));
        };
        let (least, most) = operand_count(command);
        let stops_at = command.get_positionals().any(Arg::is_trailing_var_arg_set).then_some(least);
        self.command = Some(name);
        while let Some(argument) = argv.next() {
            // A command whose flags are not known yet can still be explained.
            if stops_at == Some(0) && matches!(argument.as_bytes(), b"-h" | b"--help") {
                return Err(Problem::Help(None));
            }
            if argument == "--" || stops_at == Some(self.operands.len()) {
                self.operands.extend((argument != "--").then_some(argument));
                self.operands.extend(argv);
                break;
            }
            match flag_name(&argument) {
                Some(_) => self.flag(Some(command), definition, &argument, argv)?,
                None => self.operands.push(argument),
            }
        }
        self.check_count(least, most)
    }

    fn flag(
        &mut self,
        command: Option<&clap::Command>,
        definition: &clap::Command,
        argument: &OsStr,
        argv: &mut IntoIter<OsString>,
    ) -> Result<(), Problem> {
        let (name, value) = flag_name(argument).unwrap_or((argument, None));
        let name = name.to_string_lossy();
        let own = command.and_then(|command| find(command, &name));
        let (arg, is_global) = match (own, find(definition, &name)) {
            (Some(arg), _) => (arg, false),
            // `-v` is the program's version only before a command, as in runc.
            (None, Some(arg)) if command.is_none() || arg.get_long() != Some("version") => (arg, true),
            _ if name == "help" || name == "h" => return Err(Problem::Help(None)),
            _ => return Err(Problem::Flag(format!("flag provided but not defined: -{name}"))),
        };
        let value = if is_switch(arg) {
            truth(&name, value)?.into()
        } else {
            let missing = || Problem::Flag(format!("flag needs an argument: {}", argument.display()));
            value.map(OsStr::to_owned).or_else(|| argv.next()).ok_or_else(missing)?
        };
        let name = arg.get_long().unwrap_or_default().to_owned();
        let flag = Flag { name, value, bare: !arg.get_action().takes_values() };
        if is_global { &mut self.globals } else { &mut self.flags }.push(flag);
        Ok(())
    }

    fn check_count(&self, least: usize, most: usize) -> Result<(), Problem> {
        let demand = match self.operands.len() {
            count if count < least && least < most => format!("a minimum of {least}"),
            count if count > most && least < most => format!("a maximum of {most}"),
            count if count < least || count > most => format!("exactly {least}"),
            _ => return Ok(()),
        };
        let (program, command) = (self.program.display(), self.command.as_deref().unwrap_or_default());
        Err(Problem::Count(format!("{program}: \"{command}\" requires {demand} argument(s)")))
    }
}

/// As clap takes them; of a switch only the last occurrence counts.
fn spelled(flags: &[Flag]) -> impl Iterator<Item = OsString> {
    flags.iter().enumerate().filter_map(|(index, flag)| {
        if !flag.bare {
            return Some(joined(&flag.name, &flag.value));
        }
        let overridden = flags[index + 1..].iter().any(|later| later.name == flag.name);
        (!overridden && flag.value == "true").then(|| format!("--{}", flag.name).into())
    })
}

/// The name and the value of an argument that is a flag; as in runc, `-` and `-9` are operands.
fn flag_name(argument: &OsStr) -> Option<(&OsStr, Option<&OsStr>)> {
    let bytes = argument.as_bytes();
    let name = bytes.strip_prefix(b"--").or_else(|| bytes.strip_prefix(b"-"))?;
    if name.is_empty() || !bytes.starts_with(b"--") && !name[0].is_ascii_alphabetic() {
        return None;
    }
    let end = name.iter().position(|byte| *byte == b'=').unwrap_or(name.len());
    let value = name.get(end + 1..).map(OsStr::from_bytes);
    Some((OsStr::from_bytes(&name[..end]), value))
}

fn find<'a>(command: &'a clap::Command, name: &str) -> Option<&'a Arg> {
    let mut letters = name.chars();
    let short = letters.next().filter(|_| letters.next().is_none());
    command
        .get_opts()
        .chain(command.get_arguments().filter(|arg| !arg.get_action().takes_values()))
        .find(|arg| arg.get_long() == Some(name) || short.is_some() && arg.get_short() == short)
}

fn is_switch(arg: &Arg) -> bool {
    !arg.get_action().takes_values() || arg.get_num_args().is_some_and(|range| range.min_values() == 0)
}

/// Go's strconv.ParseBool; a switch without a value is on.
fn truth(name: &str, value: Option<&OsStr>) -> Result<&'static str, Problem> {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok("true") };
    parse_bool(&value.to_string_lossy())
        .map(|on| if on { "true" } else { "false" })
        .ok_or_else(|| Problem::Flag(format!("invalid value {value:?} for flag -{name}: parse error")))
}

/// The words that Go takes for true and false.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The least and the greatest number of operands.
fn operand_count(command: &clap::Command) -> (usize, usize) {
    command.get_positionals().fold((0, 0usize), |(least, most), operand| {
        let many = matches!(operand.get_action(), ArgAction::Append);
        (least + usize::from(operand.is_required_set()), most.saturating_add(if many { usize::MAX } else { 1 }))
    })
}

fn joined(name: &str, value: &OsStr) -> OsString {
    let mut bytes = format!("--{name}=").into_bytes();
    bytes.extend_from_slice(value.as_bytes());
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn strings(argv: &[&str]) -> Vec<OsString> {
        argv.iter().map(OsString::from).collect()
    }

    /// What clap is given for a command line.
    fn canonical(argv: &[&str]) -> Vec<String> {
        let (line, outcome) = read(&Cli::command(), strings(argv));
        assert_eq!(outcome, Ok(()), "{argv:?}");
        line.to_argv().into_iter().map(|argument| argument.into_string().expect("text")).collect()
    }

    fn problem(argv: &[&str]) -> Problem {
        read(&Cli::command(), strings(argv)).1.expect_err("a problem")
    }

    #[test]
    fn one_dash_or_two_and_values_after_either() {
        let expected = ["creel", "--root=/r", "list", "--format=json", "--"];
        for argv in [
            ["creel", "--root", "/r", "list", "--format", "json"],
            ["creel", "-root", "/r", "list", "-format", "json"],
            ["creel", "--root", "/r", "list", "-f", "json"],
            ["creel", "--root", "/r", "list", "--f", "json"],
        ] {
            assert_eq!(canonical(&argv), expected);
        }
        assert_eq!(canonical(&["creel", "-root=/r", "list", "-f=json"]), expected);
        assert_eq!(canonical(&["creel", "list", "-f", "json", "-root=/r"]), expected);
        assert_eq!(canonical(&["creel", "--root", "--debug", "list"]), ["creel", "--root=--debug", "list", "--"]);
        assert_eq!(canonical(&["creel", "--log=", "list"]), ["creel", "--log=", "list", "--"]);
    }

    #[test]
    fn switches_take_values_and_the_last_one_counts() {
        assert_eq!(canonical(&["creel", "--debug=true", "list", "-q"]), ["creel", "--debug", "list", "--quiet", "--"]);
        assert_eq!(canonical(&["creel", "--debug", "-debug=0", "list"]), ["creel", "list", "--"]);
        assert_eq!(
            canonical(&["creel", "exec", "--no-new-privs=f", "--no-new-privs", "c1", "id"]),
            ["creel", "exec", "--no-new-privs=false", "--no-new-privs=true", "--", "c1", "id"]
        );
        assert_eq!(
            problem(&["creel", "--debug=foo", "list"]),
            Problem::Flag("invalid value \"foo\" for flag -debug: parse error".into())
        );
    }

    #[test]
    fn exec_and_ps_leave_the_rest_alone() {
        assert_eq!(
            canonical(&["creel", "exec", "-e", "A=b", "c1", "sh", "-c", "ls --help -- x", "--", "-t"]),
            ["creel", "exec", "--env=A=b", "--", "c1", "sh", "-c", "ls --help -- x", "--", "-t"]
        );
        assert_eq!(canonical(&["creel", "exec", "c1", "--", "ls", "--"]), ["creel", "exec", "--", "c1", "ls", "--"]);
        assert_eq!(canonical(&["creel", "ps", "c1", "-f"]), ["creel", "ps", "--", "c1", "-f"]);
    }

    #[test]
    fn elsewhere_flags_may_follow_operands() {
        assert_eq!(canonical(&["creel", "run", "c1", "-d"]), ["creel", "run", "--detach", "--", "c1"]);
        assert_eq!(canonical(&["creel", "kill", "c1", "--all", "-9"]), ["creel", "kill", "--all", "--", "c1", "-9"]);
        assert_eq!(canonical(&["creel", "run", "--", "-d"]), ["creel", "run", "--", "-d"]);
        assert_eq!(canonical(&["creel", "state", ""]), ["creel", "state", "--", ""]);
    }

    #[test]
    fn a_commands_own_flag_hides_the_global_one() {
        assert_eq!(
            canonical(&["creel", "--rootless", "true", "spec", "--rootless"]),
            ["creel", "--rootless=true", "spec", "--rootless", "--"]
        );
        assert_eq!(
            canonical(&["creel", "run", "--rootless", "auto", "c1"]),
            ["creel", "--rootless=auto", "run", "--", "c1"]
        );
    }

    #[test]
    fn what_is_wrong_is_said_as_runc_says_it() {
        let flag = |text: &str| Problem::Flag(text.into());
        assert_eq!(problem(&["creel", "--nope"]), flag("flag provided but not defined: -nope"));
        assert_eq!(problem(&["creel", "run", "-nope=1", "c1"]), flag("flag provided but not defined: -nope"));
        assert_eq!(problem(&["creel", "exec", "-dt", "c1"]), flag("flag provided but not defined: -dt"));
        assert_eq!(problem(&["creel", "list", "-v"]), flag("flag provided but not defined: -v"));
        assert_eq!(problem(&["creel", "exec", "--cap"]), flag("flag needs an argument: --cap"));
        assert_eq!(problem(&["creel", "foo"]), Problem::UnknownCommand("foo".into()));
        for (argv, demand) in [
            (&["creel", "state"][..], "\"state\" requires exactly 1"),
            (&["creel", "list", "x"], "\"list\" requires exactly 0"),
            (&["creel", "run", "x", "y"], "\"run\" requires exactly 1"),
            (&["creel", "exec"], "\"exec\" requires a minimum of 1"),
            (&["creel", "kill"], "\"kill\" requires a minimum of 1"),
            (&["creel", "kill", "a", "b", "c"], "\"kill\" requires a maximum of 2"),
        ] {
            assert_eq!(problem(argv), Problem::Count(format!("creel: {demand} argument(s)")));
        }
    }

    #[test]
    fn help_is_asked_for_in_four_ways() {
        assert_eq!(problem(&["creel", "--help"]), Problem::Help(None));
        assert_eq!(problem(&["creel", "run", "-h"]), Problem::Help(None));
        assert_eq!(problem(&["creel", "help", "run"]), Problem::Help(Some("run".into())));
        assert_eq!(problem(&["creel", "h"]), Problem::Help(None));
        assert_eq!(problem(&["creel", "update", "--help"]), Problem::Help(None));
        assert!(canonical(&["creel", "exec", "c1", "ls", "--help"]).ends_with(&["--help".into()]));
    }

    #[test]
    fn bytes_that_are_no_text_reach_the_program() {
        let path = OsString::from_vec(b"/tmp/\xff".to_vec());
        let argv = vec!["creel".into(), "run".into(), "-b".into(), path, "c1".into()];
        let (line, outcome) = read(&Cli::command(), argv);
        assert_eq!(outcome, Ok(()));
        assert_eq!(line.to_argv()[2].as_bytes(), b"--bundle=/tmp/\xff");
    }
}
