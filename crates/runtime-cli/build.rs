//! Bakes into the binary what `--version` and `features` tell: the commit and the compiler.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    // Without git, or outside a repository (a source archive), there is no commit to tell.
    let commit = output("git", &["rev-parse", "--verify", "HEAD"]).unwrap_or_default();
    for name in ["HEAD", "logs/HEAD"] {
        let path = output("git", &["rev-parse", "--git-path", name]).map(PathBuf::from);
        if let Some(path) = path.filter(|path| path.exists()) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=CREEL_COMMIT={commit}");

    // "rustc 1.95.0 (f2d3ce0bd 2026-03-21)"
    let compiler = std::env::var("RUSTC").ok().and_then(|rustc| output(&rustc, &["--version"])).unwrap_or_default();
    println!("cargo::rustc-env=CREEL_RUSTC={}", compiler.split(' ').nth(1).unwrap_or("unknown"));
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
