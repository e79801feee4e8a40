//! What is particular to S3, asked of a real MinIO.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use aws_sdk_s3::config::Credentials;
use bytes::Bytes;
use gatehouse::storage::{
    BackendKind, Commit, Encryption, ErrorKind, NewObject, ObjectKey, S3Settings, Settings, Staged,
};

use super::{MIB, PART, Subject, build, commit, contract, crowd, pattern, resuming};
use crate::harness::minio::{Minio, minio};

#[tokio::test]
async fn s3_keeps_the_contract() {
    let bucket = minio().await.fresh_bucket().await;
    let subject = s3(&bucket, |_| {}).await;
    contract(&subject).await;
    for key in ["acme/left/5242881-true", "acme/left/10485761-false", "acme/absent/5242883"] {
        assert_eq!(minio().await.unfinished(&bucket, key).await, 0, "{key}");
    }
}

#[tokio::test]
async fn s3_keeps_the_contract_below_a_prefix() {
    let bucket = minio().await.fresh_bucket().await;
    let subject = s3(&bucket, |s| s.prefix = "a b/ü".into()).await;
    contract(&subject).await;
    for key in minio().await.keys(&bucket).await {
        assert!(key.starts_with("a b/ü"), "{key}");
    }
}

#[tokio::test]
async fn s3_keeps_the_media_type_and_checks_the_hash() {
    let bucket = minio().await.fresh_bucket().await;
    let subject = s3(&bucket, |_| {}).await;
    for size in [10, PART + 1] {
        let key = format!("acme/typed/{size}");
        subject.put(&key, &pattern(size, 15)).await.unwrap();
        let (_, kind) = minio().await.object(&bucket, &key).await;
        assert_eq!(kind, "image/jpeg");
    }
    let mut upload = subject.begin("acme/wrong").await;
    upload.write(Bytes::from_static(b"sent")).await.unwrap();
    let refused = upload.finish(commit(b"meant")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Internal);
    assert_eq!(subject.kind_of_get("acme/wrong").await, Some(ErrorKind::NotFound));
}

#[tokio::test]
async fn s3_says_when_the_name_is_too_long_for_it() {
    let bucket = minio().await.fresh_bucket().await;
    let subject = s3(&bucket, |s| s.prefix = "p/".into()).await;
    let key = ObjectKey::parse(&format!("{}{}", "abc/".repeat(200), "d".repeat(223))).unwrap();
    let new = NewObject { key, ..subject.object("a") };
    let refused = subject.storage.begin(new).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::KeyTooLong);
}

