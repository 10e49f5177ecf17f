//! Configuration: where a value comes from, what it may be, and what the rest of the program sees.
//!
//! Lowest to highest: built-in defaults, `HARPER_DEFAULT_CONFIG`, the file, environment variables
//! (`HTTP_PORT`), the command line (`--HTTP_PORT 9930`), `HARPER_SET_CONFIG`. A wrong value stops the start; an
//! unknown key is reported with the nearest known one and otherwise ignored.

mod checked;
pub mod file;
mod load;
mod names;
mod yaml;

pub use self::checked::{Config, Cors, Mode, Mtls, Tls, TlsSource};
pub use self::load::{ConfigError, Sources, load};
