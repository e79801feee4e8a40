//! The real curl, as a person would call it.

use std::path::Path;
use std::process::Command;

/// What curl printed and how it ended.
pub struct Outcome {
    pub code: i32,
    /// The status of the response, as curl saw it.
    pub status: u16,
    pub body: String,
}

/// Runs curl in a folder with these arguments; fails where there is no curl.
pub async fn curl(folder: &Path, arguments: &[&str]) -> Outcome {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "30", "--write-out", "\n%{http_code}"]);
    command.args(arguments).current_dir(folder).env_remove("http_proxy").env("NO_PROXY", "*");
    // Elsewhere than on the test's own thread, which may be the upstream's as well.
    let run = tokio::task::spawn_blocking(move || command.output());
    let output = run.await.unwrap().expect("curl runs; install curl to run the tests");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
    Outcome {
        code: output.status.code().unwrap_or(-1),
        status: status.parse().unwrap_or(0),
        body: body.to_owned(),
    }
}

/// The options that this curl knows.
pub async fn help(folder: &Path) -> String {
    curl(folder, &["--help", "all"]).await.body
}
