//! Hooks (config.md "POSIX-platform Hooks"): programs that the runtime runs at fixed points of a container's life.

mod apply;
mod output;
mod outputs;
mod plan;
mod state;

pub use apply::{Setting, run, run_all};
pub use outputs::Outputs;
pub use plan::{HookPlan, HooksPlan, plan, set_default_env};
pub use state::HookState;

#[cfg(test)]
mod tests;
