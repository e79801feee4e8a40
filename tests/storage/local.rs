//! What is particular to files below a folder.

use std::{fs, os::unix::fs::symlink, path::Path};

use gatehouse::storage::{Budget, ErrorKind, ObjectKey, Settings};
use tempfile::TempDir;

use super::{MIB, Subject, build, commit, contract, crowd, pattern};

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

    assert_eq!(sweeping.storage.sweep().await.unwrap(), 2);
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
