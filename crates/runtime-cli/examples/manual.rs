//! Writes the man pages and the completions of `creel` from its command-line definition:
//! `cargo run --example manual -- DIRECTORY`. They are made when they are installed (`make man`); the program itself
//! carries nothing of this.
#![allow(missing_docs)]

#[allow(dead_code)]
#[path = "../src/argv.rs"]
mod argv;
#[allow(dead_code)]
#[path = "../src/cli/mod.rs"]
mod cli;
#[allow(dead_code)]
#[path = "../src/duration.rs"]
mod duration;
#[allow(dead_code)]
#[path = "../src/logging/mod.rs"]
mod logging;

use std::fs;
use std::io::{Error, Write};
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

/// System administration commands, as runc's pages are.
const SECTION: &str = "8";

/// What the pages say beyond the definition, as roff.
const FILES: &str = "\
.SH FILES
.TP
.I /run/creel
The state of the containers; \\fB$XDG_RUNTIME_DIR/creel\\fR for other users than root, unless \\fB\\-\\-root\\fR names another.
.TP
.I config.json
What a container is to be, in the bundle's directory: the OCI runtime specification describes it.
";
const STATUS: &str = ".SH EXIT STATUS\n0 if it succeeded, 1 if it failed.\n";
const STATUS_OF_PROGRAM: &str =
    ".SH EXIT STATUS\n0 if the command succeeded, 1 if it failed, 3 if there is no such command.\n";
const STATUS_OF_RUN: &str = "\
.SH EXIT STATUS
That of the process, or 128 and the number of the signal that ended it; 1 if it was not run. With \\fB\\-\\-detach\\fR, 0 if
it was started.
";
const STATUS_OF_EXEC: &str = "\
.SH EXIT STATUS
That of the process, or 128 and the number of the signal that ended it; 255 if it was not executed, 1 if the command line
is wrong. With \\fB\\-\\-detach\\fR, 0 if it was started.
";

fn main() -> Result<(), Error> {
    let directory = std::env::args_os().nth(1).ok_or_else(|| Error::other("usage: manual DIRECTORY"))?;
    let directory = Path::new(&directory);
    write_pages(&directory.join("man8"))?;
    write_completions(&directory.join("completions"))
}

/// The definition as a reader should see it: the version as on other pages, and no entry for `help`, which each has.
fn definition() -> Command {
    let mut definition = cli::Cli::command().version(env!("CARGO_PKG_VERSION")).disable_help_subcommand(true);
    definition.build();
    definition
}

fn write_pages(directory: &Path) -> Result<(), Error> {
    fs::create_dir_all(directory)?;
    let definition = definition();
    let names: Vec<String> = definition
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|c| c.get_name().to_owned())
        .collect();
    write_page(directory, definition.clone(), &[FILES, STATUS_OF_PROGRAM, &see_also(&names)].concat())?;
    for name in &names {
        let Some(command) = definition.find_subcommand(name) else { continue };
        let status = match name.as_str() {
            "run" => STATUS_OF_RUN,
            "exec" => STATUS_OF_EXEC,
            _ => STATUS,
        };
        write_page(directory, command.clone(), &format!("{status}.SH SEE ALSO\n.BR creel (8)\n"))?;
    }
    Ok(())
}

fn see_also(names: &[String]) -> String {
    let pages: Vec<_> = names.iter().map(|name| format!(".BR creel\\-{name} (8)")).collect();
    format!(".SH SEE ALSO\n{}\n", pages.join(",\n"))
}

fn write_page(directory: &Path, command: Command, more: &str) -> Result<(), Error> {
    let page = Man::new(command.disable_version_flag(true)).section(SECTION);
    let name = page.get_filename();
    let title = name.trim_end_matches(&format!(".{SECTION}")).replace('-', "\\-");
    let mut file = fs::File::create(directory.join(&name))?;
    // Ours, since clap_mangen leaves out what is empty: a page that is built at any time has no date.
    let version = env!("CARGO_PKG_VERSION");
    writeln!(file, ".TH {title} {SECTION} \"\" \"creel {version}\" \"creel's manual\"")?;
    page.render_name_section(&mut file)?;
    page.render_synopsis_section(&mut file)?;
    page.render_description_section(&mut file)?;
    page.render_options_section(&mut file)?;
    if !title.contains('-') {
        page.render_subcommands_section(&mut file)?;
    }
    file.write_all(more.as_bytes())
}

fn write_completions(directory: &Path) -> Result<(), Error> {
    fs::create_dir_all(directory)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut definition(), "creel", directory)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command as Program;

    use super::*;

    /// Writes all of it to a directory that goes away with `f`.
    fn written(name: &str, f: impl FnOnce(&Path)) {
        let directory = std::env::temp_dir().join(format!("creel-manual-{name}-{}", std::process::id()));
        write_pages(&directory.join("man8")).expect("pages");
        write_completions(&directory.join("completions")).expect("completions");
        f(&directory);
        fs::remove_dir_all(&directory).expect("removed");
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn shown(command: &Command) -> impl Iterator<Item = &str> {
        command.get_opts().filter(|arg| !arg.is_hide_set()).filter_map(|arg| arg.get_long())
    }

    #[test]
    fn every_command_and_flag_is_in_the_pages_and_completions() {
        written("all", |directory| {
            let completions =
                ["creel.bash", "_creel", "creel.fish"].map(|name| read(&directory.join("completions").join(name)));
            let definition = definition();
            let visible: Vec<_> = definition.get_subcommands().filter(|command| !command.is_hide_set()).collect();
            assert!(visible.len() >= 15);
            for command in visible {
                let page = read(&directory.join(format!("man8/creel-{}.8", command.get_name())));
                assert!(page.starts_with(".TH creel\\-"), "{page}");
                for flag in shown(command) {
                    assert!(page.contains(&format!("\\-\\-{}", flag.replace('-', "\\-"))), "{flag} in {page}");
                    assert!(completions.iter().all(|text| text.contains(flag)), "{flag}");
                }
            }
        });
    }

    #[test]
    fn bash_completes_commands_and_flags() {
        written("bash", |directory| {
            let complete = |words: &str| {
                let script = "source \"$1\"; COMP_WORDS=($2); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); \
                              _creel creel \"${COMP_WORDS[-1]}\" \"${COMP_WORDS[-2]}\"; echo \"${COMPREPLY[@]}\"";
                let file = directory.join("completions/creel.bash");
                let output = Program::new("bash").args(["-c", script, "bash"]).arg(file).arg(words).output();
                String::from_utf8(output.expect("bash runs").stdout).expect("text").trim().to_owned()
            };
            assert_eq!(complete("creel del"), "delete");
            assert_eq!(complete("creel kill --re"), "--regex");
            assert_eq!(complete("creel exec --pre"), "--preserve-fds");
        });
    }
}
