//! The real binary, started as an operator would: settings from a file and the environment,
//! and nothing else of this process's environment.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::builder::{Builder, Ended, Listening, Log};
use super::minio::Minio;

/// A running server. Dropped, it is killed, and must not have left anything half-done.
pub struct App {
    pub addr: SocketAddr,
    listening: Listening,
    builder: Builder,
    child: Option<Child>,
    folder: TempDir,
    /// Whether it was killed, so that what it was about is half-done.
    killed: bool,
    /// A log a start.
    logs: Vec<Arc<Mutex<Log>>>,
    /// Keys whose multipart uploads must all have been finished or aborted.
    keys: Mutex<Vec<String>>,
}

impl App {
    /// Settings to start from: open mode, loopback, the local store.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(super) fn new(builder: Builder, folder: TempDir) -> Self {
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let (listening, child) = (Listening::default(), None);
        let (logs, keys) = (Vec::new(), Mutex::default());
        Self { addr, listening, builder, child, folder, killed: false, logs, keys }
    }

    /// Starts it, with what it had before if it ran already; it then listens elsewhere.
    pub async fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = Arc::default();
        self.logs.push(Arc::clone(&log));
        let (child, listening) = self.builder.spawn(self.folder.path(), &log).await;
        (self.child, self.killed) = (Some(child), false);
        let Some(listening) = listening else {
            panic!("does not listen: {}", self.log_text());
        };
        self.addr = listening.gateway.expect("a listener of the gateway");
        self.listening = listening;
    }

    /// Runs a command beside it, in its folder and with its settings.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.builder.run_in(self.folder.path(), arguments)
    }

    /// Makes an API key beside it; these arguments come behind `keys create`.
    pub fn key(&self, arguments: &[&str]) -> String {
        let ended = self.run(&[&["keys", "create"], arguments].concat());
        assert!(ended.status.success(), "{}", ended.stderr);
        ended.stdout.lines().next_back().expect("a key").to_owned()
    }

    /// Ends it as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("a running server");
        child.kill().expect("a process of this test");
        child.wait().expect("a process of this test");
        self.killed = true;
    }

    /// Sets a variable for the next start.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.builder = std::mem::take(&mut self.builder).env(name, value);
    }

    /// A server with the local store.
    pub async fn local() -> Self {
        Self::builder().start().await
    }

    /// A server with a fresh bucket in MinIO.
    pub async fn minio() -> Self {
        Self::builder().minio().await.start().await
    }

    /// Where `[consumers] listen` is served.
    pub fn consumers_addr(&self) -> SocketAddr {
        self.listening.consumers.expect("a listener for consumers")
    }

    /// Where `[operations] listen` is served.
    pub fn operations_addr(&self) -> SocketAddr {
        self.listening.operations.expect("a listener for operations")
    }

    /// Where the local store keeps its objects.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("objects")
    }

    /// A folder that is gone with the test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Everything logged so far.
    pub fn log_text(&self) -> String {
        self.logs.iter().map(|log| log.lock().unwrap().text.clone()).collect()
    }

    /// The access line of the first request whose path contains this, once it is logged.
    pub async fn access_line(&self, path: &str) -> serde_json::Value {
        let until = Instant::now() + super::http::PATIENCE;
        loop {
            let lines = self.log_text();
            let mut lines = lines.lines().filter_map(|line| serde_json::from_str(line).ok());
            let found = lines.find(|line: &serde_json::Value| {
                line["target"] == "gatehouse::access"
                    && line["path"].as_str().is_some_and(|p| p.contains(path))
            });
            if let Some(line) = found {
                return line;
            }
            assert!(Instant::now() < until, "no access line: {}", self.log_text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The id of the process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running server").id()
    }

    /// The bucket it stores into, if not into files.
    pub fn bucket(&self) -> Option<(&str, &Minio)> {
        self.builder.bucket.as_ref().map(|(bucket, store)| (bucket.as_str(), &**store))
    }

    /// The URL of its database, for somebody else to look into it.
    pub fn database(&self) -> String {
        let url = self.builder.value("DATABASE__URL").expect("a database");
        match url.strip_prefix("sqlite://") {
            Some(file) => format!("sqlite://{}", self.folder.path().join(file).display()),
            None => url.to_owned(),
        }
    }

    /// All keys in the store, in order.
    pub async fn keys(&self) -> Vec<String> {
        match self.bucket() {
            Some((bucket, store)) => store.keys(bucket).await,
            None => self.files(),
        }
    }

    /// Waits until the store has exactly these keys.
    pub async fn settles_to(&self, wanted: &[&str]) {
        let mut keys = Vec::new();
        for _ in 0..400 {
            keys = self.keys().await;
            if keys == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the store has {keys:?}, not {wanted:?}: {}", self.log_text());
    }

    /// The bytes of an object; in S3 its Content-Type too.
    pub async fn object(&self, key: &str) -> (Vec<u8>, Option<String>) {
        match self.bucket() {
            Some((bucket, store)) => {
                let (bytes, kind) = store.object(bucket, key).await;
                (bytes, Some(kind))
            }
            None => (std::fs::read(self.root().join(key)).expect(key), None),
        }
    }

    /// Fails unless the store is empty, once nothing is half-done any more.
    pub async fn assert_nothing_stored(&self) {
        self.assert_nothing_left_over().await;
        assert_eq!(self.keys().await, Vec::<String>::new());
    }

    /// Says that uploads of this key were tried, so that none of them may stay unfinished.
    pub fn tried(&self, key: &str) {
        self.keys.lock().unwrap().push(key.into());
    }

    /// Waits until no upload is half-done anywhere: no file outside of the tenants' folders,
    /// no multipart upload of the keys that were tried.
    pub async fn assert_nothing_left_over(&self) {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let left = self.left_over().await;
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < until, "left over: {left:?}\n{}", self.log_text());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn left_over(&self) -> Vec<String> {
        if let Some((bucket, store)) = self.bucket() {
            let (keys, mut left) = (self.keys.lock().unwrap().clone(), Vec::new());
            for key in keys {
                if store.unfinished(bucket, &key).await > 0 {
                    left.push(key);
                }
            }
            return left;
        }
        let mut left = self.files();
        left.retain(|key| {
            let parts: Vec<_> = key.split('/').collect();
            let is_tenants = parts[0].starts_with(|c: char| c.is_ascii_alphanumeric());
            parts.len() != 4 || !(is_tenants || parts[0] == "_variants")
        });
        left
    }

    /// All files below the local store's folder but the lock of the running server, which is
    /// empty and marks what is its own.
    fn files(&self) -> Vec<String> {
        let mut files = files(&self.root());
        let lock = files.iter().position(|file| {
            let empty = std::fs::metadata(self.root().join(file)).is_ok_and(|data| data.len() == 0);
            empty && file.starts_with(".gatehouse/") && file.ends_with(".lock")
        });
        if let Some(lock) = lock {
            files.remove(lock);
        }
        files
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.pid());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// Waits for the process to end by itself.
    pub async fn ended_within(&mut self, time: Duration) -> ExitStatus {
        let until = Instant::now() + time;
        loop {
            let child = self.child.as_mut().expect("a running server");
            if let Some(status) = child.try_wait().unwrap() {
                self.child = None;
                return status;
            }
            assert!(Instant::now() < until, "still runs after {time:?}: {}", self.log_text());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let unchecked = std::thread::panicking() || self.killed;
        let checked = if unchecked { Ok(()) } else { self.check_at_end() };
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Err(panic) = checked {
            std::panic::resume_unwind(panic);
        }
    }
}

impl App {
    /// What every server must have kept to when its test is over.
    fn check_at_end(&mut self) -> std::thread::Result<()> {
        let running = self.child.is_none() || self.runs();
        // On a thread of its own, since the test's runtime is in use.
        std::thread::scope(|scope| {
            let check = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(self.assert_nothing_left_over());
                let log = self.log_text();
                assert!(!log.contains("panicked at"), "a panic in the server: {log}");
                assert!(running, "the server ended by itself: {log}");
            });
            check.join()
        })
    }
}

/// All files below a folder, as keys, in order.
fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_str().expect("UTF-8").to_owned());
            }
        }
    }
    found.sort();
    found
}
