//! Walking the folders: a listing in the order of the keys, and the removal of empty folders.
//!
//! A folder of a million files is never held whole: of each folder, only the next names that a
//! page has room for.

use std::{
    collections::BinaryHeap,
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, Dir, FileType},
    io::Errno,
};

use super::{
    super::{Listed, Page, read::PAGE},
    read::{etag_of, modified, size_of},
    root::{Root, open_folder},
    staging::names,
};

impl Root {
    /// The next page of the objects below `prefix`, which is one.
    pub(super) fn list(&self, prefix: &str, after: &str) -> io::Result<Page> {
        let mut objects = Vec::new();
        let all_before = after > prefix && !after.starts_with(prefix);
        if !all_before && let Some(folder) = found(self.folder_at(prefix))? {
            walk(&folder, prefix, after, &mut objects)?;
        }
        // One more than there is room for tells that there is more.
        let more = objects.len() > PAGE;
        objects.truncate(PAGE);
        let next = objects.last().filter(|_| more).map(|object: &Listed| object.key.clone());
        Ok(Page { objects, next })
    }

    /// Removes the empty folders below `prefix`, which is one, and its own.
    pub(super) fn prune(&self, prefix: &str) -> io::Result<()> {
        let Some(folder) = found(self.folder_at(prefix))? else {
            return Ok(());
        };
        self.prune_below(&folder, prefix)?;
        let path = prefix.trim_end_matches('/');
        let (within, name) = path.rsplit_once('/').unwrap_or(("", path));
        match found(self.folder_at(within))? {
            Some(within) if !name.is_empty() => self.remove_folder(&within, name, path),
            _ => Ok(()),
        }
    }

    fn prune_below(&self, folder: &OwnedFd, prefix: &str) -> io::Result<()> {
        for name in names(folder)? {
            if is_own(prefix, &name) {
                continue;
            }
            // What is no folder is left alone, links to folders among it.
            let Ok(inner) = open_folder(folder.as_fd(), &name) else {
                continue;
            };
            let path = format!("{prefix}{name}");
            self.prune_below(&inner, &format!("{path}/"))?;
            self.remove_folder(folder, &name, &path)?;
        }
        Ok(())
    }
}

/// Adds what is in `folder`, whose keys begin with `prefix`, and behind `after`, until there is
/// more than a page.
fn walk(folder: &OwnedFd, prefix: &str, after: &str, objects: &mut Vec<Listed>) -> io::Result<()> {
    let mut after = Bound::within(prefix, after);
    while objects.len() <= PAGE {
        let entries = next_entries(folder, prefix, &after, PAGE + 1 - objects.len())?;
        let Some(last) = entries.last().cloned() else {
            return Ok(());
        };
        for entry in entries {
            let key = format!("{prefix}{entry}");
            match entry.strip_suffix('/') {
                Some(name) => {
                    if let Some(inner) = found(open_folder(folder.as_fd(), name))? {
                        walk(&inner, &key, after.below(&key), objects)?;
                    }
                }
                None => objects.extend(listed(folder, &entry, key)?),
            }
            if objects.len() > PAGE {
                return Ok(());
            }
        }
        after = Bound::Behind(last);
    }
    Ok(())
}

/// Where a folder's listing goes on, by the names in it: those of folders end with a slash, as
/// in their objects' keys, so that both are in the order of the keys.
enum Bound<'a> {
    Start,
    /// In the folder of this name, behind this key, and then on.
    In(&'a str, &'a str),
    Behind(String),
}

impl<'a> Bound<'a> {
    fn within(prefix: &str, after: &'a str) -> Self {
        match after.strip_prefix(prefix) {
            Some(rest) => match rest.find('/') {
                Some(slash) => Self::In(&rest[..=slash], after),
                None => Self::Behind(rest.to_owned()),
            },
            // It comes before all keys of the folder.
            None => Self::Start,
        }
    }

    fn admits(&self, entry: &str) -> bool {
        match self {
            Self::Start => true,
            Self::In(folder, _) => entry >= *folder,
            Self::Behind(last) => entry > last.as_str(),
        }
    }

    /// The key that a folder's own listing comes after.
    fn below(&self, prefix: &str) -> &'a str {
        match self {
            Self::In(_, after) if after.starts_with(prefix) => after,
            _ => "",
        }
    }
}

/// The first `most` entries within the bound, in order.
fn next_entries(
    folder: &OwnedFd,
    prefix: &str,
    bound: &Bound<'_>,
    most: usize,
) -> io::Result<Vec<String>> {
    let mut entries = BinaryHeap::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        if matches!(name, "." | "..") || is_own(prefix, name) {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => match stat(folder, name)? {
                Some(stat) => FileType::from_raw_mode(stat.st_mode),
                None => continue,
            },
            known => known,
        };
        let entry = match kind {
            FileType::RegularFile => name.to_owned(),
            FileType::Directory => format!("{name}/"),
            _ => continue,
        };
        if bound.admits(&entry) {
            entries.push(entry);
            if entries.len() > most {
                entries.pop();
            }
        }
    }
    Ok(entries.into_sorted_vec())
}

fn listed(folder: &OwnedFd, name: &str, key: String) -> io::Result<Option<Listed>> {
    Ok(stat(folder, name)?.map(|stat| Listed {
        key,
        size: size_of(&stat),
        etag: etag_of(&stat),
        modified: modified(&stat),
    }))
}

fn stat(folder: &OwnedFd, name: &str) -> io::Result<Option<rustix::fs::Stat>> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Names at the root that begin with a dot are the store's own, not objects.
fn is_own(prefix: &str, name: &str) -> bool {
    prefix.is_empty() && name.starts_with('.')
}

/// None for what is not there.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
