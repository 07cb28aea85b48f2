//! The command lines of the engines that call an OCI runtime, as they build them.

use std::path::Path;

use crate::cli::{self, Cli, Command, Parsed, Refused};
use crate::logging::LogOptions;

fn parse(line: &str) -> Parsed {
    cli::parse(line.split_whitespace().map(Into::into).collect())
}

fn command(line: &str) -> (Cli, Command) {
    let mut cli = parse(line).outcome.unwrap_or_else(|refused| panic!("{line}: {refused:?}"));
    let command = cli.command.take().expect("a command");
    (cli, command)
}

fn path(text: &str) -> Option<&Path> {
    Some(Path::new(text))
}

/// containerd's go-runc, on behalf of Docker and Kubernetes.
#[test]
fn go_runc() {
    let (cli, create) = command(
        "/usr/bin/creel --root /run/docker/runtime-runc/moby --log /run/c/log.json --log-format json --systemd-cgroup \
         create --bundle /run/c/abc --pid-file /run/c/abc/init.pid --console-socket /tmp/pty1/pty.sock \
         --preserve-fds 2 --no-pivot --no-new-keyring abc",
    );
    assert_eq!(cli.global.root.as_deref(), path("/run/docker/runtime-runc/moby"));
    assert!(cli.global.systemd_cgroup && !cli.global.debug);
    let Command::Create(create) = create else { panic!("{create:?}") };
    assert_eq!((create.id.as_str(), create.preserve_fds), ("abc", 2));
    assert_eq!(create.bundle.as_deref(), path("/run/c/abc"));
    assert_eq!(create.console_socket.as_deref(), path("/tmp/pty1/pty.sock"));
    assert_eq!(create.pid_file.as_deref(), path("/run/c/abc/init.pid"));
    assert!(create.no_pivot && create.no_new_keyring);

    let (_, exec) = command(
        "creel --root /r --log /l --log-format json exec --process /tmp/runc-process1 --console-socket /s --detach \
         --pid-file /p abc",
    );
    let Command::Exec(exec) = exec else { panic!("{exec:?}") };
    assert_eq!((exec.process.as_deref(), exec.console_socket.as_deref()), (path("/tmp/runc-process1"), path("/s")));
    assert!(exec.detach && !exec.tty && exec.args.is_empty());

    let (_, kill) = command("creel --root /r kill --all abc 9");
    let Command::Kill(kill) = kill else { panic!("{kill:?}") };
    assert_eq!((kill.all, kill.id.as_str(), kill.signal.as_deref()), (true, "abc", Some("9")));

    let (_, update) = command("creel --root /r update --resources=- abc");
    let Command::Update(update) = update else { panic!("{update:?}") };
    assert_eq!((update.resources.as_deref(), update.id.as_str()), (path("-"), "abc"));
    let (_, update) = command("creel update abc --memory-swap -1 --pids-limit=-1");
    let Command::Update(update) = update else { panic!("{update:?}") };
    assert_eq!((update.memory_swap.as_deref(), update.pids_limit.as_deref()), (Some("-1"), Some("-1")));

    let (_, delete) = command("creel --root /r delete --force abc");
    assert!(matches!(delete, Command::Delete(delete) if delete.force && delete.id == "abc"));
    let (_, ps) = command("creel --root /r ps --format json abc");
    assert!(matches!(ps, Command::Ps(ps) if ps.format == "json" && ps.args.is_empty()));
    let (_, list) = command("creel --root /r list --format=json");
    assert!(matches!(list, Command::List(list) if list.format == "json"));
    for name in ["start", "state", "pause", "resume"] {
        let (_, target) = command(&format!("creel --root /r {name} abc"));
        assert!(matches!(
            target,
            Command::Start(target) | Command::State(target) | Command::Pause(target) | Command::Resume(target)
            if target.id == "abc"
        ));
    }
    assert!(parse("creel --version").outcome.expect("valid").global.version);
    assert!(matches!(command("creel features").1, Command::Features));
}

/// conmon, on behalf of Podman and CRI-O.
#[test]
fn conmon() {
    let Parsed { log, outcome } = parse(
        "/usr/bin/creel --log-format=json --log=/run/oci-log --systemd-cgroup create --bundle /b --pid-file /b/pidfile \
         --console-socket /tmp/conmon-term.X --no-pivot --preserve-fds 1 0123abc",
    );
    assert_eq!(log, LogOptions { file: "/run/oci-log".into(), format: "json".into(), ..LogOptions::default() });
    let Some(Command::Create(create)) = outcome.expect("valid").command else { panic!("no create") };
    assert_eq!((create.id.as_str(), create.preserve_fds, create.no_pivot), ("0123abc", 1, true));

    let (_, exec) = command("creel exec --pid-file /p --process /proc.json --tty --detach --console-socket /s 0123abc");
    let Command::Exec(exec) = exec else { panic!("{exec:?}") };
    assert!(exec.tty && exec.detach && exec.id == "0123abc");
}

