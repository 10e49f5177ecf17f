//! Event streams of a table in memory: without a socket, and over a real one.

mod channel;
mod custom;
mod hostile;
mod network;
mod stream;
mod support;
