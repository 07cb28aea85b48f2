//! Checking hooks.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::spec::{Hook, Hooks};

/// The six lists, each in the order in which to run it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HooksPlan {
    /// In the runtime's namespaces, before `create_runtime`; deprecated, and much used.
    pub prestart: Vec<HookPlan>,
    /// In the runtime's namespaces, when the container's environment exists and before its root is pivoted into.
    pub create_runtime: Vec<HookPlan>,
    /// In the container's namespaces, before its root is pivoted into.
    pub create_container: Vec<HookPlan>,
    /// In the container, before its process is executed.
    pub start_container: Vec<HookPlan>,
    /// In the runtime's namespaces, after the process was executed.
    pub poststart: Vec<HookPlan>,
    /// In the runtime's namespaces, after the container was deleted.
    pub poststop: Vec<HookPlan>,
}

/// One hook.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HookPlan {
    /// The executable, absolute; in whose mount namespace depends on the list.
    pub path: String,
    /// From `argv[0]` on; never empty.
    pub args: Vec<String>,
    /// The whole environment, `NAME=value` each.
    pub env: Vec<String>,
    /// After how many seconds it is killed.
    pub timeout: Option<u64>,
}

/// Checks all hooks. Whether a path exists is only known when the hook runs, in the namespace where it runs.
///
/// # Errors
/// [`Kind::Invalid`](crate::error::Kind::Invalid), naming the field, for a path that is not absolute, a timeout that is
/// not positive, and a null byte in a string.
pub fn plan(hooks: &Hooks) -> Result<HooksPlan> {
    Ok(HooksPlan {
        prestart: list("prestart", &hooks.prestart)?,
        create_runtime: list("createRuntime", &hooks.create_runtime)?,
        create_container: list("createContainer", &hooks.create_container)?,
        start_container: list("startContainer", &hooks.start_container)?,
        poststart: list("poststart", &hooks.poststart)?,
        poststop: list("poststop", &hooks.poststop)?,
    })
}

impl HooksPlan {
    /// Whether there is one to run in the runtime's namespaces while the container is made.
    pub fn has_runtime_hooks(&self) -> bool {
        !self.prestart.is_empty() || !self.create_runtime.is_empty()
    }

    /// Whether there is one to run before a container is created, wherever.
    pub fn run_during_create(&self) -> bool {
        self.has_runtime_hooks() || !self.create_container.is_empty()
    }

    /// Gives `env` (the runtime's own, which runc lets them inherit) to the hooks that have none and run while the
    /// container is made.
    pub fn set_runtime_env(&mut self, env: &[String]) {
        for list in [&mut self.prestart, &mut self.create_runtime, &mut self.create_container] {
            set_default_env(list, env);
        }
    }
}

/// Gives `env` to each of `hooks` that has no environment.
///
/// runc does so: a hook without `env` inherits the runtime's own environment, or, as a startContainer hook, that of the
/// container's process. Existing hooks count on the `PATH` that they get that way.
pub fn set_default_env(hooks: &mut [HookPlan], env: &[String]) {
    for hook in hooks.iter_mut().filter(|hook| hook.env.is_empty()) {
        hook.env = env.to_vec();
    }
}

fn list(kind: &str, hooks: &[Hook]) -> Result<Vec<HookPlan>> {
    hooks
        .iter()
        .enumerate()
        .map(|(index, hook)| {
            one(hook).map_err(|(field, why)| Error::invalid(format!("hooks.{kind}[{index}].{field}"), why))
        })
        .collect()
}

/// A hook, or the field that is wrong and why.
fn one(hook: &Hook) -> Result<HookPlan, (&'static str, String)> {
    if !hook.path.starts_with('/') {
        return Err(("path", format!("\"{}\" is not an absolute path", hook.path)));
    }
    let timeout = match hook.timeout {
        Some(seconds) if seconds <= 0 => return Err(("timeout", format!("{seconds} is not greater than zero"))),
        timeout => timeout.map(i64::unsigned_abs),
    };
    let null = |strings: &[String]| strings.iter().any(|string| string.contains('\0'));
    for (field, wrong) in [("path", hook.path.contains('\0')), ("args", null(&hook.args)), ("env", null(&hook.env))] {
        if wrong {
            return Err((field, "must not contain a null byte".to_owned()));
        }
    }
    let args = if hook.args.is_empty() { vec![hook.path.clone()] } else { hook.args.clone() };
    Ok(HookPlan { path: hook.path.clone(), args, env: hook.env.clone(), timeout })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(json: &str) -> Result<HooksPlan> {
        plan(&serde_json::from_str(json).expect("hooks"))
    }

    #[test]
    fn each_list_keeps_its_order_and_its_place() {
        let lists = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
        let json = lists.map(|list| format!(r#""{list}":[{{"path":"/{list}1"}},{{"path":"/{list}2"}}]"#)).join(",");
        let plan = planned(&format!("{{{json}}}")).expect("plan");
        let paths = |hooks: &[HookPlan]| hooks.iter().map(|hook| hook.path.clone()).collect::<Vec<_>>();
        let got = [
            &plan.prestart,
            &plan.create_runtime,
            &plan.create_container,
            &plan.start_container,
            &plan.poststart,
            &plan.poststop,
        ];
        assert_eq!(got.map(|hooks| paths(hooks)), lists.map(|list| vec![format!("/{list}1"), format!("/{list}2")]));
    }

    #[test]
    fn a_hook_keeps_what_it_was_given() {
        let plan = planned(r#"{"prestart":[{"path":"/a","args":["b","c"],"env":["D=e"],"timeout":7},{"path":"/f"}]}"#);
        let strings = |list: &[&str]| list.iter().map(|&string| string.to_owned()).collect::<Vec<_>>();
        let first =
            HookPlan { path: "/a".into(), args: strings(&["b", "c"]), env: strings(&["D=e"]), timeout: Some(7) };
        let second = HookPlan { path: "/f".into(), args: strings(&["/f"]), env: vec![], timeout: None };
        assert_eq!(plan.expect("plan").prestart, [first, second]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            (r#"{"path":"hook"}"#, "hooks.poststop[1].path: \"hook\" is not an absolute path"),
            (r#"{}"#, "hooks.poststop[1].path: \"\" is not an absolute path"),
            (r#"{"path":"/h","timeout":0}"#, "hooks.poststop[1].timeout: 0 is not greater than zero"),
            (r#"{"path":"/h","timeout":-1}"#, "hooks.poststop[1].timeout: -1 is not greater than zero"),
            (r#"{"path":"/h\u0000"}"#, "hooks.poststop[1].path: must not contain a null byte"),
            (r#"{"path":"/h","args":["\u0000"]}"#, "hooks.poststop[1].args: must not contain a null byte"),
            (r#"{"path":"/h","env":["A=\u0000"]}"#, "hooks.poststop[1].env: must not contain a null byte"),
        ];
        for (hook, expected) in cases {
            let error = planned(&format!(r#"{{"poststop":[{{"path":"/ok"}},{hook}]}}"#)).expect_err(hook);
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_default_environment_goes_to_those_without_one() {
        let mut hooks = planned(r#"{"prestart":[{"path":"/a"},{"path":"/b","env":["X=1"]}]}"#).expect("plan").prestart;
        set_default_env(&mut hooks, &["PATH=/bin".to_owned()]);
        assert_eq!([&hooks[0].env, &hooks[1].env], [&["PATH=/bin"], &["X=1"]]);
    }
}
