//! Storage's written contract, asked of every backend in the same steps, and what is
//! particular to each.

mod local;
mod presigned;
mod reading;
mod resuming;
mod s3;
mod s3_reading;

use std::{collections::HashSet, future::Future, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use gatehouse::storage::{
    Budget, Commit, ErrorKind, Head, NewObject, ObjectKey, Read, Reading, Settings, Share,
    SharedStorage, Stored, Upload,
};
use tokio::task::JoinSet;
use uuid::Uuid;

const MIB: usize = 1024 * 1024;
/// S3's smallest part, so that little data makes several.
const PART: usize = 5 * MIB;

/// A store under test, and the memory it may use.
struct Subject {
    storage: SharedStorage,
    budget: Arc<Budget>,
    settings: Settings,
}

/// Every promise that the trait makes, a step each.
async fn contract(subject: &Subject) {
    step("it is ready", is_ready(subject)).await;
    step("objects of all sizes come back as they were", all_sizes(subject)).await;
    step("chunks of all sizes make one object", all_chunks(subject)).await;
    step("names are kept as they are", names(subject)).await;
    step("nothing is visible before the finish", invisible(subject)).await;
    step("a second upload replaces the first", replaces(subject)).await;
    step("of two at once one wins whole", two_at_once(subject)).await;
    step("a taken key is refused when asked", if_absent(subject)).await;
    step("of two that ask for a free key one wins", if_absent_twice(subject)).await;
    step("an aborted or dropped upload leaves nothing", nothing_is_left(subject)).await;
    step("a finish goes on without its caller", finish_goes_on(subject)).await;
    step("what is deleted is gone", deletes(subject)).await;
    reading::contract(subject).await;
    resuming::contract(subject).await;
    subject.storage.drain().await;
    assert_eq!(subject.budget.used(), 0, "all memory went back");
}

async fn step(name: &str, step: impl Future<Output = ()>) {
    // Shown by the test runner when a step fails.
    eprintln!("step: {name}");
    Box::pin(step).await;
}

async fn is_ready(subject: &Subject) {
    subject.storage.ready().await.unwrap();
    assert_eq!(subject.storage.sweep(&HashSet::new()).await.unwrap(), 0);
}

async fn all_sizes(subject: &Subject) {
    for size in [0, 1, 1023, 100_000, MIB, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + MIB / 2] {
        let key = format!("acme/sizes/{size}");
        let bytes = pattern(size, 1);
        let stored = subject.put(&key, &bytes).await.unwrap();
        assert_eq!(stored.size, size as u64);
        assert!(!stored.etag.is_empty() && !stored.etag.contains('"'), "{stored:?}");
        assert!(subject.get(&key).await == bytes, "{size} bytes differ");
    }
}

async fn all_chunks(subject: &Subject) {
    let bytes = pattern(PART + 100_000, 2);
    for (name, chunk) in [("odd", 7_919), ("large", 3 * MIB), ("whole", bytes.len())] {
        let key = format!("acme/chunks/{name}");
        let mut upload = subject.begin(&key).await;
        for piece in bytes.chunks(chunk) {
            upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
            upload.write(Bytes::new()).await.unwrap();
        }
        upload.finish(commit(&bytes)).await.unwrap();
        assert!(subject.get(&key).await == bytes, "{name}");
    }
    let mut upload = subject.begin("acme/chunks/single").await;
    for byte in &bytes[..5000] {
        upload.write(Bytes::copy_from_slice(&[*byte])).await.unwrap();
    }
    upload.finish(commit(&bytes[..5000])).await.unwrap();
    assert!(subject.get("acme/chunks/single").await == bytes[..5000]);
}

async fn names(subject: &Subject) {
    let long = format!("acme/names/{}", "n".repeat(255));
    for key in [
        "acme/names/a b.jpg",
        "acme/names/a+b%20c?d#e&f=g;h,i@j:k!l*m'n(o)",
        "acme/names/%2e%2e",
        "acme/names/ü漢字🎉.jpg",
        "acme/names/..hidden..",
        "acme/names/\"quoted\"<>|^`{}~$",
        "Acme/names/case",
        "acme/names/case",
        &long,
    ] {
        let bytes = key.as_bytes();
        subject.put(key, bytes).await.unwrap();
        assert_eq!(subject.get(key).await, bytes, "{key}");
    }
    assert_eq!(subject.get("Acme/names/case").await, &b"Acme/names/case"[..]);
}

async fn invisible(subject: &Subject) {
    for (name, size) in [("small", 10), ("large", PART + MIB)] {
        let key = format!("acme/invisible/{name}");
        let bytes = pattern(size, 3);
        let mut upload = subject.begin(&key).await;
        upload.write(bytes.clone().into()).await.unwrap();
        assert_eq!(subject.kind_of_get(&key).await, Some(ErrorKind::NotFound));
        upload.finish(commit(&bytes)).await.unwrap();
        assert!(subject.get(&key).await == bytes);
    }
}

async fn replaces(subject: &Subject) {
    for (before, after) in [(10, 20), (10, PART + 1), (PART + 1, 10)] {
        let key = format!("acme/replaces/{before}-{after}");
        subject.put(&key, &pattern(before, 4)).await.unwrap();
        subject.put(&key, &pattern(after, 5)).await.unwrap();
        assert!(subject.get(&key).await == pattern(after, 5));
    }
}

async fn two_at_once(subject: &Subject) {
    for size in [50_000, PART + 7] {
        let key = format!("acme/race/{size}");
        let (one, two) = (pattern(size, 6), pattern(size, 7));
        let (first, second) = tokio::join!(subject.put(&key, &one), subject.put(&key, &two));
        first.unwrap();
        second.unwrap();
        let found = subject.get(&key).await;
        assert!(found == one || found == two, "neither won whole");
    }
}

async fn if_absent(subject: &Subject) {
    for size in [100, PART + 3] {
        let key = format!("acme/absent/{size}");
        let (first, second) = (pattern(size, 8), pattern(size, 9));
        subject.put_if_absent(&key, &first).await.unwrap();
        let refused = subject.put_if_absent(&key, &second).await;
        assert_eq!(refused.unwrap_err(), ErrorKind::AlreadyExists);
        assert!(subject.get(&key).await == first, "the refused bytes are visible");
    }
}

async fn if_absent_twice(subject: &Subject) {
    for size in [100, PART + 3] {
        for round in 0..5 {
            let key = format!("acme/absent-race/{size}-{round}");
            let (one, two) = (pattern(size, 10), pattern(size, 11));
            let answers =
                tokio::join!(subject.put_if_absent(&key, &one), subject.put_if_absent(&key, &two));
            let winner = match answers {
                (Ok(_), Err(ErrorKind::AlreadyExists)) => one,
                (Err(ErrorKind::AlreadyExists), Ok(_)) => two,
                other => panic!("{other:?}"),
            };
            assert!(subject.get(&key).await == winner);
        }
    }
}

async fn nothing_is_left(subject: &Subject) {
    for size in [0, 10, PART + 1, 2 * PART + 1] {
        for abort in [true, false] {
            let key = format!("acme/left/{size}-{abort}");
            let mut upload = subject.begin(&key).await;
            upload.write(pattern(size, 12).into()).await.unwrap();
            if abort {
                upload.abort().await.unwrap();
            } else {
                drop(upload);
            }
            subject.storage.drain().await;
            assert_eq!(subject.kind_of_get(&key).await, Some(ErrorKind::NotFound));
        }
    }
}

async fn finish_goes_on(subject: &Subject) {
    for size in [10, PART + 1] {
        let key = format!("acme/goes-on/{size}");
        let bytes = pattern(size, 13);
        let mut upload = subject.begin(&key).await;
        upload.write(bytes.clone().into()).await.unwrap();
        let mut finish = upload.finish(commit(&bytes));
        // Polled once, then dropped, as by a client that goes away.
        assert!(futures_util::poll!(&mut finish).is_pending());
        drop(finish);
        subject.storage.drain().await;
        assert!(subject.get(&key).await == bytes);
    }
}

async fn deletes(subject: &Subject) {
    let key = ObjectKey::parse("acme/deletes/a").unwrap();
    subject.put(key.as_str(), b"gone soon").await.unwrap();
    for _ in 0..2 {
        subject.storage.delete(&key).await.unwrap();
        assert_eq!(subject.kind_of_get(key.as_str()).await, Some(ErrorKind::NotFound));
    }
    subject.storage.delete(&ObjectKey::parse("nobody/was/here").unwrap()).await.unwrap();
}

/// Each of `count` uploads at once succeeds or is told that we are overloaded.
async fn crowd(subject: Subject, count: usize, size: usize) {
    let bytes = Bytes::from(pattern(size, 19));
    let subject = Arc::new(subject);
    let mut uploads = JoinSet::new();
    for i in 0..count {
        let (subject, bytes) = (Arc::clone(&subject), bytes.clone());
        uploads.spawn(async move {
            let mut upload = subject.begin(&format!("acme/crowd/{i}")).await;
            for from in (0..bytes.len()).step_by(64 * 1024) {
                let to = bytes.len().min(from + 64 * 1024);
                upload.write(bytes.slice(from..to)).await?;
            }
            upload.finish(commit(&bytes)).await
        });
    }
    let mut stored = 0;
    while let Some(answer) = uploads.join_next().await {
        match answer.unwrap() {
            Ok(_) => stored += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Overloaded, "{error:?}"),
        }
    }
    subject.storage.drain().await;
    let (peak, total) = (subject.budget.peak(), subject.budget.total());
    eprintln!("{stored} of {count} stored, peak {} MiB of {}", peak / MIB, total / MIB);
    assert!(peak <= total / 2, "one tenant held {peak} of {total} bytes");
    assert_eq!(subject.budget.used(), 0);
    assert!(stored > count / 4, "only {stored} of {count} were stored");
    assert!(stored < count || subject.get("acme/crowd/0").await == bytes);
}

