//! A server program beside the tests, in a folder of its own. It ends with the test process,
//! however that ends.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Keeps the program from outliving the tests: it waits for the end of its input, which comes
/// when the test process is gone, and then ends it and removes the folder, unless told to keep it.
const SCRIPT: &str = r#"
trap '' INT TERM
folder=$1 signal=$2; shift 2
"$@" </dev/null >"$folder/log" 2>&1 &
read -r word
kill -"$signal" $!
wait
[ "$word" = keep ] || rm -rf "$folder"
"#;

/// A folder, and the program that runs in it now, if one does. Dropped, both are gone.
pub struct Guard {
    folder: PathBuf,
    child: Option<Child>,
}

impl Guard {
    /// A fresh folder, and nothing that runs yet.
    pub fn new(prefix: &str) -> Self {
        let folder = tempfile::Builder::new().prefix(prefix).tempdir().unwrap().keep();
        Self { folder, child: None }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs a program with no environment but `PATH`, the folder as `HOME` and what is given. It
    /// will be ended by this signal.
    pub fn run<S: AsRef<OsStr>>(&mut self, signal: &str, command: &[S], env: &[(&str, &str)]) {
        assert!(self.child.is_none(), "it runs already");
        let mut guard = Command::new("sh");
        guard.args(["-c", SCRIPT, "guard"]).arg(&self.folder).arg(signal).args(command);
        guard.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        guard.env("HOME", &self.folder).envs(env.iter().copied()).current_dir(&self.folder);
        guard.stdin(Stdio::piped()).stdout(Stdio::null());
        self.child = Some(guard.spawn().expect("sh runs"));
    }

    /// What the program has said since it was last started.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Ends the program and waits until it is gone; the folder stays.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("a running program");
        let mut guard = child.stdin.take().expect("a guard that listens");
        guard.write_all(b"keep\n").expect("a guard that listens");
        drop(guard);
        child.wait().unwrap();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.stdin.take());
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
