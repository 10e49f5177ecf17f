//! The directory on tables in memory.

mod credentials;
mod directory;
mod memory;
