//! (domain namespaces)
