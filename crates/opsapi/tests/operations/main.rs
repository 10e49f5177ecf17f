//! The Operations API through a chain, on databases in memory: one table of requests for each operation.

mod backup;
mod components;
mod describe;
mod fixture;
mod jobs;
mod memory;
mod permission;
mod read;
mod services;
mod structure;
mod system;
mod transport;
mod users;
mod write;
