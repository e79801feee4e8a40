//! A real Redis: redis-server of the PATH, on a free port.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::port;

/// A running redis-server; it ends with the test.
pub struct Redis {
    addr: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Redis {
    /// Starts one.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("gatehouse-redis-").tempdir().unwrap();
        // A port that is free now may be taken before it listens: then another.
        for _ in 0..5 {
            let addr = port::free();
            let mut child = spawn(addr, &folder);
            if answers(addr, &mut child).await {
                return Self { addr, child, folder };
            }
        }
        panic!("redis-server does not listen");
    }

    pub fn url(&self) -> String {
        format!("redis://{}/", self.addr)
    }

    /// Ends it at once.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again where it was, empty.
    pub async fn restart(&mut self) {
        self.child = spawn(self.addr, &self.folder);
        assert!(answers(self.addr, &mut self.child).await, "redis-server does not come back");
    }

    /// Lets it hang, or go on.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// The answer to a command, such as `DBSIZE`.
    pub async fn ask(&self, words: &[&str]) -> redis::Value {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut connection).await.unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(addr: SocketAddr, folder: &TempDir) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &addr.port().to_string()]);
    command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("redis-server runs; install Redis to run the tests")
}

/// Whether it listens; not if it ends instead.
async fn answers(addr: SocketAddr, child: &mut Child) -> bool {
    let client = redis::Client::open(format!("redis://{addr}/")).unwrap();
    while child.try_wait().unwrap().is_none() {
        if let Ok(mut connection) = client.get_multiplexed_async_connection().await
            && redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
        {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}
