//! Uploads of what is staged already, and uploads that go on in other processes.

use std::sync::Arc;

use bytes::Bytes;
use gatehouse::storage::{
    Commit, ErrorKind, NewObject, ObjectKey, Resumable, Staged, Stored, Suspended,
};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{MIB, PART, Subject, commit, pattern, reading::list, step};

pub(super) async fn contract(subject: &Subject) {
    step("what is staged becomes an object", staged(subject)).await;
    step("what is staged and changed does not", staged_and_changed(subject)).await;
    step("a refused name leaves what is staged as it was", staged_and_refused(subject)).await;
    step("an upload goes on wherever it was cut", cuts(subject)).await;
    step("what was told at a checkpoint is good until the next", crash(subject)).await;
    step("an aborted upload leaves nothing staged", aborts(subject)).await;
    step("a resumed upload replaces what is there", resumed_replaces(subject)).await;
    step("a finish that is refused can be tried again", finishes_later(subject)).await;
    step("what is gone or no state is told apart", strange_states(subject)).await;
    step("a hash is of one version", hashes(subject)).await;
}

async fn staged(subject: &Subject) {
    for size in [0, 10, PART + 1] {
        let bytes = pattern(size, 30);
        let (new, staged) = staged_object(subject, &bytes).await;
        let key = new.key.clone();
        let mut upload = subject.storage.begin_from(staged.clone(), new.clone()).await.unwrap();
        let refused = upload.write(Bytes::from_static(b"more")).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Internal);
        upload.abort().await.unwrap();

        let upload = subject.storage.begin_from(staged.clone(), new.clone()).await.unwrap();
        let stored = upload.finish(blind()).await.unwrap();
        assert_eq!(stored.size, size as u64);
        assert!(stored.sha256.is_none_or(|hash| Some(hash) == commit(&bytes).sha256));
        assert!(subject.get(key.as_str()).await == bytes);
        let head = subject.head(key.as_str()).await.unwrap();
        assert_eq!(head.etag, stored.etag);
        assert!(head.upload.is_none_or(|upload| upload == new.upload));
        subject.storage.delete(&staged.key).await.unwrap();
        assert!(subject.get(key.as_str()).await == bytes);
    }
}

async fn staged_and_changed(subject: &Subject) {
    let (new, staged) = staged_object(subject, b"first").await;
    let key = new.key.clone();
    subject.put(staged.key.as_str(), b"other").await.unwrap();
    let upload = subject.storage.begin_from(staged.clone(), new.clone()).await.unwrap();
    assert_eq!(upload.finish(blind()).await.unwrap_err().kind(), ErrorKind::Changed);
    subject.storage.delete(&staged.key).await.unwrap();
    let upload = subject.storage.begin_from(staged, new).await.unwrap();
    let missing = upload.finish(blind()).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(!missing.may_take_effect());
    assert_eq!(subject.kind_of_get(key.as_str()).await, Some(ErrorKind::NotFound));
}

async fn staged_and_refused(subject: &Subject) {
    let (new, staged) = staged_object(subject, b"second").await;
    subject.put(new.key.as_str(), b"first").await.unwrap();
    let upload = subject.storage.begin_from(staged.clone(), new.clone()).await.unwrap();
    let refused = upload.finish(Commit { if_absent: true, ..blind() }).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert_eq!(subject.get(new.key.as_str()).await, &b"first"[..]);
    let upload = subject.storage.begin_from(staged, new.clone()).await.unwrap();
    upload.finish(blind()).await.unwrap();
    assert_eq!(subject.get(new.key.as_str()).await, &b"second"[..]);
}

async fn cuts(subject: &Subject) {
    let total = 2 * PART + 100_000;
    let cuts =
        [0, 1, 100_000, PART - 1, PART, PART + 1, 2 * PART - 1, 2 * PART, 2 * PART + 1, total];
    for cut in cuts {
        let trial = Trial::new(subject, total, 31);
        let mut upload = trial.resume(subject, None).await.unwrap();
        trial.write(&mut upload, 0, cut).await;
        let suspended = upload.checkpoint().await.unwrap();
        assert_eq!(suspended.size, cut as u64);
        assert_eq!(upload.checkpoint().await.unwrap(), suspended);
        assert_eq!(subject.kind_of_get(trial.new.key.as_str()).await, Some(ErrorKind::NotFound));
        drop(upload);

        let elsewhere = subject.elsewhere().await;
        let mut upload = trial.resume(&elsewhere, Some(&suspended)).await.unwrap();
        trial.write(&mut upload, cut, total).await;
        trial.finish(&elsewhere, upload).await.unwrap();
        trial.is_whole_and_alone(subject).await;
    }
    // Cut at every place of a few, each time in another process.
    let trial = Trial::new(subject, total, 32);
    let mut suspended = None;
    let mut at = 0;
    for to in [7, 64 * 1024, MIB, MIB + 1, PART + 5, PART + MIB, 2 * PART, total] {
        let elsewhere = subject.elsewhere().await;
        let mut upload = trial.resume(&elsewhere, suspended.as_ref()).await.unwrap();
        trial.write(&mut upload, at, to).await;
        suspended = Some(upload.checkpoint().await.unwrap());
        at = to;
    }
    let upload = trial.resume(subject, suspended.as_ref()).await.unwrap();
    trial.finish(subject, upload).await.unwrap();
    trial.is_whole_and_alone(subject).await;
}

