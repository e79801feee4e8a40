//! A real MinIO: the one named in the environment, by `GATEHOUSE_TEST_S3_ENDPOINT`, `_ACCESS_KEY`
//! and `_SECRET_KEY`, else one that the tests start. It ends with the test process, however that ends.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use tokio::sync::OnceCell;

use super::golang;
use super::guard::Guard;
use super::port;

const PACKAGE: &str = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c";

/// A store to test against.
pub struct Minio {
    pub endpoint: String,
    pub access_key: String,
    pub secret_key: String,
    /// The process, where these tests started it.
    guard: Option<Guard>,
    /// What it was started with besides.
    env: Vec<(String, String)>,
}

/// The store that all tests share.
pub async fn minio() -> &'static Minio {
    static SHARED: OnceCell<Minio> = OnceCell::const_new();
    SHARED
        .get_or_init(|| async {
            let given = |name: &str| std::env::var(format!("GATEHOUSE_TEST_S3_{name}")).ok();
            match given("ENDPOINT") {
                None => Minio::start().await,
                Some(endpoint) => Minio::at(
                    endpoint,
                    given("ACCESS_KEY").expect("GATEHOUSE_TEST_S3_ACCESS_KEY"),
                    given("SECRET_KEY").expect("GATEHOUSE_TEST_S3_SECRET_KEY"),
                ),
            }
        })
        .await
}

impl Minio {
    /// A store that runs already.
    pub fn at(endpoint: String, access_key: String, secret_key: String) -> Self {
        Self { endpoint, access_key, secret_key, guard: None, env: Vec::new() }
    }

    /// The same store for somebody who only looks into it.
    pub fn handle(&self) -> Self {
        Self::at(self.endpoint.clone(), self.access_key.clone(), self.secret_key.clone())
    }

    /// A store of a test's own, on a free port.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with more variables in its environment.
    pub async fn start_with(env: &[(&str, &str)]) -> Self {
        let mut minio = Self {
            endpoint: String::new(),
            access_key: "gatehouse-tests".into(),
            secret_key: "gatehouse-tests-secret".into(),
            guard: Some(Guard::new("gatehouse-minio-")),
            env: env.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        };
        // A port that is free now may be taken before the store listens: then another.
        for _ in 0..5 {
            let free = port::free();
            minio.endpoint = format!("http://{free}");
            if minio.answers_at(free).await {
                return minio;
            }
            minio.stop();
        }
        panic!("MinIO does not answer: {}", minio.log());
    }

    /// Starts the process and waits until it answers, or has ended.
    async fn answers_at(&mut self, addr: SocketAddr) -> bool {
        let program = golang::executable("minio", PACKAGE).await;
        let (program, addr) = (program.to_str().expect("UTF-8"), addr.to_string());
        let command = [program, "server", "--quiet", "--address", &addr, "data"];
        let more = self.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let env = [
            ("MINIO_BROWSER", "off"),
            ("MINIO_ROOT_USER", self.access_key.as_str()),
            ("MINIO_ROOT_PASSWORD", self.secret_key.as_str()),
        ];
        let env: Vec<_> = env.into_iter().chain(more).collect();
        self.guard.as_mut().expect("a store that these tests started").run("KILL", &command, &env);
        let client = self.client();
        for _ in 0..300 {
            if client.list_buckets().send().await.is_ok() {
                return true;
            }
            if self.log().contains("FATAL") {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    }

    fn log(&self) -> String {
        self.guard.as_ref().map(Guard::log).unwrap_or_default()
    }

    /// Ends the process at once; what it stored stays.
    pub fn stop(&mut self) {
        self.guard.as_mut().expect("a store that these tests started").stop();
    }

    /// Starts it again where it was.
    pub async fn restart(&mut self) {
        let addr = self.endpoint.strip_prefix("http://").unwrap().parse().unwrap();
        assert!(self.answers_at(addr).await, "MinIO does not come back: {}", self.log());
    }

    /// A client that asks the store directly.
    pub fn client(&self) -> Client {
        let keys = Credentials::new(&self.access_key, &self.secret_key, None, None, "tests");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(&self.endpoint)
            .credentials_provider(keys)
            .force_path_style(true)
            .build();
        Client::from_conf(config)
    }

    /// Makes a bucket that no other test has.
    pub async fn fresh_bucket(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let bucket = format!("test-{}-{count}", uuid::Uuid::now_v7().simple());
        self.client().create_bucket().bucket(&bucket).send().await.expect("create a bucket");
        bucket
    }

    /// All keys of a bucket, in order.
    pub async fn keys(&self, bucket: &str) -> Vec<String> {
        let mut pages = self.client().list_objects_v2().bucket(bucket).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let objects = page.expect("list a bucket").contents.unwrap_or_default();
            keys.extend(objects.into_iter().filter_map(|object| object.key));
        }
        keys
    }

    /// The bytes and the Content-Type of an object.
    pub async fn object(&self, bucket: &str, key: &str) -> (Vec<u8>, String) {
        let object = self.client().get_object().bucket(bucket).key(key).send().await;
        let object = object.unwrap_or_else(|e| panic!("{key}: {e:?}"));
        let kind = object.content_type().unwrap_or_default().to_owned();
        (object.body.collect().await.expect("read an object").to_vec(), kind)
    }

    /// How many multipart uploads of exactly this key are unfinished.
    pub async fn unfinished(&self, bucket: &str, key: &str) -> usize {
        let list = self.client().list_multipart_uploads().bucket(bucket).prefix(key).send();
        list.await.expect("list uploads").uploads().len()
    }
}
