//! The scenarios: who sends what when, and what counts as one operation.

mod echo;
mod fan_out;
mod http;
mod pairs;

pub use echo::Echo;
pub use fan_out::{FanOut, Publisher, Reader};
pub use http::{HttpLoad, Pace};
pub use pairs::Pairs;
