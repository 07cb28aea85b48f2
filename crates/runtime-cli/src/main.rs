//! creel: an OCI runtime on the command line of runc.

fn main() {}