async fn crash(subject: &Subject) {
    for (first, second) in [(10, 20), (100, PART + 1), (PART + 5, PART + 9), (PART, 2 * PART)] {
        let trial = Trial::new(subject, 2 * PART + 50, 33);
        let mut upload = trial.resume(subject, None).await.unwrap();
        trial.write(&mut upload, 0, first).await;
        let told = upload.checkpoint().await.unwrap();
        // Other bytes than those that come in the end, told and not.
        upload.write(pattern(second - first, 99).into()).await.unwrap();
        upload.checkpoint().await.unwrap();
        upload.write(pattern(MIB, 98).into()).await.unwrap();
        drop(upload);

        let mut upload = trial.resume(&subject.elsewhere().await, Some(&told)).await.unwrap();
        trial.write(&mut upload, first, trial.bytes.len()).await;
        trial.finish(subject, upload).await.unwrap();
        // What was begun after that checkpoint, only the journal knows of.
        for reference in subject.storage.unfinished(&trial.new.key).await.unwrap() {
            assert!(first < PART);
            subject.storage.abort(&trial.new.key, &reference).await.unwrap();
        }
        trial.is_whole_and_alone(subject).await;
    }
}

async fn aborts(subject: &Subject) {
    for size in [0, 10, PART, 2 * PART + 10] {
        for told in [false, true] {
            let trial = Trial::new(subject, size, 34);
            let mut upload = trial.resume(subject, None).await.unwrap();
            trial.write(&mut upload, 0, size).await;
            let suspended = if told { Some(upload.checkpoint().await.unwrap()) } else { None };
            if told {
                drop(upload);
                upload = trial.resume(subject, suspended.as_ref()).await.unwrap();
            }
            upload.abort().await.unwrap();
            trial.is_alone(subject).await;
            assert_eq!(
                subject.kind_of_get(trial.new.key.as_str()).await,
                Some(ErrorKind::NotFound)
            );
        }
    }
}

async fn resumed_replaces(subject: &Subject) {
    for size in [10, PART + 10] {
        let trial = Trial::new(subject, size, 35);
        subject.put(trial.new.key.as_str(), b"before").await.unwrap();
        let mut upload = trial.resume(subject, None).await.unwrap();
        trial.write(&mut upload, 0, size).await;
        let suspended = upload.checkpoint().await.unwrap();
        drop(upload);
        assert_eq!(subject.get(trial.new.key.as_str()).await, &b"before"[..]);
        let upload = trial.resume(subject, Some(&suspended)).await.unwrap();
        trial.finish(subject, upload).await.unwrap();
        trial.is_whole_and_alone(subject).await;
    }
}

async fn finishes_later(subject: &Subject) {
    for size in [10, PART + 10] {
        let trial = Trial::new(subject, size, 36);
        subject.put(trial.new.key.as_str(), b"before").await.unwrap();
        let mut upload = trial.resume(subject, None).await.unwrap();
        trial.write(&mut upload, 0, size).await;
        let suspended = upload.checkpoint().await.unwrap();
        let if_absent = Commit { if_absent: true, ..commit(&trial.bytes) };
        let refused = upload.finish(if_absent).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        let upload = trial.resume(subject, Some(&suspended)).await.unwrap();
        trial.finish(subject, upload).await.unwrap();
        trial.is_whole_and_alone(subject).await;
    }
}

async fn strange_states(subject: &Subject) {
    let trial = Trial::new(subject, PART + 10, 37);
    let mut upload = trial.resume(subject, None).await.unwrap();
    trial.write(&mut upload, 0, trial.bytes.len()).await;
    let suspended = upload.checkpoint().await.unwrap();
    drop(upload);
    for state in ["", "{}", "null", "{\"part_size\":0,\"upload_id\":null}"] {
        let strange = Suspended { state: state.to_owned(), ..suspended };
        let refused = trial.resume(subject, Some(&strange)).await.err();
        assert_eq!(refused, Some(ErrorKind::Internal), "{state:?}");
    }
    let more = Suspended { size: suspended.size + 1, ..suspended.clone() };
    assert_eq!(trial.resume(subject, Some(&more)).await.err(), Some(ErrorKind::NotFound));
    let upload = trial.resume(subject, Some(&suspended)).await.unwrap();
    trial.finish(subject, upload).await.unwrap();
    assert_eq!(trial.resume(subject, Some(&suspended)).await.err(), Some(ErrorKind::NotFound));
    trial.is_whole_and_alone(subject).await;
}

