//! Programs that the tests run against and Go builds: from `PATH`, from a cache folder, or built
//! there once.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the program `name` is; builds `package` where it is not, whatever Go calls that.
pub async fn executable(name: &'static str, package: &'static str) -> PathBuf {
    let mut version = Command::new(name);
    version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    if version.status().is_ok_and(|status| status.success()) {
        return name.into();
    }
    let bin = cache().join("bin");
    let program = bin.join(name);
    if !program.exists() {
        tokio::task::spawn_blocking(move || build(&bin, name, package)).await.unwrap();
    }
    program
}

/// The folder for what the tests need and get once.
pub fn cache() -> PathBuf {
    let cache = std::env::var_os("GATEHOUSE_CACHE")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/gatehouse")));
    cache.expect("HOME or GATEHOUSE_CACHE is set")
}

/// Builds it, one process at a time; what another has built meanwhile is taken.
fn build(bin: &Path, name: &str, package: &str) {
    std::fs::create_dir_all(bin).expect("a cache folder");
    let lock = File::create(bin.join(format!("{name}.lock"))).expect("a lock file");
    lock.lock().expect("a lock");
    if bin.join(name).exists() {
        return;
    }
    let _ = writeln!(std::io::stderr(), "building {name} once, up to five minutes ...");
    // Into a folder of its own, so that half a program is never taken for a whole one.
    let fresh = tempfile::tempdir_in(bin).expect("a folder to build into");
    let mut go = Command::new("go");
    go.args(["install", package]).env("GOBIN", fresh.path()).env("CGO_ENABLED", "0");
    let built = go.status().is_ok_and(|status| status.success());
    assert!(
        built,
        "the tests need {name}: put it on PATH, or install Go so that they can build it"
    );
    // Go names it after the package's last part.
    let (path, _version) = package.rsplit_once('@').expect("a package with its version");
    let made = path.rsplit('/').next().expect("a last part");
    std::fs::rename(fresh.path().join(made), bin.join(name)).expect("move it into place");
}
