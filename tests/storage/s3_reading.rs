//! What is particular to reading from S3, and to what S3 keeps of unfinished uploads.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use aws_sdk_s3::primitives::ByteStream;
use futures_util::{StreamExt, future::BoxFuture};
use gatehouse::storage::{ErrorKind, Journal, JournalResult, NewObject, ObjectKey, Read};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{
    PART, Subject, commit, pattern,
    reading::list,
    s3::{s3, s3_at},
};
use crate::harness::minio::{Minio, minio};

#[tokio::test]
async fn an_s3_object_tells_its_upload_and_its_type() {
    let bucket = minio().await.fresh_bucket().await;
    let subject = s3(&bucket, |_| {}).await;
    for size in [10, PART + 1] {
        let new = subject.object(&format!("acme/upload/{size}"));
        let (key, upload) = (new.key.clone(), new.upload);
        let bytes = pattern(size, 30);
        let mut sending = subject.storage.begin(new).await.unwrap();
        sending.write(bytes.clone().into()).await.unwrap();
        sending.finish(commit(&bytes)).await.unwrap();
        let head = subject.storage.head(&key).await.unwrap();
        assert_eq!((head.upload, head.content_type.as_deref()), (Some(upload), Some("image/jpeg")));
    }
}

#[tokio::test]
async fn s3_lists_others_keys_as_they_are() {
    let store = minio().await;
    let bucket = store.fresh_bucket().await;
    let subject = s3(&bucket, |s| s.prefix = "p+ q/".into()).await;
    let keys = ["..hidden/a b+c%2F", "acme/\u{1}\u{7f}control", "acme/customer/x"];
    for key in keys {
        let put = store.client().put_object().bucket(&bucket).key(format!("p+ q/{key}"));
        put.body(ByteStream::from_static(b"theirs")).send().await.unwrap();
    }
    let put = store.client().put_object().bucket(&bucket).key("elsewhere");
    put.body(ByteStream::from_static(b"not ours")).send().await.unwrap();
    let found: Vec<_> = list(&subject, "").await.into_iter().map(|o| o.key).collect();
    assert_eq!(found, keys);
    let head = subject.head("acme/customer/x").await.unwrap();
    assert_eq!((head.upload, head.size), (None, 6));
}

#[tokio::test]
async fn a_missing_bucket_is_not_taken_for_an_empty_one() {
    let subject = s3("no-such-bucket-here", |_| {}).await;
    assert_eq!(subject.head("acme/a").await.unwrap_err(), ErrorKind::Internal);
    assert_eq!(subject.kind_of_get("acme/a").await, Some(ErrorKind::Internal));
    assert_eq!(subject.storage.list("", None).await.unwrap_err().kind(), ErrorKind::Internal);
}

