//! Tells the program which compiler made it, for `build_info`.

use std::process::Command;

#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script in the environment which compiler it uses"
)]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=MOTET_COMMIT");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    let version = output
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok());
    let version = version
        .as_deref()
        .and_then(|text| text.split_whitespace().nth(1));
    println!(
        "cargo:rustc-env=MOTET_RUSTC={}",
        version.unwrap_or("unknown")
    );
}
