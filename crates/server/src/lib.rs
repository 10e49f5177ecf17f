//! The composition of the Motet crates into one server; the only crate that knows all of them.
//!
//! [`cli`] reads the command line, [`config`] the settings, [`compose`] opens the store, builds one chain for each
//! port, starts the workers and drains them; [`application`] loads application directories. There is no protocol
//! logic here.
#![forbid(unsafe_code)]

pub mod application;
pub mod certificates;
pub mod chains;
pub mod cli;
pub mod compose;
pub mod config;
pub mod edge;
pub mod health;
pub mod identity;
pub mod listeners;
mod local;
pub mod logs;
pub mod metrics;
mod monitoring;
pub mod mqtt;
mod operations;
pub mod restart;
pub mod root;