#[tokio::test]
async fn a_store_that_refuses_us_is_our_fault_and_tells_no_secret() {
    let bucket = minio().await.fresh_bucket().await;
    let missing = s3("no-such-bucket-here", |_| {}).await;
    let stranger = s3(&bucket, |s| {
        s.credentials = Some(Credentials::new("nobody", "top-secret", None, None, "tests"));
    })
    .await;
    for subject in [missing, stranger] {
        for size in [10, PART + 1] {
            let mut upload = subject.begin("acme/a").await;
            let bytes = pattern(size, 16);
            let error = match upload.write(bytes.clone().into()).await {
                Ok(()) => upload.finish(commit(&bytes)).await.unwrap_err(),
                Err(error) => error,
            };
            assert_eq!(error.kind(), ErrorKind::Internal, "{error:?}");
            assert!(!format!("{error:?}").contains("top-secret"));
        }
        assert_eq!(subject.storage.ready().await.unwrap_err().kind(), ErrorKind::Internal);
        assert_eq!(subject.kind_of_get("acme/a").await, Some(ErrorKind::Internal));
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_told_at_once_and_recovers() {
    let mut store = Minio::start().await;
    let bucket = store.fresh_bucket().await;
    let subject = s3_at(&store, &bucket, |_| {}).await;
    let mut half = subject.begin("acme/half").await;
    half.write(pattern(PART + 1, 17).into()).await.unwrap();
    subject.put("acme/before", b"before").await.unwrap();

    store.stop();
    let since = Instant::now();
    assert_eq!(subject.put("acme/a", b"a").await.unwrap_err(), ErrorKind::Unavailable);
    assert_eq!(subject.kind_of_get("acme/before").await, Some(ErrorKind::Unavailable));
    assert_eq!(subject.storage.ready().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    drop(half);

    store.restart().await;
    subject.put("acme/a", b"a").await.unwrap();
    assert_eq!(subject.get("acme/a").await, &b"a"[..]);
    assert_eq!(subject.get("acme/before").await, &b"before"[..]);
    subject.storage.ready().await.unwrap();
    // What was cut off while the store was down is cleaned up once it is back.
    subject.storage.drain().await;
    assert_eq!(store.unfinished(&bucket, "acme/half").await, 0);
}

#[tokio::test]
async fn a_store_that_hangs_is_not_ready() {
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let subject = s3("bucket", |s| {
        s.endpoint_url = Some(format!("http://{}", deaf.local_addr().unwrap()));
    })
    .await;
    let since = Instant::now();
    assert_eq!(subject.storage.ready().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
}

#[tokio::test]
async fn s3_encrypts_as_it_is_told() {
    let bucket = minio().await.fresh_bucket().await;
    let subject = s3(&bucket, |s| s.server_side_encryption = Some(Encryption::Aes256)).await;
    // This MinIO has no key service: that it says so shows that it was asked.
    for size in [10, PART + 1] {
        let mut upload = subject.begin("acme/a").await;
        let bytes = pattern(size, 18);
        let error = match upload.write(bytes.clone().into()).await {
            Ok(()) => upload.finish(commit(&bytes)).await.unwrap_err(),
            Err(error) => error,
        };
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("KMS") || cause.contains("encrypt"), "{cause}");
    }
}

#[tokio::test]
async fn two_hundred_s3_uploads_stay_in_the_budget() {
    let bucket = minio().await.fresh_bucket().await;
    crowd(s3(&bucket, |_| {}).await, 200, PART + MIB).await;
}

#[tokio::test]
async fn many_resumed_s3_uploads_stay_in_the_budget() {
    let bucket = minio().await.fresh_bucket().await;
    resuming::crowd(s3(&bucket, |_| {}).await, 60, PART + MIB).await;
}

pub(super) async fn s3(bucket: &str, change: impl FnOnce(&mut S3Settings)) -> Subject {
    s3_at(minio().await, bucket, change).await
}

pub(super) async fn s3_at(
    store: &Minio,
    bucket: &str,
    change: impl FnOnce(&mut S3Settings),
) -> Subject {
    let credentials = Credentials::new(&store.access_key, &store.secret_key, None, None, "tests");
    let mut settings = Settings { backend: BackendKind::S3, ..Settings::default() };
    settings.s3 = S3Settings {
        bucket: Some(bucket.to_owned()),
        endpoint_url: Some(store.endpoint.clone()),
        region: Some("us-east-1".to_owned()),
        part_size: bytesize::ByteSize(PART as u64),
        credentials: Some(credentials),
        ..S3Settings::default()
    };
    change(&mut settings.s3);
    build(settings, 64).await
}

#[tokio::test]
async fn a_large_copy_tells_its_hash() {
    let bucket = minio().await.fresh_bucket().await;
    let subject = s3(&bucket, |_| {}).await;
    let bytes = pattern(64 * MIB, 40);
    let stored = subject.put("_staging/acme/large", &bytes).await.unwrap();
    let key = ObjectKey::parse("_staging/acme/large").unwrap();
    let staged = Staged { key, etag: stored.etag, size: stored.size };
    let upload = subject.storage.begin_from(staged, subject.object("acme/large")).await.unwrap();
    let since = Instant::now();
    let commit = commit(&bytes);
    let stored = upload.finish(Commit { sha256: None, ..commit }).await.unwrap();
    eprintln!("copied in {:?}", since.elapsed());
    assert_eq!(stored.sha256, commit.sha256);
    let (_, kind) = minio().await.object(&bucket, "acme/large").await;
    assert_eq!(kind, "image/jpeg");
}

#[tokio::test]
async fn an_upload_keeps_its_parts_where_others_are_larger() {
    let bucket = minio().await.fresh_bucket().await;
    let (small, large) = (
        s3(&bucket, |_| {}).await,
        s3(&bucket, |s| s.part_size = bytesize::ByteSize::mib(9)).await,
    );
    let bytes = pattern(3 * PART, 41);
    let (new, staging) =
        (small.object("acme/kept"), ObjectKey::parse("_staging/acme/kept").unwrap());
    let mut upload = small.storage.resume(new.clone(), &staging, None).await.unwrap();
    upload.write(bytes[..PART + 7].to_vec().into()).await.unwrap();
    let suspended = upload.checkpoint().await.unwrap();
    drop(upload);

    let hinted = NewObject { size_hint: Some(u64::MAX), ..new.clone() };
    let mut upload = large.storage.resume(hinted, &staging, Some(&suspended)).await.unwrap();
    assert_eq!(upload.step(), PART as u64);
    upload.write(bytes[PART + 7..].to_vec().into()).await.unwrap();
    upload.finish(commit(&bytes)).await.unwrap();
    assert!(small.get("acme/kept").await == bytes);
}

#[tokio::test]
async fn an_upload_that_the_store_has_forgotten_is_not_found() {
    let bucket = minio().await.fresh_bucket().await;
    let subject = s3(&bucket, |_| {}).await;
    let (new, staging) =
        (subject.object("acme/lost"), ObjectKey::parse("_staging/acme/lost").unwrap());
    let mut upload = subject.storage.resume(new.clone(), &staging, None).await.unwrap();
    upload.write(pattern(PART + 7, 42).into()).await.unwrap();
    let suspended = upload.checkpoint().await.unwrap();
    drop(upload);
    subject.storage.drain().await;
    let left = subject.storage.unfinished(&new.key).await.unwrap();
    assert_eq!(left.len(), 1);
    subject.storage.abort(&new.key, &left[0]).await.unwrap();
    let lost = subject.storage.resume(new, &staging, Some(&suspended)).await.err().unwrap();
    assert_eq!(lost.kind(), ErrorKind::NotFound);
}
