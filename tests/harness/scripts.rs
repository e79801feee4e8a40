//! The scripts of `tests/clients`, each a real client: it takes jobs, a line of JSON each, and
//! tells by such a line what became of them. Their packages are installed once into the cache folder.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::text::sha256;
use super::{debian, once};

/// Files by name, and what is in them.
type Files = &'static [(&'static str, &'static str)];

macro_rules! files {
    ($($name:literal),+) => { &[$(($name, include_str!(concat!("../clients/", $name)))),+] };
}

const NPM: Files = files![
    "package.json",
    "package-lock.json",
    "uppy5/package.json",
    "uppy5/index.js",
    "uppy6/package.json",
    "uppy6/index.js"
];
const PIP: Files = files!["requirements.txt"];
const NODE: Files = files!["browser.mjs", "docs.mjs", "page.mjs", "tus.mjs"];
const PYTHON: Files = files!["tus.py", "verify.py"];
/// What checks files for Kubernetes and compose.
const CHECKERS: Files = &[("requirements.txt", include_str!("../deploy/requirements.txt"))];
/// What verifies webhooks in node.
const VERIFIER_NPM: Files = &[
    ("package.json", include_str!("../clients/webhooks/package.json")),
    ("package-lock.json", include_str!("../clients/webhooks/package-lock.json")),
];
const VERIFIER: Files = files!["verify.mjs"];

/// What reads the API's description.
const OPENAPI_PIP: Files = &[("requirements.txt", include_str!("../openapi/requirements.txt"))];

/// A running script; it ends when it is dropped, or with the test process.
pub struct Script {
    child: Child,
    jobs: Option<ChildStdin>,
    told: BufReader<ChildStdout>,
    /// Whether it goes on until it is killed.
    serves: bool,
}

impl Script {
    /// Starts one of the scripts for node.
    pub fn node(name: &str) -> Self {
        let packages = made("clients", NPM, npm_ci);
        let scripts = made(packages.join("scripts").to_str().expect("UTF-8"), NODE, |_| {});
        Self::start(Command::new("node").arg(name).current_dir(scripts))
    }

    /// Starts one of the scripts for Python.
    pub fn python(name: &str) -> Self {
        let scripts = made("tuspy-scripts", PYTHON, |_| {});
        Self::start(python().arg(name).current_dir(scripts))
    }

    /// Starts a program of docs/examples with these arguments, which tells no JSON.
    pub fn example(name: &str, arguments: &[&str]) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples").join(name);
        let mut example = Self::start(python().arg(path).args(arguments));
        example.serves = true;
        example
    }

    /// Starts what verifies webhooks, in node and in Python.
    pub fn verifiers() -> [Self; 2] {
        let packages = made("verifier-node", VERIFIER_NPM, npm_ci);
        let scripts = packages.join("scripts");
        let scripts = made(scripts.to_str().expect("UTF-8"), VERIFIER, |_| {});
        let node = Self::start(Command::new("node").arg("verify.mjs").current_dir(scripts));
        [node, Self::python("verify.py")]
    }

    /// Starts a Chromium, with a page whose origin is the first that it tells.
    pub fn browser() -> Self {
        debian::need("chromium", || Path::new("/usr/bin/chromium").exists());
        Self::node("browser.mjs")
    }

    /// Starts a Chromium that opens pages and tells what it saw.
    pub fn docs() -> Self {
        debian::need("chromium", || Path::new("/usr/bin/chromium").exists());
        Self::node("docs.mjs")
    }

    fn start(command: &mut Command) -> Self {
        command.env("NO_PROXY", "*").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the tests need node and npm, and python3");
        let jobs = child.stdin.take();
        let told = BufReader::new(child.stdout.take().unwrap());
        Self { child, jobs, told, serves: false }
    }

    /// The next line that it tells, as it is.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.told.read_line(&mut line).expect("a line");
        line
    }

    /// The next line that it tells.
    pub fn told(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"))
    }

    /// Does a job; what became of it has an `error` if nothing did.
    pub fn run(&mut self, job: &Value) -> Value {
        let jobs = self.jobs.as_mut().expect("a running script");
        writeln!(jobs, "{job}").expect("a script that reads");
        self.told()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.jobs = None;
        if self.serves {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// A program in Python that reads the API's description, by its module.
pub fn openapi_tool(module: &str) -> Command {
    let mut python = Command::new(made("openapi", OPENAPI_PIP, pip_install).join("bin/python"));
    python.args(["-m", module]);
    python
}

/// A Python that has the packages.
fn python() -> Command {
    Command::new(made("tuspy", PIP, pip_install).join("bin/python"))
}

/// A Python that has the packages which check what docs/deploy holds.
pub fn checker() -> PathBuf {
    made("checkers", CHECKERS, pip_install).join("bin/python")
}

/// A folder with these files, and with what is made of them; another one once they change.
fn made(name: &str, files: Files, make: impl FnOnce(&Path)) -> PathBuf {
    let all: String = files.iter().flat_map(|(name, text)| [*name, *text]).collect();
    once::folder(&format!("{name}-{}", &sha256(all.as_bytes())[..16]), |folder| {
        for (name, text) in files {
            let file = folder.join(name);
            fs::create_dir_all(file.parent().unwrap()).expect("a folder");
            fs::write(file, text).expect("a file");
        }
        make(folder);
    })
}

fn npm_ci(folder: &Path) {
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    assert!(done(npm.current_dir(folder)), "the tests need npm: install Node.js and npm");
}

fn pip_install(folder: &Path) {
    let python = || Command::new("python3");
    debian::need("python3-venv", || done(python().args(["-c", "import venv, ensurepip"])));
    assert!(done(python().args(["-m", "venv"]).arg(folder)), "python3 makes no venv");
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "-r"]);
    assert!(
        done(pip.arg(folder.join("requirements.txt"))),
        "pip cannot install what the tests need"
    );
}

fn done(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
