//! (domain cgroups)
