//! Clients that upload, overwrite, read and delete without end, note what they are told, and
//! fail over an answer that cannot be right.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::harness::http::{Connection, Request, Response};
use crate::harness::journal::{Journal, UnderWay};
use crate::harness::multipart::Form;
use crate::harness::text::sha256;
use crate::harness::{images, upload};
use crate::{direct, tus};

/// Where images are asked for.
const IMAGES: &str = "/consumer-api/service/consumers/customer-images/images";
/// Clients of one server.
const CLIENTS: u32 = 6;

/// Some clients of one server.
pub struct Load {
    phase: watch::Sender<Phase>,
    clients: JoinSet<()>,
    shared: Arc<Shared>,
}

/// What clients are to do.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// Ask this server, again and again.
    Ask(SocketAddr),
    /// Leave, whatever was asked for.
    Rest,
}

impl Load {
    /// Clients that rest yet. Every tenth of their images has about `large` bytes.
    pub fn new(journal: &Journal, rng: &mut Rng, large: usize) -> Self {
        let shared = Arc::new(Shared {
            journal: journal.clone(),
            large: images::jpeg(1, 1, large),
            images: Mutex::default(),
            told: Mutex::default(),
            read: Mutex::default(),
            answers: watch::Sender::new(0),
        });
        let (phase, phases) = watch::channel(Phase::Rest);
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let client = Client { shared: Arc::clone(&shared), rng: rng.fork() };
            clients.spawn(client.run(phases.clone()));
        }
        Self { phase, clients, shared }
    }

    /// Lets them ask this server, until they are to rest.
    pub fn ask(&self, addr: SocketAddr) {
        self.phase.send_replace(Phase::Ask(addr));
    }

    /// Waits until they got this many more answers, however fast the machine is; or until this time
    /// is over.
    pub async fn answered(&self, more: u64, within: Duration) {
        let mut answers = self.shared.answers.subscribe();
        let until = *answers.borrow() + more;
        let _ = timeout(within, answers.wait_for(|answers| *answers >= until)).await;
    }

    /// Lets them leave at once, with no answer to what they have asked for.
    pub fn rest(&self) {
        self.phase.send_replace(Phase::Rest);
    }

    /// Ends them, and fails if one got an answer that cannot be right, or if what they were told
    /// says nothing: some of each kind are acknowledged, and some never answered.
    pub async fn end(mut self) {
        drop(self.phase);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client that got only answers it can understand");
        }
        let told = self.shared.told.lock().unwrap();
        eprintln!("what was asked for, the answer's status, how often: {told:?}");
        for kind in [Kind::Upload, Kind::Read, Kind::Delete] {
            assert!(told.contains_key(&(kind, Some(kind.done()))), "{kind:?}: {told:?}");
        }
        assert!(told.contains_key(&(Kind::Upload, None)), "{told:?}");
    }
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Upload,
    Read,
    Delete,
}

impl Kind {
    /// The status that says it is done.
    fn done(self) -> u16 {
        match self {
            Self::Upload => 201,
            Self::Read => 200,
            Self::Delete => 204,
        }
    }

    /// Whether this may be the answer of a server that has nothing wrong with it.
    fn may_get(self, status: u16) -> bool {
        status == self.done() || status == 503 || (self != Self::Upload && status == 404)
    }
}

/// What all clients of a server know.
struct Shared {
    journal: Journal,
    large: Vec<u8>,
    /// Keys and ids that were acknowledged and not deleted since.
    images: Mutex<Vec<(String, String)>>,
    /// How often each was answered how; without a status: not at all.
    told: Mutex<BTreeMap<(Kind, Option<u16>), u32>>,
    /// The digest of what was read, by its entity tag.
    read: Mutex<BTreeMap<String, String>>,
    /// How often they were answered.
    answers: watch::Sender<u64>,
}

impl Shared {
    /// Fails over an answer that cannot be right, and keeps what it says.
    fn check(&self, kind: Kind, key: &str, answer: &Response) {
        let status = answer.status;
        assert!(kind.may_get(status), "{kind:?} {key}: {status} {}", answer.text());
        match (kind, status) {
            (Kind::Upload, 201) => {
                let id = answer.json()["id"].as_str().expect("id").to_owned();
                self.images.lock().unwrap().push((key.to_owned(), id));
            }
            (Kind::Read, 200) => {
                let read = sha256(&answer.body);
                assert!(self.journal.has(key, &answer.body), "{key}: no version has these bytes");
                let etag = answer.header("etag").expect("etag");
                let first = self.read.lock().unwrap().entry(etag).or_insert(read.clone()).clone();
                assert_eq!(first, read, "{key}: two contents with one entity tag");
            }
            _ => {}
        }
    }
}

