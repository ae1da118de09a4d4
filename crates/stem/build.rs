//! What `stem --version` says: the version, the commit where it is known, and the devices that are compiled in.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=STEM_COMMIT");
    let version = env::var("CARGO_PKG_VERSION").expect("cargo sets it");
    let commit = env::var("STEM_COMMIT").ok().or_else(checked_out).filter(|commit| !commit.is_empty());
    let commit = commit.map_or(String::new(), |commit| format!("commit {commit}; "));
    let compiled = |name: &&str| env::var_os(format!("CARGO_FEATURE_{}", name.to_uppercase())).is_some();
    let devices: Vec<&str> = ["flex", "ndarray", "wgpu"].into_iter().filter(compiled).collect();
    let devices = if devices.is_empty() { "none".to_string() } else { devices.join(", ") };
    println!("cargo::rustc-env=STEM_VERSION={version} ({commit}devices: {devices})");
}

/// The commit of the checkout that this package is a part of; nothing in a copy of the package alone.
fn checked_out() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok().map(|text| text.trim().to_string())
    };
    git(&["ls-files", "--error-unmatch", "Cargo.toml"])?;
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short", "HEAD"])
}