impl Subject {
    /// The same store as another process has it.
    async fn elsewhere(&self) -> Self {
        let budget = Arc::clone(&self.budget);
        let storage = self.settings.build(Arc::clone(&budget)).await.unwrap();
        Self { storage, budget, settings: self.settings.clone() }
    }

    fn share(&self) -> Share {
        self.budget.share("acme")
    }

    fn object(&self, key: &str) -> NewObject {
        NewObject {
            key: ObjectKey::parse(key).unwrap(),
            content_type: "image/jpeg",
            size_hint: None,
            share: self.share(),
            upload: Uuid::now_v7(),
            journal: None,
        }
    }

    async fn begin(&self, key: &str) -> Box<dyn Upload> {
        self.storage.begin(self.object(key)).await.unwrap()
    }

    async fn put(&self, key: &str, bytes: &[u8]) -> Result<Stored, ErrorKind> {
        self.store(key, bytes, false).await
    }

    async fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<Stored, ErrorKind> {
        self.store(key, bytes, true).await
    }

    async fn store(&self, key: &str, bytes: &[u8], if_absent: bool) -> Result<Stored, ErrorKind> {
        let mut upload = self.begin(key).await;
        for chunk in bytes.chunks(64 * 1024) {
            upload.write(Bytes::copy_from_slice(chunk)).await.map_err(|e| e.kind())?;
        }
        upload.finish(Commit { if_absent, ..commit(bytes) }).await.map_err(|e| e.kind())
    }

