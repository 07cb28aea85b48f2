//! The shim's program, as containerd starts it and talks to it.

#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout)] // clippy.toml's exemption does not reach helpers

mod common;
mod ends;
mod events;
mod rootfs;
mod rpc;
mod security;
mod streams;