/// Podman and CRI-O without conmon.
#[test]
fn podman_and_cri_o() {
    let (cli, _) = command("/usr/bin/creel --root /run/creel --systemd-cgroup start 0123abc");
    assert!(cli.global.systemd_cgroup);
    let (_, kill) = command("creel kill 0123abc 15");
    assert!(matches!(kill, Command::Kill(kill) if kill.signal.as_deref() == Some("15") && !kill.all));
    let (cli, state) = command("creel --rootless=true state 0123abc");
    assert!(matches!(state, Command::State(_)));
    assert_eq!(cli.global.rootless.as_deref(), Some("true"));
    let (_, exec) = command("creel exec --cwd / -e A=1 --env B=2 -u 0:0 -g 5 -g 6 -c CAP_KILL 0123abc sh -c true");
    let Command::Exec(exec) = exec else { panic!("{exec:?}") };
    assert_eq!((&exec.env[..], &exec.additional_gids[..]), (&["A=1".to_owned(), "B=2".to_owned()][..], &[5, 6][..]));
    assert_eq!((exec.args.join(" ").as_str(), exec.cap.len(), exec.user.as_deref()), ("sh -c true", 1, Some("0:0")));
}

#[test]
fn people() {
    let (cli, run) = command("creel --debug --criu criu run -b bundle -d --keep --no-subreaper --pidfd-socket /s c1");
    assert!(cli.global.debug);
    let Command::Run(run) = run else { panic!("{run:?}") };
    assert!(run.detach && run.keep && run.create.no_subreaper);
    assert_eq!((run.create.bundle.as_deref(), run.create.pidfd_socket.as_deref()), (path("bundle"), path("/s")));

    let (_, kill) = command("creel kill c1");
    assert!(matches!(kill, Command::Kill(kill) if kill.signal.is_none()));
    let (_, ps) = command("creel ps c1 -o pid,comm");
    assert!(matches!(ps, Command::Ps(ps) if ps.args == ["-o", "pid,comm"]));
    let (_, spec) = command("creel spec --rootless -b dir");
    assert!(matches!(spec, Command::Spec(spec) if spec.rootless && spec.bundle.as_deref() == path("dir")));
    let (_, exec) = command("creel exec --no-new-privs=false --ignore-paused --cgroup cpu,cpuacct:sub c1 id");
    let Command::Exec(exec) = exec else { panic!("{exec:?}") };
    assert_eq!((exec.no_new_privs, exec.ignore_paused, exec.cgroup.len()), (Some(false), true, 1));
}

#[test]
fn paths_that_are_empty_are_not_given() {
    let argv = ["creel", "--root", "", "run", "--bundle=", "--pid-file", "", "c1"];
    let cli = cli::parse(argv.map(Into::into).to_vec()).outcome.expect("valid");
    let Some(Command::Run(run)) = cli.command else { panic!("no run") };
    assert_eq!((cli::given(&run.create.bundle), cli::given(&run.create.pid_file)), (None, None));
}

#[test]
fn commands_of_later_issues_are_known() {
    for line in ["creel update --memory 1 c1", "creel events --stats c1", "creel checkpoint c1", "creel restore c1"] {
        command(line);
    }
}

#[test]
fn a_wrong_value_names_its_flag() {
    let refused = parse("creel run --preserve-fds many c1").outcome.expect_err("not a number");
    let Refused::Usage { heading, message, help } = refused else { panic!("{refused:?}") };
    assert!(message.starts_with("invalid value \"many\" for flag -preserve-fds"), "{message}");
    assert_eq!(heading, format!("Incorrect Usage: {message}"));
    assert!(help.contains("--preserve-fds <N>"), "{help}");
}

#[test]
fn the_log_is_known_even_if_the_rest_is_wrong() {
    let Parsed { log, outcome } = parse("creel --log /l --log-format=json --debug run --nope c1");
    assert_eq!(log, LogOptions { file: "/l".into(), format: "json".into(), debug: true, ..LogOptions::default() });
    assert!(matches!(outcome, Err(Refused::Usage { .. })));
}

#[test]
fn help_shows_what_a_user_can_give() {
    let help = |line: &str| match parse(line).outcome {
        Err(Refused::Help(help)) => help,
        other => panic!("{line}: {other:?}"),
    };
    let overview = help("creel --help");
    for name in ["create", "start", "state", "kill", "delete", "run", "exec", "list", "ps", "spec", "features"] {
        assert!(overview.contains(&format!("\n  {name} ")), "{name} in {overview}");
    }
    assert!(!overview.contains("checkpoint") && !overview.contains("--criu"), "{overview}");
    assert!(help("creel exec -h").contains("--additional-gids"));
    assert!(help("creel help kill").contains("<container-id>"));
    assert_eq!(parse("creel help nope").outcome.expect_err("no topic"), Refused::NoTopic("nope".into()));
}
