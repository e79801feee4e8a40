//! A real toxiproxy: a network between the gateway and a service that does what a test asks for.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::golang;
use super::http::Request;
use super::port;

const PACKAGE: &str = "github.com/Shopify/toxiproxy/v2/cmd/server@v2.5.0";

/// A running toxiproxy in front of one address; it ends with the test.
pub struct Toxiproxy {
    /// Where it listens for whom it is in front of.
    pub addr: SocketAddr,
    api: SocketAddr,
    child: Child,
}

impl Toxiproxy {
    /// Starts one that passes everything on as it is.
    pub async fn in_front_of(upstream: SocketAddr) -> Self {
        let program = golang::executable("toxiproxy-server", PACKAGE).await;
        // A port that is free now may be taken before it listens: then another.
        for _ in 0..5 {
            let api = port::free();
            let mut command = Command::new(&program);
            command.args(["-host", "127.0.0.1", "-port", &api.port().to_string()]);
            command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let child = command.spawn().expect("toxiproxy runs");
            let mut toxiproxy = Self { addr: api, api, child };
            if toxiproxy.listens().await {
                let upstream = upstream.to_string();
                let proxy = json!({"name": "p", "listen": "127.0.0.1:0", "upstream": upstream});
                let made = toxiproxy.post("/proxies", &proxy).await;
                toxiproxy.addr = made["listen"].as_str().unwrap().parse().unwrap();
                return toxiproxy;
            }
        }
        panic!("toxiproxy does not listen");
    }

    /// Adds a toxic of this type and these attributes to what the service sends (`downstream`) or
    /// what it gets (`upstream`).
    pub async fn add(&self, kind: &str, stream: &str, attributes: Value) {
        let toxic = json!({"type": kind, "stream": stream, "attributes": attributes});
        self.post("/proxies/p/toxics", &toxic).await;
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = Request::post(path).body(body.to_string()).send(self.api).await;
        assert!(answer.status < 300, "{path}: {} {}", answer.status, answer.text());
        answer.json()
    }

    async fn listens(&mut self) -> bool {
        while self.child.try_wait().unwrap().is_none() {
            if TcpStream::connect(self.api).await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }
}

impl Drop for Toxiproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
