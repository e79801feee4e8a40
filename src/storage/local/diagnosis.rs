//! What is found out about a folder by trying it: whatever uploads need of its file system.

use std::io;

use super::{
    super::{
        ObjectKey,
        diagnosis::{Finding, keys},
    },
    Disk, Result,
    root::Root,
};

const WRITE: &str = "writing a file and putting it on the disk (fsync)";
const RENAME: &str = "renaming it, and putting its folder on the disk";
const LINK: &str = "linking it, as direct uploads are (link)";
const REMOVE: &str = "removing it";

pub(super) async fn diagnose(disk: &Disk, staging: &str) -> Result<Vec<Finding>> {
    let [key] = keys(staging)?;
    let folders = format!("{staging}/");
    disk.spawn("diagnose", move |root| Ok(tried(root, &key, &folders))).await
}

fn tried(root: &Root, key: &ObjectKey, folders: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let file = root.staging().create().and_then(|mut file| {
        file.write(b"gatehouse check")?;
        file.sync()?;
        Ok(file)
    });
    let Some(file) = note(&mut findings, WRITE, file, "see that its disk has room and is writable")
    else {
        return findings;
    };
    let placed = root.place(file, key, true);
    let remedy = "let this user make folders and files in it";
    if note(&mut findings, RENAME, placed, remedy).is_some() {
        let linked = root
            .folder_of(key)
            .and_then(|(folder, name)| root.staging().link(&folder, name)?.remove());
        let remedy = "use a file system that has hard links";
        note(&mut findings, LINK, linked, remedy);
    }
    let removed = root.remove(key).and_then(|()| root.prune(folders));
    note(&mut findings, REMOVE, removed, "let this user remove files and folders in it");
    findings
}

fn note<T>(
    findings: &mut Vec<Finding>,
    tried: &str,
    outcome: io::Result<T>,
    remedy: &str,
) -> Option<T> {
    let tried = format!("storage.local.root: {tried}");
    match outcome {
        Ok(value) => {
            findings.push(Finding::fine(tried));
            Some(value)
        }
        Err(cause) => {
            findings.push(Finding::missing(tried, format!("{cause}; {remedy}")));
            None
        }
    }
}
