//! Clients of a balancer: they upload in all ways, overwrite, read, list and delete, note what they
//! are told, and what they were not.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use fastrand::Rng;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::harness::http::{Connection, Failure, Request, Response};
use crate::harness::images;
use crate::harness::journal::Journal;
use crate::harness::multipart::Form;
use crate::harness::text::sha256;
use crate::harness::upload::UPLOAD;

/// Everything below this is the images' API.
const API: &str = "/consumer-api/service/consumers/customer-images";
/// Clients of each tenant.
const CLIENTS: u32 = 6;

/// A request that was not answered as it has to be.
#[derive(Debug)]
#[allow(dead_code, reason = "told where a test fails")]
pub struct Failed {
    /// Its id, which is in the balancer's log.
    pub id: String,
    pub what: String,
    pub began: Instant,
    /// The answer's status; none if no whole answer came.
    pub status: Option<u16>,
    pub told: String,
}

/// Clients at work, until they are to end.
pub struct Load {
    clients: JoinSet<()>,
    shared: Arc<Shared>,
    going_on: watch::Sender<bool>,
}

struct Shared {
    addr: SocketAddr,
    journal: Journal,
    failed: Mutex<Vec<Failed>>,
    answers: watch::Sender<u64>,
}

impl Load {
    /// Clients of these tenants, each with the key of it, that ask this address.
    pub fn start(
        addr: SocketAddr,
        journal: &Journal,
        rng: &mut Rng,
        tenants: &[(&'static str, String)],
    ) -> Self {
        let shared = Arc::new(Shared {
            addr,
            journal: journal.clone(),
            failed: Mutex::default(),
            answers: watch::Sender::new(0),
        });
        let (going_on, goes_on) = watch::channel(true);
        let mut clients = JoinSet::new();
        for (tenant, key) in tenants {
            for _ in 0..CLIENTS {
                let client = Client {
                    shared: Arc::clone(&shared),
                    tenant,
                    key: key.clone(),
                    rng: rng.fork(),
                    images: Vec::new(),
                };
                clients.spawn(client.run(goes_on.clone()));
            }
        }
        Self { clients, shared, going_on }
    }

    /// Waits until this many more requests were answered, which must be soon.
    pub async fn answered(&self, more: u64) {
        let mut answers = self.shared.answers.subscribe();
        let until = *answers.borrow() + more;
        let answered = timeout(Duration::from_secs(60), answers.wait_for(|all| *all >= until));
        assert!(answered.await.is_ok(), "{more} answers did not come");
    }

    /// Lets all that was asked for be answered; how often that was as it has to be, and what was not.
    pub async fn end(mut self) -> (u64, Vec<Failed>) {
        self.going_on.send_replace(false);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client that got only answers it can understand");
        }
        let failed = std::mem::take(&mut *self.shared.failed.lock().unwrap());
        (*self.shared.answers.borrow(), failed)
    }
}

/// An image that this client alone knows of, and was told is there.
struct Image {
    id: String,
    name: String,
    sha256: String,
}

struct Client {
    shared: Arc<Shared>,
    tenant: &'static str,
    key: String,
    rng: Rng,
    images: Vec<Image>,
}

impl Client {
    async fn run(mut self, goes_on: watch::Receiver<bool>) {
        while *goes_on.borrow() {
            let image = (!self.images.is_empty()).then(|| self.rng.usize(..self.images.len()));
            match (self.rng.u32(..100), image) {
                (0..25, Some(at)) => self.read(at).await,
                (25..35, Some(at)) => self.look_up(at).await,
                (35..45, _) => self.list().await,
                (45..60, Some(at)) => self.delete(at).await,
                (60..65, Some(at)) => {
                    let name = self.images.swap_remove(at).name;
                    self.upload(name).await;
                }
                (65..75, _) => self.resume().await,
                _ => {
                    let name = format!("{}.jpg", fresh());
                    self.upload(name).await;
                }
            }
        }
    }

    /// A new image, or another one under a name, by a form or as it is.
    async fn upload(&mut self, name: String) {
        let image = self.image();
        let request = match self.rng.bool() {
            true => Request::put(&format!("{UPLOAD}/42/{name}")).body(image.clone()),
            false => Form::new().file(&name, &image).post(&format!("{UPLOAD}/42")),
        };
        let under_way = self.shared.journal.upload(&self.stored(&name), &image);
        if let Some(answer) = self.ask(request, 201).await {
            let id = answer.json()["id"].as_str().expect("id").to_owned();
            under_way.acknowledged(Some(&id));
            self.images.push(Image { id, name, sha256: sha256(&image) });
        }
    }