async fn hashes(subject: &Subject) {
    let bytes = pattern(PART + 3, 38);
    let key = ObjectKey::parse("acme/hashed").unwrap();
    let stored = subject.put(key.as_str(), &bytes).await.unwrap();
    let hash = subject.storage.sha256(&key, &stored.etag).await.unwrap();
    assert_eq!(Some(hash), commit(&bytes).sha256);
    let other = subject.storage.sha256(&key, "other").await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Changed);
}

/// Each of `count` uploads at once is stored in two runs, or is told that we are overloaded.
pub(super) async fn crowd(subject: Subject, count: usize, size: usize) {
    let subject = Arc::new(subject);
    let mut uploads = JoinSet::new();
    for _ in 0..count {
        let subject = Arc::clone(&subject);
        uploads.spawn(async move {
            let trial = Trial::new(&subject, size, 39);
            let half = Bytes::from(trial.bytes[..size / 2].to_vec());
            let mut upload = trial.resume(&subject, None).await?;
            upload.write(half).await.map_err(|e| e.kind())?;
            let suspended = upload.checkpoint().await.map_err(|e| e.kind())?;
            drop(upload);
            let mut upload = trial.resume(&subject, Some(&suspended)).await?;
            let rest = Bytes::from(trial.bytes[size / 2..].to_vec());
            upload.write(rest).await.map_err(|e| e.kind())?;
            trial.finish(&subject, upload).await?;
            Ok::<_, ErrorKind>(trial)
        });
    }
    let mut stored = Vec::new();
    while let Some(answer) = uploads.join_next().await {
        match answer.unwrap() {
            Ok(trial) => stored.push(trial),
            Err(kind) => assert_eq!(kind, ErrorKind::Overloaded),
        }
    }
    subject.storage.drain().await;
    let (peak, total) = (subject.budget.peak(), subject.budget.total());
    eprintln!("{} of {count} stored, peak {} MiB", stored.len(), peak / MIB);
    assert!(peak <= total / 2, "one tenant held {peak} of {total} bytes");
    assert_eq!(subject.budget.used(), 0);
    assert!(stored.len() > count / 4, "only {} of {count} were stored", stored.len());
    stored[0].is_whole_and_alone(&subject).await;
}

/// An upload that is to become an object of these bytes.
struct Trial {
    new: NewObject,
    staging: ObjectKey,
    bytes: Vec<u8>,
}

impl Trial {
    fn new(subject: &Subject, size: usize, seed: u64) -> Self {
        let upload = Uuid::now_v7();
        let staging = ObjectKey::parse(&format!("_staging/acme/{upload}")).unwrap();
        let new = NewObject { upload, ..subject.object(&format!("acme/resumed/{upload}")) };
        Self { new, staging, bytes: pattern(size, seed) }
    }

    async fn resume(
        &self,
        subject: &Subject,
        from: Option<&Suspended>,
    ) -> Result<Box<dyn Resumable>, ErrorKind> {
        let resumed = subject.storage.resume(self.new.clone(), &self.staging, from).await;
        resumed.map_err(|e| e.kind())
    }

    async fn write(&self, upload: &mut Box<dyn Resumable>, from: usize, to: usize) {
        for piece in self.bytes[from..to].chunks(200_000) {
            upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
    }

    async fn finish(
        &self,
        subject: &Subject,
        upload: Box<dyn Resumable>,
    ) -> Result<Stored, ErrorKind> {
        let stored = upload.finish(commit(&self.bytes)).await.map_err(|e| e.kind())?;
        let head = subject.head(self.new.key.as_str()).await?;
        assert_eq!((head.size, &head.etag), (stored.size, &stored.etag));
        assert!(head.upload.is_none_or(|upload| upload == self.new.upload));
        Ok(stored)
    }

    async fn is_whole_and_alone(&self, subject: &Subject) {
        assert!(subject.get(self.new.key.as_str()).await == self.bytes);
        self.is_alone(subject).await;
    }

    /// Nothing is left of the upload but its object.
    async fn is_alone(&self, subject: &Subject) {
        subject.storage.drain().await;
        assert_eq!(subject.head(self.staging.as_str()).await, Err(ErrorKind::NotFound));
        assert!(list(subject, &format!("{}/", self.staging)).await.is_empty());
        let unfinished = subject.storage.unfinished(&self.new.key).await.unwrap();
        assert_eq!(unfinished, [""; 0]);
    }
}

/// An object that waits to become another, and that other.
async fn staged_object(subject: &Subject, bytes: &[u8]) -> (NewObject, Staged) {
    let upload = Uuid::now_v7();
    let key = ObjectKey::parse(&format!("_staging/acme/{upload}")).unwrap();
    let stored = subject.put(key.as_str(), bytes).await.unwrap();
    let new = NewObject { upload, ..subject.object(&format!("acme/staged/a b+ü/{upload}")) };
    (new, Staged { key, etag: stored.etag, size: stored.size })
}

/// Of bytes that did not pass through this process.
fn blind() -> Commit {
    Commit { sha256: None, if_absent: false }
}
