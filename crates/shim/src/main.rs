//! containerd-shim-creel-v2; all of it is the library, which fuzz targets can reach.

use std::process::ExitCode;

fn main() -> ExitCode {
    creel_shim::main()
}
