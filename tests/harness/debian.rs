//! Programs that Debian has: from where they are, or installed from there, which only root may.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};

use super::golang;

/// Sees to it that what this package brings is there.
pub fn need(package: &str, there: impl Fn() -> bool) {
    if there() {
        return;
    }
    std::fs::create_dir_all(golang::cache()).expect("a cache folder");
    let lock = File::create(golang::cache().join("apt.lock")).expect("a lock file");
    lock.lock().expect("a lock");
    if !there() {
        let _ = writeln!(std::io::stderr(), "installing {package} once ...");
        let installed =
            apt_get(&["update"]) && apt_get(&["install", "-y", "--no-install-recommends", package]);
        assert!(installed, "the tests need {package}: apt-get install {package}, as root");
    }
}

fn apt_get(arguments: &[&str]) -> bool {
    let mut command = Command::new("apt-get");
    command.args(["-qq", "-o", "DPkg::Lock::Timeout=300"]).args(arguments);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
