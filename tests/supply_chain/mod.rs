//! What Cargo.lock brings in: no version with a known fault, nothing that deny.toml bans, from
//! nowhere but crates.io, and under licences that deny.toml allows. Asked of files that are here, so
//! without a network; `cargo deny check` asks the database of today.

mod licences;

use std::fs;
use std::path::Path;
use std::process::Command;

use semver::{Version, VersionReq};
use serde::Deserialize;

/// Where packages may come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: Version,
    source: Option<String>,
    checksum: Option<String>,
}

#[derive(Deserialize)]
struct Advisories {
    advisory: Vec<Advisory>,
}

/// A fault, of all versions that are not good.
#[derive(Deserialize)]
struct Advisory {
    #[serde(rename = "crate")]
    name: String,
    id: String,
    good: Vec<VersionReq>,
    why: String,
}

#[derive(Deserialize)]
struct Deny {
    bans: Bans,
    licenses: Licences,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

/// A crate, of which perhaps some versions only: `h2:<0.4`.
#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    spec: String,
    reason: String,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
}

fn text(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect(name)
}

fn packages() -> Vec<Package> {
    let lock: Lock = toml::from_str(&text("Cargo.lock")).unwrap();
    assert!(lock.package.len() > 100, "Cargo.lock was not read");
    lock.package
}

fn deny() -> Deny {
    toml::from_str(&text("deny.toml")).unwrap()
}

fn advisories() -> Vec<Advisory> {
    let read: Advisories = toml::from_str(&text("tests/supply_chain/advisories.toml")).unwrap();
    assert!(read.advisory.len() > 100, "advisories.toml was not read");
    read.advisory
}

impl Advisory {
    fn is_of(&self, package: &Package) -> bool {
        self.name == package.name && !self.good.iter().any(|good| good.matches(&package.version))
    }
}

impl Ban {
    fn is_of(&self, package: &Package) -> bool {
        let (name, versions) = self.spec.split_once(':').unwrap_or((&self.spec, "*"));
        let versions: VersionReq = versions.parse().expect(&self.spec);
        // Of the pre-releases of a version that is banned, too.
        let mut release = package.version.clone();
        release.pre = semver::Prerelease::EMPTY;
        name == package.name && (versions.matches(&release) || versions.matches(&package.version))
    }
}

/// What is wrong with these packages.
fn faults(packages: &[Package]) -> Vec<String> {
    let (advisories, bans) = (advisories(), deny().bans.deny);
    let mut faults = Vec::new();
    for package in packages {
        let Package { name, version, source, checksum } = package;
        let known = advisories.iter().filter(|advisory| advisory.is_of(package));
        faults.extend(known.map(|a| format!("{name} {version}: {} {}", a.id, a.why)));
        let banned = bans.iter().filter(|ban| ban.is_of(package));
        faults.extend(banned.map(|ban| format!("{name} {version} is banned: {}", ban.reason)));
        match source.as_deref() {
            None if name == "gatehouse" => {}
            Some(REGISTRY) if checksum.is_some() => {}
            source => faults.push(format!("{name} {version} is from {source:?}")),
        }
    }
    faults
}

#[test]
fn no_known_bad_version_is_locked() {
    assert_eq!(faults(&packages()), Vec::<String>::new());
}

#[test]
fn known_bad_versions_are_found() {
    let package = |name: &str, version: &str| Package {
        name: name.into(),
        version: version.parse().unwrap(),
        source: Some(REGISTRY.into()),
        checksum: Some("made up".into()),
    };
    let cases = [
        ("h2", "0.4.15", "RUSTSEC-2026-0258"),
        ("h2", "0.3.27", "the 0.3 line"),
        ("tokio", "1.44.1", "RUSTSEC-2025-0023"),
        ("rustls", "0.23.4", "RUSTSEC-2024-0336"),
        ("rustls", "0.21.12", "not maintained"),
        ("aws-lc-sys", "0.38.0", "RUSTSEC-2026-0044"),
        ("openssl", "0.10.80", "TLS is rustls"),
        ("rsa", "0.9.9", "RUSTSEC-2023-0071"),
        ("sqlx", "0.8.0", "RUSTSEC-2024-0363"),
    ];
    for (name, version, told) in cases {
        let faults = faults(&[package(name, version)]);
        assert!(faults.iter().any(|fault| fault.contains(told)), "{name} {version}: {faults:?}");
    }
    assert!(faults(&[package("h2", "0.4.16"), package("tokio", "1.43.1")]).is_empty());
    let from_elsewhere =
        Package { source: Some("git+https://example.com/x".into()), ..package("x", "1.0.0") };
    assert_eq!(faults(&[from_elsewhere]).len(), 1);
}

/// All that is built for this machine, with all features, by cargo itself.
fn metadata() -> serde_json::Value {
    let cargo = || Command::new(env!("CARGO"));
    let host = Command::new("rustc").arg("-vV").output().expect("rustc runs").stdout;
    let host = String::from_utf8(host).unwrap();
    let host =
        host.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host").to_owned();
    let mut command = cargo();
    command.args(["metadata", "--offline", "--locked", "--all-features", "--format-version=1"]);
    command.args(["--filter-platform", &host]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
