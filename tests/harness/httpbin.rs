//! A real go-httpbin: a service that answers in most ways that HTTP has, on Go's own server.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;

use super::{golang, port};

const PACKAGE: &str = "github.com/mccutchen/go-httpbin/v2/cmd/go-httpbin@v2.26.0";

/// A running go-httpbin; it ends with the test.
pub struct Httpbin {
    pub addr: SocketAddr,
    child: Child,
}

impl Httpbin {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        let program = golang::executable("go-httpbin", PACKAGE).await;
        // A port that is free now may be taken before it listens: then another.
        for _ in 0..5 {
            let addr = port::free();
            let mut command = Command::new(&program);
            command.args(["-host", "127.0.0.1", "-port", &addr.port().to_string()]);
            command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut httpbin = Self { addr, child: command.spawn().expect("go-httpbin runs") };
            if httpbin.listens().await {
                return httpbin;
            }
        }
        panic!("go-httpbin does not listen");
    }

    async fn listens(&mut self) -> bool {
        while self.child.try_wait().unwrap().is_none() {
            if TcpStream::connect(self.addr).await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }
}

impl Drop for Httpbin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