    /// A new image in two pieces, by tus.
    async fn resume(&mut self) {
        let (image, name) = (self.image(), format!("{}.jpg", fresh()));
        let half = image.len() / 2;
        let under_way = self.shared.journal.upload(&self.stored(&name), &image);
        let tus = |method, path: &str| {
            Request::new(method, path)
                .header("Tus-Resumable", "1.0.0")
                .header("Content-Type", "application/offset+octet-stream")
        };
        let first = tus("POST", &format!("{API}/tus/42"))
            .header("Upload-Length", image.len().to_string())
            .header("Upload-Metadata", format!("filename {}", BASE64.encode(&name)))
            .body(&image[..half]);
        let Some(created) = self.ask(first, 201).await else { return };
        let location = created.header("location").expect("location");
        // As nginx lets it be known where it was asked.
        let path = location.split_once("://").expect("a URL").1.split_once('/').expect("a path").1;
        let rest = tus("PATCH", &format!("/{path}"))
            .header("Upload-Offset", half.to_string())
            .body(&image[half..]);
        let Some(finished) = self.ask(rest, 204).await else { return };
        let record = finished.header("content-location").expect("content-location");
        let id = record.rsplit('/').next().unwrap().to_owned();
        under_way.acknowledged(Some(&id));
        self.images.push(Image { id, name, sha256: sha256(&image) });
    }

    async fn read(&mut self, at: usize) {
        let (id, wanted) = (self.images[at].id.clone(), self.images[at].sha256.clone());
        let request = Request::get(&format!("{API}/images/{id}/content"));
        if let Some(answer) = self.ask(request, 200).await {
            assert_eq!(sha256(&answer.body), wanted, "{id} has other bytes");
        }
    }

    async fn look_up(&mut self, at: usize) {
        let (id, wanted) = (self.images[at].id.clone(), self.images[at].sha256.clone());
        if let Some(record) = self.ask(Request::get(&format!("{API}/images/{id}")), 200).await {
            assert_eq!(record.json()["sha256"], wanted.as_str());
        }
    }

    async fn list(&mut self) {
        let request = Request::get(&format!("{API}/images?customerId=42&limit=20"));
        if let Some(page) = self.ask(request, 200).await {
            let page = page.json();
            let owns = |image: &serde_json::Value| {
                let name = image["storedName"].as_str().expect("storedName");
                name.starts_with(&format!("{}/", self.tenant))
            };
            assert!(page["images"].as_array().expect("images").iter().all(owns), "{page}");
        }
    }

    async fn delete(&mut self, at: usize) {
        let image = self.images.swap_remove(at);
        let under_way = self.shared.journal.delete(&self.stored(&image.name));
        let request = Request::new("DELETE", &format!("{API}/images/{}", image.id));
        if self.ask(request, 204).await.is_some() {
            under_way.acknowledged(None);
        }
    }

    /// Sends a request; its answer, if it has this status. Anything else is noted, and whether it
    /// took place is not known.
    async fn ask(&self, request: Request, wanted: u16) -> Option<Response> {
        let id = format!("load-{}", fresh());
        let what = request.line();
        let request = request.header("x-api-key", &self.key).header("x-request-id", &id);
        let began = Instant::now();
        let answer = match TcpStream::connect(self.shared.addr).await {
            Ok(stream) => Connection::accepted(stream).exchange(&request, self.shared.addr).await,
            Err(_) => Err(Failure::Closed),
        };
        let (status, told) = match answer {
            Ok(answer) if answer.status == wanted => {
                self.shared.answers.send_modify(|answers| *answers += 1);
                return Some(answer);
            }
            Ok(answer) => (Some(answer.status), answer.text()),
            Err(failure) => (None, failure.to_string()),
        };
        let failed = Failed { id, what, began, status, told };
        self.shared.failed.lock().unwrap().push(failed);
        None
    }

    fn stored(&self, name: &str) -> String {
        format!("{}/customer/42/{name}", self.tenant)
    }

    /// An image that no other is like; one in ten is large.
    fn image(&mut self) -> Vec<u8> {
        let count = fresh();
        let (low, high) = ((count % 10_000) as u16 + 1, (count / 10_000) as u16 + 1);
        let size = if self.rng.u32(..10) == 0 { 1 << 20 } else { self.rng.usize(1..60_000) };
        images::jpeg(low, high, size)
    }
}

/// A number that comes once.
fn fresh() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}