    async fn head(&self, key: &str) -> Result<Head, ErrorKind> {
        let head = self.storage.head(&ObjectKey::parse(key).unwrap()).await;
        head.map_err(|e| e.kind())
    }

    async fn read(&self, key: &str, how: Read) -> Result<Reading, ErrorKind> {
        let reading = self.storage.read(&ObjectKey::parse(key).unwrap(), how).await;
        reading.map_err(|e| e.kind())
    }

    async fn get(&self, key: &str) -> Bytes {
        self.read(key, Read::default()).await.unwrap().collect().await.unwrap()
    }

    async fn kind_of_get(&self, key: &str) -> Option<ErrorKind> {
        let read = self.read(key, Read::default()).await.err();
        assert_eq!(read, self.head(key).await.err(), "a head fails as a read does");
        read
    }
}

async fn build(settings: Settings, budget_mib: usize) -> Subject {
    let budget = Budget::new(budget_mib * MIB);
    let storage = settings.build(Arc::clone(&budget)).await.unwrap();
    Subject { storage, budget, settings }
}

fn commit(bytes: &[u8]) -> Commit {
    let sha256 = digest(&SHA256, bytes).as_ref().try_into().unwrap();
    Commit { sha256: Some(sha256), if_absent: false }
}

/// `len` bytes that differ with the place and the seed.
fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(len.div_ceil(8)).flatten().take(len).collect()
}
