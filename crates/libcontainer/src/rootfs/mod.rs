//! (domain rootfs)
