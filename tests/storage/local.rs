//! What is particular to files below a folder.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::StreamExt;
use gatehouse::storage::{Budget, ErrorKind, ObjectKey, Read, Settings};
use tempfile::TempDir;

use super::{MIB, Subject, build, commit, contract, crowd, pattern, reading::list, resuming};

#[tokio::test]
async fn local_files_keep_the_contract() {
    let root = TempDir::new().unwrap();
    let subject = local(root.path(), 64).await;
    contract(&subject).await;
    assert_eq!(temporary_files(root.path()), 0);
}

#[tokio::test]
async fn local_names_are_files_below_the_root() {
    let root = TempDir::new().unwrap();
    let subject = local(root.path(), 64).await;
    subject.put("acme/customer/1/cat.jpg", b"meow").await.unwrap();
    assert_eq!(fs::read(root.path().join("acme/customer/1/cat.jpg")).unwrap(), b"meow");
}

#[tokio::test]
async fn a_link_in_the_root_leads_nowhere() {
    let (root, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let subject = local(root.path(), 64).await;
    symlink(outside.path(), root.path().join("acme")).unwrap();
    fs::create_dir(root.path().join("other")).unwrap();
    symlink(outside.path().join("secret"), root.path().join("other/link")).unwrap();

    assert_eq!(subject.kind_of_get("acme/secret").await, Some(ErrorKind::Internal));
    assert_eq!(subject.kind_of_get("other/link").await, Some(ErrorKind::Internal));
    assert_eq!(subject.put("acme/new", b"x").await.unwrap_err(), ErrorKind::Internal);
    assert!(subject.storage.delete(&ObjectKey::parse("acme/secret").unwrap()).await.is_err());
    subject.put("other/link", b"replaced").await.unwrap();

    assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "secret");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(subject.get("other/link").await, &b"replaced"[..]);
}

#[tokio::test]
async fn a_file_that_is_cut_short_meanwhile_ends_in_an_error() {
    let root = TempDir::new().unwrap();
    let subject = local(root.path(), 64).await;
    let bytes = pattern(3 * MIB, 15);
    subject.put("acme/cut", &bytes).await.unwrap();
    let body = subject.read("acme/cut", Read::default()).await.unwrap().body;
    let file = fs::OpenOptions::new().write(true).open(root.path().join("acme/cut")).unwrap();
    file.set_len(2 * MIB as u64).unwrap();
    let mut items: Vec<_> = body.collect().await;
    assert!(items.pop().unwrap().is_err());
    let came: Vec<_> = items.into_iter().map(Result::unwrap).collect();
    assert!(bytes.starts_with(&came.concat()));
}

