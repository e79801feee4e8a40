//! A real nginx with the very configuration of docs/deploy: only what a machine has to change in
//! it is changed.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::TcpStream;

use super::debian;
use super::guard::Guard;
use super::port;

/// What is run.
const CONFIGURATION: &str = include_str!("../../docs/deploy/compose/nginx.conf");
/// The replicas' addresses in it.
const REPLICAS: [&str; 3] = ["172.31.243.11:3000", "172.31.243.12:3000", "172.31.243.13:3000"];

/// A running nginx in front of three servers; it ends with the test process.
pub struct Nginx {
    pub addr: SocketAddr,
    guard: Guard,
}

impl Nginx {
    /// Starts one.
    pub async fn in_front_of(replicas: [SocketAddr; 3]) -> Self {
        debian::need("nginx", || program().is_some());
        let mut guard = Guard::new("gatehouse-nginx-");
        // A port that is free now may be taken before it listens: then another.
        for _ in 0..5 {
            let addr = port::free();
            let file = guard.folder().join("nginx.conf");
            std::fs::write(&file, configuration(addr, replicas, guard.folder())).unwrap();
            let file = file.to_str().unwrap();
            guard.run("QUIT", &command(&["-c", file, "-g", &globals("daemon off;")]), &[]);
            if listens(addr, &guard).await {
                return Self { addr, guard };
            }
            guard.stop();
        }
        panic!("nginx does not listen: {}", guard.log());
    }

    /// What it has logged of requests so far.
    pub fn requests(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(self.guard.folder().join("requests.log")).unwrap();
        let (whole, _) = log.rsplit_once('\n').unwrap_or_default();
        whole.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// What it logs of the request of this id; it does so once its client has the answer.
    pub async fn request(&self, id: &str) -> Value {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let line = self.requests().into_iter().find(|line| line["requestId"] == id);
            if let Some(line) = line {
                return line;
            }
            assert!(Instant::now() < until, "nginx does not know of {id}: {}", self.errors());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What it has complained of so far.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.guard.folder().join("errors.log")).unwrap_or_default()
    }

    /// How many files of bodies it has.
    pub fn temporary_files(&self) -> usize {
        let folders = ["nginx-body", "nginx-proxy"].map(|name| self.guard.folder().join(name));
        folders.iter().filter_map(|f| std::fs::read_dir(f).ok()).map(Iterator::count).sum()
    }
}

/// The configuration, for these addresses and this folder.
fn configuration(addr: SocketAddr, replicas: [SocketAddr; 3], folder: &Path) -> String {
    let folder = folder.to_str().unwrap();
    let replace = |text: String, from: &str, to: &str| {
        assert!(text.contains(from), "{from} is not in nginx.conf");
        text.replace(from, to)
    };
    let mut text = CONFIGURATION.to_owned();
    for (from, to) in REPLICAS.iter().zip(replicas) {
        text = replace(text, from, &to.to_string());
    }
    text = replace(text, "listen 8080 ", &format!("listen {addr} "));
    text = replace(text, " /tmp/", &format!(" {folder}/"));
    text = replace(text, "/dev/stdout", &format!("{folder}/requests.log"));
    replace(text, "/dev/stderr", &format!("{folder}/errors.log"))
}

/// Whether it listens; not if it ends instead.
async fn listens(addr: SocketAddr, guard: &Guard) -> bool {
    for _ in 0..200 {
        if TcpStream::connect(addr).await.is_ok() {
            return true;
        }
        if guard.log().contains("[emerg]") {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

/// nginx, which an account that is not root's often does not have on its path.
fn program() -> Option<&'static str> {
    ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx", "/usr/local/bin/nginx"]
        .into_iter()
        .find(|path| Path::new(path).exists())
}

fn command<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let program = program().expect("nginx");
    [&[program], arguments].concat()
}

/// Of root's, the workers too: the folder is root's alone.
fn globals(text: &str) -> String {
    let is_root = rustix::process::geteuid().is_root();
    if is_root { format!("{text} user root;") } else { text.to_owned() }
}
