//! (domain capabilities)
