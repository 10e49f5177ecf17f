//! `motet-bench`: the program behind `cargo xtask bench`, which builds everything first.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::Parser;
use motet_benches::cases::{self, Case, Lab};
use motet_benches::cpu::Layout;
use motet_benches::peers::Own;
use motet_benches::{quick, report};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Motet against its peers.
#[derive(Debug, Parser)]
struct Arguments {
    /// Names of cases, or beginnings of them; all when none is given.
    cases: Vec<String>,
    /// Instructions for one operation against the baseline; fails above 10 %.
    #[arg(long)]
    quick: bool,
    /// With --quick: make what was counted the baseline.
    #[arg(long, requires = "quick")]
    accept: bool,
    /// Names and titles of all cases.
    #[arg(long)]
    list: bool,
    /// How often every contestant is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Be one of the servers that are compared with.
    #[arg(long, hide = true)]
    serve: Option<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if let Some(name) = &arguments.serve {
        let Some(own) = Own::named(name) else {
            bail!("no server is called {name:?}");
        };
        return own.serve();
    }
    if arguments.list {
        for case in cases::ALL {
            println!("{:<22} {}", case.name, case.title);
        }
        return Ok(());
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    if arguments.quick {
        let counts = quick::count(&Layout::detect()?)?;
        let baseline = directory.join("baseline.json");
        return match arguments.accept {
            true => quick::accept(&counts, &baseline),
            false => quick::compare(&counts, &baseline),
        };
    }
    full(arguments, directory)
}

fn full(arguments: &Arguments, directory: &Path) -> Result<()> {
    ensure!(arguments.rounds > 0, "--rounds: at least 1");
    ensure!(
        (0.05..=600.0).contains(&arguments.seconds),
        "--seconds: from 0.05 to 600"
    );
    let chosen = choose(&arguments.cases)?;
    let results = directory.join("results");
    std::fs::create_dir_all(&results)?;
    let lab = Lab::new(arguments.rounds, Duration::from_secs_f64(arguments.seconds))?;
    let mut failed = Vec::new();
    for (number, case) in chosen.iter().enumerate() {
        eprintln!("[{}/{}] {}", number + 1, chosen.len(), case.name);
        let start = Instant::now();
        match case.run(&lab) {
            Ok(outcome) => {
                println!("{}", report::text(case, &outcome));
                report::write_json(&results, case, &outcome, &lab)?;
            }
            Err(error) => {
                eprintln!("{}: {error:#}", case.name);
                failed.push(case.name);
            }
        }
        eprintln!("  {:.0} s", start.elapsed().as_secs_f64());
    }
    report::write_summary(&results, &directory.join("../README.md"))?;
    ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
    Ok(())
}

fn choose(names: &[String]) -> Result<Vec<&'static Case>> {
    if names.is_empty() {
        return Ok(cases::ALL.iter().collect());
    }
    let mut chosen: Vec<&Case> = Vec::new();
    for name in names {
        // A whole name is that case alone, even where it begins others.
        let exact = cases::ALL.iter().find(|case| case.name == name);
        let found: Vec<&Case> = match exact {
            Some(case) => vec![case],
            None => cases::ALL
                .iter()
                .filter(|case| case.name.starts_with(name.as_str()))
                .collect(),
        };
        ensure!(
            !found.is_empty(),
            "no case begins with {name:?}; --list names all"
        );
        chosen.extend(found);
    }
    Ok(chosen)
}