/// What a client is about to ask for.
struct Wish {
    kind: Kind,
    key: String,
    way: Way,
    under_way: Option<UnderWay>,
}

/// How a client asks for it.
enum Way {
    Request(Request),
    /// An upload straight to the store.
    Direct {
        name: String,
        image: Vec<u8>,
    },
    /// An upload in pieces.
    Resumable {
        name: String,
        image: Vec<u8>,
    },
}

impl Way {
    /// The last answer, if one came to each request.
    async fn go(&self, addr: SocketAddr) -> Option<Response> {
        match self {
            Self::Request(request) => send(request, addr).await,
            Self::Direct { name, image } => direct::try_upload(addr, name, image).await,
            Self::Resumable { name, image } => tus::try_upload(addr, name, image).await,
        }
    }
}

struct Client {
    shared: Arc<Shared>,
    rng: Rng,
}

impl Client {
    /// Asks for one thing after another.
    async fn run(mut self, mut phases: watch::Receiver<Phase>) {
        while let Ok(Phase::Ask(addr)) = phases.wait_for(|p| *p != Phase::Rest).await.map(|p| *p) {
            let Wish { kind, key, way, under_way } = self.next();
            let answer = tokio::select! {
                answer = way.go(addr) => answer,
                _ = phases.wait_for(|phase| *phase == Phase::Rest) => None,
            };
            if let Some(answer) = &answer {
                self.shared.check(kind, &key, answer);
            }
            if let Some(under_way) = under_way {
                under_way.answered(answer.as_ref());
            }
            let status = answer.map(|answer| answer.status);
            *self.shared.told.lock().unwrap().entry((kind, status)).or_default() += 1;
            self.shared.answers.send_modify(|answers| *answers += u64::from(status.is_some()));
        }
    }

    fn next(&mut self) -> Wish {
        let images = self.shared.images.lock().unwrap().len();
        let image = (images > 0).then(|| self.rng.usize(..images));
        match (self.rng.u32(..100), image) {
            (0..20, Some(at)) => self.delete(at),
            (20..40, Some(at)) => self.read(at),
            _ => self.upload(),
        }
    }

    /// The deletion of an image that was acknowledged.
    fn delete(&mut self, at: usize) -> Wish {
        let (key, id) = self.shared.images.lock().unwrap().swap_remove(at);
        let under_way = Some(self.shared.journal.delete(&key));
        Wish { kind: Kind::Delete, key, way: Way::Request(deletion(&id)), under_way }
    }

    /// The content of an image that was acknowledged.
    fn read(&mut self, at: usize) -> Wish {
        let (key, id) = self.shared.images.lock().unwrap()[at].clone();
        let request = Request::get(&format!("{IMAGES}/{id}/content")).tenant("acme");
        Wish { kind: Kind::Read, key, way: Way::Request(request), under_way: None }
    }

    /// A small image or a large one, under a name of its own or one that all clients use.
    fn upload(&mut self) -> Wish {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // A pair of its own of dimensions, so that no two images are the same.
        let (low, high) = ((count % 10_000) as u16 + 1, (count / 10_000) as u16 + 1);
        let image = match self.rng.u32(..100) {
            0..10 => {
                let mut image = self.shared.large.clone();
                // In the midst of the scan, where every byte but 0xff is welcome.
                let at = image.len() / 2;
                image[at..at + 8].copy_from_slice(format!("{count:08}").as_bytes());
                image
            }
            _ => images::jpeg(low, high, self.rng.usize(1..60_000)),
        };
        let name = match self.rng.u32(..100) {
            0..40 => format!("all-{}.jpg", self.rng.u32(..5)),
            _ => format!("{count}.jpg"),
        };
        let key = format!("acme/customer/42/{name}");
        let under_way = Some(self.shared.journal.upload(&key, &image));
        let way = match self.rng.u32(..4) {
            0 => Way::Request(upload::put(&name, &image)),
            1 => Way::Request(upload::post(&Form::new().file(&name, &image))),
            2 => Way::Direct { name, image },
            _ => Way::Resumable { name, image },
        };
        Wish { kind: Kind::Upload, key, way, under_way }
    }
}

/// The request that deletes an image of `acme`.
pub fn deletion(id: &str) -> Request {
    Request::new("DELETE", &format!("{IMAGES}/{id}")).tenant("acme")
}

/// Sends a request; the answer, if one comes.
pub async fn send(request: &Request, addr: SocketAddr) -> Option<Response> {
    let stream = TcpStream::connect(addr).await.ok()?;
    Connection::accepted(stream).exchange(request, addr).await.ok()
}
