//! An issuer by the real npm `jose`, installed once into the cache folder.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::once;

const VERSION: &str = "6.2.18";

/// A running issuer; it ends with the test.
pub struct Jose {
    child: Child,
    told: Value,
}

impl Jose {
    /// Starts one; fails where there is no Node.js.
    pub async fn start() -> Self {
        tokio::task::spawn_blocking(|| {
            let mut node = Command::new("node");
            node.args(["--input-type=module", "--eval", include_str!("jose.mjs")]);
            // Modules are looked for from here.
            node.current_dir(once::folder(&format!("jose-{VERSION}"), install))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped());
            let mut child = node.spawn().expect("node runs; install Node.js to run the tests");
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            let told = serde_json::from_str(&line).expect("what the issuer signed");
            Self { child, told }
        })
        .await
        .unwrap()
    }

    /// Where its keys are.
    pub fn url(&self) -> &str {
        self.told["url"].as_str().unwrap()
    }

    /// A token that it signed.
    pub fn token(&self, name: &str) -> &str {
        self.told["tokens"][name].as_str().unwrap_or_else(|| panic!("no token {name}"))
    }
}

impl Drop for Jose {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn install(folder: &Path) {
    std::fs::write(folder.join("package.json"), "{}").unwrap();
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", &format!("jose@{VERSION}")]);
    npm.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
    let installed = npm.status().is_ok_and(|status| status.success());
    assert!(installed, "the tests need npm's jose {VERSION}: install Node.js and npm");
}