#[tokio::test]
async fn a_body_that_breaks_off_ends_in_an_error() {
    let store = minio().await;
    let bucket = store.fresh_bucket().await;
    let bytes = pattern(3 * PART, 31);
    s3(&bucket, |_| {}).await.put("acme/cut/a", &bytes).await.unwrap();
    let cutting = cut_after(store, PART).await;
    let subject = s3(&bucket, |s| s.endpoint_url = Some(format!("http://{cutting}"))).await;
    let mut body = subject.read("acme/cut/a", Read::default()).await.unwrap().body;
    let mut got = Vec::new();
    let error = loop {
        match body.next().await.expect("no clean end") {
            Ok(piece) => got.extend_from_slice(&piece),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(bytes.starts_with(&got) && got.len() < bytes.len(), "{} bytes", got.len());
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn the_journal_hears_of_a_multipart_upload_before_and_after() {
    let bucket = minio().await.fresh_bucket().await;
    let subject = s3(&bucket, |_| {}).await;
    let key = "acme/journal/a";
    let journal = Told::new(&bucket, key, None);
    store(&subject, key, &journal, PART - 1).await.unwrap();
    assert_eq!(*journal.told.lock().unwrap(), [], "nothing outlives the process");

    store(&subject, key, &journal, 2 * PART).await.unwrap();
    let told = journal.told.lock().unwrap().clone();
    assert!(
        matches!(&told[..], [Entry::Opening(0), Entry::Opened(id, 1)] if !id.is_empty()),
        "{told:?}"
    );
}

#[tokio::test]
async fn an_upload_that_cannot_be_journalled_fails_and_leaves_nothing() {
    let bucket = minio().await.fresh_bucket().await;
    let subject = s3(&bucket, |_| {}).await;
    let key = "acme/journal/failing";
    for (failing, entries) in [("opening", 1), ("opened", 2)] {
        let journal = Told::new(&bucket, key, Some(failing));
        let refused = store(&subject, key, &journal, PART + 1).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        let cause = std::error::Error::source(&refused).unwrap();
        assert_eq!(cause.to_string(), failing);
        assert_eq!(journal.told.lock().unwrap().len(), entries);
        assert_eq!(minio().await.unfinished(&bucket, key).await, 0, "after {failing}");
        assert_eq!(subject.kind_of_get(key).await, Some(ErrorKind::NotFound));
    }
}

#[tokio::test]
async fn what_the_dead_left_is_found_by_key_and_aborted_by_reference() {
    let minio = minio().await;
    let bucket = minio.fresh_bucket().await;
    let subject = s3(&bucket, |s| s.prefix = "p/".into()).await;
    let key = ObjectKey::parse("acme/dead/a").unwrap();
    let begin = async |key: &str| {
        let create = minio.client().create_multipart_upload().bucket(&bucket).key(key);
        let id = create.send().await.unwrap().upload_id.unwrap();
        let part = minio.client().upload_part().bucket(&bucket).key(key).upload_id(&id);
        part.part_number(1).body(ByteStream::from_static(b"part")).send().await.unwrap();
        id
    };
    let mut ours = vec![begin("p/acme/dead/a").await, begin("p/acme/dead/a").await];
    begin("p/acme/dead/ab").await;
    begin("acme/dead/a").await;

    let mut found = subject.storage.unfinished(&key).await.unwrap();
    ours.sort();
    found.sort();
    assert_eq!(found, ours);
    subject.storage.abort(&key, &ours[0]).await.unwrap();
    assert_eq!(minio.unfinished(&bucket, "p/acme/dead/a").await, 1);
    for reference in &ours {
        // One of them is gone already.
        subject.storage.abort(&key, reference).await.unwrap();
    }
    for (key, left) in [("p/acme/dead/a", 0), ("p/acme/dead/ab", 1), ("acme/dead/a", 1)] {
        assert_eq!(minio.unfinished(&bucket, key).await, left, "{key}");
    }
}

#[tokio::test]
async fn a_store_that_is_down_fails_reads_as_unavailable() {
    let mut store = Minio::start().await;
    let bucket = store.fresh_bucket().await;
    let subject = s3_at(&store, &bucket, |_| {}).await;
    store.stop();
    let key = ObjectKey::parse("acme/a").unwrap();
    assert_eq!(subject.head("acme/a").await.unwrap_err(), ErrorKind::Unavailable);
    assert_eq!(subject.storage.list("", None).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let failed = subject.storage.abort(&key, "some-id").await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unavailable);
    assert_eq!(subject.storage.unfinished(&key).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

async fn store(
    subject: &Subject,
    key: &str,
    journal: &Arc<Told>,
    size: usize,
) -> gatehouse::storage::Result<()> {
    let journal: Arc<dyn Journal> = Arc::clone(journal) as _;
    let new = NewObject { journal: Some(journal), ..subject.object(key) };
    let bytes = pattern(size, 32);
    let mut upload = subject.storage.begin(new).await?;
    upload.write(bytes.clone().into()).await?;
    upload.finish(commit(&bytes)).await.map(drop)
}

/// A journal that looks how many multipart uploads there are whenever it is told something.
struct Told {
    bucket: String,
    key: String,
    failing: Option<&'static str>,
    told: Mutex<Vec<Entry>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Entry {
    Opening(usize),
    Opened(String, usize),
}

impl Told {
    fn new(bucket: &str, key: &str, failing: Option<&'static str>) -> Arc<Self> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        Arc::new(Self { bucket, key, failing, told: Mutex::default() })
    }

    async fn unfinished(&self) -> usize {
        minio().await.unfinished(&self.bucket, &self.key).await
    }

    fn answer(&self, name: &'static str) -> JournalResult {
        if self.failing == Some(name) { Err(name.into()) } else { Ok(()) }
    }
}

impl Journal for Told {
    fn opening(&self) -> BoxFuture<'_, JournalResult> {
        Box::pin(async {
            let unfinished = self.unfinished().await;
            self.told.lock().unwrap().push(Entry::Opening(unfinished));
            self.answer("opening")
        })
    }

    fn opened<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, JournalResult> {
        Box::pin(async {
            let unfinished = self.unfinished().await;
            self.told.lock().unwrap().push(Entry::Opened(reference.to_owned(), unfinished));
            self.answer("opened")
        })
    }
}

/// Stands in front of the store and ends each connection once it answered this many bytes.
async fn cut_after(store: &Minio, bytes: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let behind = store.endpoint.strip_prefix("http://").unwrap().to_owned();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let behind = behind.clone();
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let server = TcpStream::connect(behind).await.unwrap();
                let (from_server, mut to_server) = server.into_split();
                let mut from_server = from_server.take(bytes as u64);
                tokio::select! {
                    _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
                    _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
                }
                let _ = to_client.shutdown().await;
            });
        }
    });
    addr
}
