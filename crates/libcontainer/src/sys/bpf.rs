//! bpf(2): device filters of cgroup v2.
