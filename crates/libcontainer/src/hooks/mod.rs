//! Hooks (config.md "POSIX-platform Hooks"): programs that the runtime runs at fixed points of a container's life.

mod apply;
mod output;
mod plan;

pub use apply::{run, run_all};
pub use plan::{HookPlan, HooksPlan, plan, set_default_env};

#[cfg(test)]
mod tests;