#[tokio::test]
async fn what_is_no_file_is_not_listed() {
    let (root, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let subject = local(root.path(), 64).await;
    subject.put("acme/a", b"x").await.unwrap();
    symlink(outside.path(), root.path().join("acme/folder")).unwrap();
    symlink(outside.path().join("secret"), root.path().join("acme/link")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(root.path().join("acme/pipe")).status();
    assert!(made.unwrap().success());
    fs::create_dir_all(root.path().join("acme/empty/too")).unwrap();

    let found: Vec<_> = list(&subject, "").await.into_iter().map(|o| o.key).collect();
    assert_eq!(found, ["acme/a"]);
    assert_eq!(subject.kind_of_get("acme/pipe").await, Some(ErrorKind::Internal));
}

#[tokio::test]
async fn pruning_takes_the_empty_folders_only() {
    let root = TempDir::new().unwrap();
    let subject = local(root.path(), 64).await;
    for key in ["acme/customer/1/a", "acme/customer/1/b", "acme/customer/2/a", "other/x/y"] {
        subject.put(key, b"x").await.unwrap();
    }
    let remove = async |key: &str| {
        subject.storage.delete(&ObjectKey::parse(key).unwrap()).await.unwrap();
    };
    let is_there = |path: &str| root.path().join(path).exists();
    remove("acme/customer/1/a").await;
    subject.storage.prune("acme/customer/1/").await.unwrap();
    assert!(is_there("acme/customer/1/b"));
    remove("acme/customer/1/b").await;
    remove("acme/customer/2/a").await;
    subject.storage.prune("acme/customer/1/").await.unwrap();
    assert!(!is_there("acme/customer/1") && is_there("acme/customer/2"));
    subject.storage.prune("acme/").await.unwrap();
    assert!(!is_there("acme") && is_there("other/x/y"));
    remove("other/x/y").await;
    subject.storage.prune("").await.unwrap();
    assert!(!is_there("other") && is_there(".gatehouse"));
    subject.put("acme/customer/1/a", b"again").await.unwrap();
    assert_eq!(subject.get("acme/customer/1/a").await, &b"again"[..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_do_not_mind_that_their_folder_is_pruned() {
    let root = TempDir::new().unwrap();
    let (subject, pruning) = (local(root.path(), 64).await, local(root.path(), 64).await);
    let subject = Arc::new(subject);
    let done = Arc::new(AtomicBool::new(false));
    let pruner = tokio::spawn({
        let done = Arc::clone(&done);
        async move {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) {
                pruning.storage.prune("acme/").await.unwrap();
                rounds += 1;
            }
            rounds
        }
    });
    let uploaders = (0..4).map(|i| {
        let subject = Arc::clone(&subject);
        tokio::spawn(async move {
            let key = ObjectKey::parse(&format!("acme/customer/1/{i}")).unwrap();
            for round in 0..100 {
                let bytes = pattern(100, round);
                subject.put(key.as_str(), &bytes).await.unwrap();
                assert_eq!(subject.get(key.as_str()).await, bytes);
                subject.storage.delete(&key).await.unwrap();
            }
        })
    });
    for uploader in uploaders.collect::<Vec<_>>() {
        uploader.await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    assert!(pruner.await.unwrap() > 100);
    assert_eq!(temporary_files(root.path()), 0);
}

#[tokio::test]
async fn a_sweep_takes_only_what_the_dead_left() {
    let root = TempDir::new().unwrap();
    let (living, sweeping) = (local(root.path(), 64).await, local(root.path(), 64).await);
    let bytes = pattern(3 * MIB, 14);
    let mut upload = living.begin("acme/alive").await;
    upload.write(bytes.clone().into()).await.unwrap();

    let home = root.path().join(".gatehouse");
    fs::create_dir(home.join("dead")).unwrap();
    fs::write(home.join("dead/0"), "half").unwrap();
    fs::write(home.join("dead/1"), "half").unwrap();
    fs::write(home.join("dead.lock"), "").unwrap();
    fs::write(home.join("early.lock"), "").unwrap();

    assert_eq!(sweeping.storage.sweep(&HashSet::new()).await.unwrap(), 2);
    assert!(!home.join("dead").exists() && !home.join("dead.lock").exists());
    upload.finish(commit(&bytes)).await.unwrap();
    assert!(sweeping.get("acme/alive").await == bytes);
}

#[tokio::test]
async fn a_root_that_is_no_folder_is_named() {
    let root = TempDir::new().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let mut settings = Settings::default();
    settings.local.root = file.clone();
    let error = settings.build(Budget::new(64 * MIB)).await.err().unwrap();
    assert_eq!(error.setting(), "local.root");
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn two_hundred_local_uploads_stay_in_the_budget() {
    let root = TempDir::new().unwrap();
    crowd(local(root.path(), 16).await, 200, 2 * MIB).await;
}

#[tokio::test]
async fn many_resumed_local_uploads_stay_in_the_budget() {
    let root = TempDir::new().unwrap();
    resuming::crowd(local(root.path(), 16).await, 100, 2 * MIB).await;
}

#[tokio::test]
async fn an_upload_is_taken_up_through_no_link_and_by_one_at_a_time() {
    let (root, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let secret = outside.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let subject = local(root.path(), 64).await;
    fs::create_dir_all(root.path().join("_staging/acme")).unwrap();
    symlink(&secret, root.path().join("_staging/acme/link")).unwrap();
    symlink(outside.path(), root.path().join("_staging/folder")).unwrap();
    for staging in ["_staging/acme/link", "_staging/folder/new"] {
        let staging = ObjectKey::parse(staging).unwrap();
        let refused = subject.storage.resume(subject.object("acme/a"), &staging, None).await;
        assert_eq!(refused.err().unwrap().kind(), ErrorKind::Internal);
    }
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);

    let staging = ObjectKey::parse("_staging/acme/one").unwrap();
    let new = subject.object("acme/one");
    let mut first = subject.storage.resume(new.clone(), &staging, None).await.unwrap();
    first.write("first".into()).await.unwrap();
    let suspended = first.checkpoint().await.unwrap();
    let second = subject.storage.resume(new.clone(), &staging, Some(&suspended)).await;
    assert_eq!(second.err().unwrap().kind(), ErrorKind::Unavailable);
    // Who waits while it is finished has nothing to cut then.
    let waiting = subject.storage.resume(new, &staging, Some(&suspended));
    let (waiting, finished) = tokio::join!(waiting, first.finish(commit(b"first")));
    finished.unwrap();
    assert_eq!(waiting.err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(subject.get("acme/one").await, &b"first"[..]);
}

async fn local(root: &Path, budget_mib: usize) -> Subject {
    let mut settings = Settings::default();
    settings.local.root = root.to_owned();
    build(settings, budget_mib).await
}

/// Files of uploads that are not finished, below a local root.
fn temporary_files(root: &Path) -> usize {
    let processes = fs::read_dir(root.join(".gatehouse")).unwrap();
    let folders = processes.map(|p| p.unwrap().path()).filter(|p| p.is_dir());
    folders.map(|f| fs::read_dir(f).unwrap().count()).sum()
}
