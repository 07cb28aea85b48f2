//! Naming a process in a message.

use super::read_file;

/// A process by its pid, its name and what it does, as far as it is still there: `process 7 (cat, state D)`. The state
/// is the letter of proc_pid_stat(5): D waits in the kernel, and not even SIGKILL wakes it.
pub fn describe_process(pid: i32) -> String {
    let text = read_file(format!("/proc/{pid}/stat")).unwrap_or_default();
    match parse(&String::from_utf8_lossy(&text)) {
        Some((name, state)) => format!("process {pid} ({name}, state {state})"),
        None => format!("process {pid}"),
    }
}

/// The second field is in parentheses and may hold anything, parentheses and spaces among it.
fn parse(stat: &str) -> Option<(&str, char)> {
    let (before, after) = stat.rsplit_once(") ")?;
    Some((before.split_once('(')?.1, after.chars().next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_named_with_its_state() {
        assert_eq!(parse("7 (a) R (b) D 1 7"), Some(("a) R (b", 'D')));
        let own = describe_process(rustix::process::getpid().as_raw_pid());
        assert!(own.contains(", state "), "{own}");
        assert_eq!(describe_process(i32::MAX), format!("process {}", i32::MAX));
    }
}
