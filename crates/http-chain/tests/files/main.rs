//! Static files and served content, as a client sees them.
#![cfg(feature = "files")]

mod content;
mod options;
mod site;
mod sockets;
mod support;
