//! The reading side of storage's contract: heads, bodies, ranges, versions, listings.

use std::{
    collections::HashSet,
    ops::Range,
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use gatehouse::storage::{ErrorKind, Listed, ObjectKey, Read};

use super::{MIB, PART, Subject, pattern, step};

/// The promises, a step each.
pub(super) async fn contract(subject: &Subject) {
    step("a head tells what was stored", heads(subject)).await;
    step("every version has a tag of its own", tags(subject)).await;
    step("a range is exactly those bytes", ranges(subject)).await;
    step("another version than asked for is told", versions(subject)).await;
    step("a reader gets one version", one_version(subject)).await;
    step("bytes come as they are asked for", back_pressure(subject)).await;
    step("a listing has what is below its prefix, in order", lists(subject)).await;
    step("a listing goes on page by page", pages(subject)).await;
    step("nothing is aborted where nothing was begun", aborts_nothing(subject)).await;
    step("pruning removes no object", prunes(subject)).await;
    step("what is there can be secured", secures(subject)).await;
}

async fn heads(subject: &Subject) {
    for size in [0, 10, PART + 1] {
        let key = format!("acme/heads/{size}");
        let began = SystemTime::now() - Duration::from_secs(2);
        let stored = subject.put(&key, &pattern(size, 20)).await.unwrap();
        let head = subject.head(&key).await.unwrap();
        assert_eq!((&head.etag, head.size), (&stored.etag, size as u64));
        assert!(
            head.modified > began && head.modified < SystemTime::now() + began.elapsed().unwrap()
        );
        assert!(head.content_type.as_deref().is_none_or(|kind| kind == "image/jpeg"));
        let reading = subject.read(&key, Read::default()).await.unwrap();
        assert_eq!(reading.head, head, "a reading tells the same");
        assert_eq!(reading.collect().await.unwrap().len(), size);
    }
    assert_eq!(subject.head("acme/heads/none").await.unwrap_err(), ErrorKind::NotFound);
    assert_eq!(subject.head("acme/heads").await.unwrap_err(), ErrorKind::NotFound, "a folder");
    assert_eq!(subject.kind_of_get("acme/heads").await, Some(ErrorKind::NotFound));
}

async fn tags(subject: &Subject) {
    let mut seen = HashSet::new();
    for round in 0..50 {
        // Of one size, and as fast as can be.
        let stored = subject.put("acme/tags/a", &pattern(100, 21 + round)).await.unwrap();
        assert_eq!(subject.head("acme/tags/a").await.unwrap().etag, stored.etag);
        assert!(seen.insert(stored.etag.clone()), "{stored:?} again in round {round}");
    }
}

async fn ranges(subject: &Subject) {
    let key = "acme/ranges/a";
    let size = 2 * PART as u64 + 12_345;
    let bytes = pattern(size as usize, 22);
    let stored = subject.put(key, &bytes).await.unwrap();
    let part = PART as u64;
    for range in [
        0..1,
        0..size,
        1..size,
        size - 1..size,
        5..6,
        262_143..262_145,
        262_144..3 * 262_144,
        part - 1..part + 1,
        part..2 * part,
        part - 100_000..size - 1,
    ] {
        let how = Read { range: Some(range.clone()), if_match: Some(stored.etag.clone()) };
        let reading = subject.read(key, how).await.unwrap();
        assert_eq!(reading.head.size, size, "of the whole object");
        assert_eq!(reading.head.etag, stored.etag);
        let wanted = &bytes[range.start as usize..range.end as usize];
        assert!(reading.collect().await.unwrap() == wanted, "{range:?}");
    }
    let beyond = |range: Range<u64>| Read { range: Some(range), if_match: None };
    for longer in [size..size + 1, size - 1..size + 1, 0..size + 1] {
        let changed = subject.read(key, beyond(longer)).await.unwrap_err();
        assert_eq!(changed, ErrorKind::Changed, "it must have been longer before");
    }
    for empty in [0..0, 7..7] {
        let refused = subject.read(key, beyond(empty)).await.unwrap_err();
        assert_eq!(refused, ErrorKind::Internal);
    }
}

async fn versions(subject: &Subject) {
    let key = "acme/versions/a";
    let first = subject.put(key, b"first").await.unwrap();
    let asking = |etag: &str| Read { if_match: Some(etag.to_owned()), range: Some(0..3) };
    let reading = subject.read(key, asking(&first.etag)).await.unwrap();
    assert_eq!(reading.collect().await.unwrap(), "fir");
    let second = subject.put(key, b"second").await.unwrap();
    assert_eq!(subject.read(key, asking(&first.etag)).await.unwrap_err(), ErrorKind::Changed);
    let reading = subject.read(key, asking(&second.etag)).await.unwrap();
    assert_eq!(reading.collect().await.unwrap(), "sec");
    subject.storage.delete(&ObjectKey::parse(key).unwrap()).await.unwrap();
    assert_eq!(subject.read(key, asking(&second.etag)).await.unwrap_err(), ErrorKind::NotFound);
}

async fn one_version(subject: &Subject) {
    for removed in [false, true] {
        let key = format!("acme/one/{removed}");
        let (old, new) = (pattern(2 * PART + 1, 23), pattern(2 * PART + 1, 24));
        subject.put(&key, &old).await.unwrap();
        let mut body = subject.read(&key, Read::default()).await.unwrap().body;
        let mut got = body.next().await.unwrap().unwrap().to_vec();
        if removed {
            subject.storage.delete(&ObjectKey::parse(&key).unwrap()).await.unwrap();
        } else {
            subject.put(&key, &new).await.unwrap();
        }
        while let Some(Ok(piece)) = body.next().await {
            got.extend_from_slice(&piece);
        }
        // All of it, or what there is of it before an error.
        assert!(old.starts_with(&got), "two versions in one body");
    }
}

async fn back_pressure(subject: &Subject) {
    let bytes = pattern(4 * PART, 25);
    subject.put("acme/slow/a", &bytes).await.unwrap();
    let mut readers = Vec::new();
    for _ in 0..20 {
        let mut body = subject.read("acme/slow/a", Read::default()).await.unwrap().body;
        let first = body.try_next().await.unwrap().unwrap();
        assert!(first.len() <= MIB, "{} bytes at once", first.len());
        assert!(bytes.starts_with(&first));
        readers.push(body);
    }
    drop(readers);
    assert!(subject.get("acme/slow/a").await == bytes);
}

async fn lists(subject: &Subject) {
    // In the order of the bytes: '-' and '.' come before '/', digits and letters behind.
    let keys = [
        "list/a-b/x",
        "list/a.b",
        "list/a/1/deep/er",
        "list/a/1/x",
        "list/a/2",
        "list/a0",
        "list/aa b+c%20",
        "list/a\u{e9}\u{6f22}",
        "list/b",
    ];
    for (size, key) in keys.iter().enumerate().rev() {
        subject.put(key, &pattern(size, 26)).await.unwrap();
    }
    let all = list(subject, "list/").await;
    assert_eq!(all.iter().map(|o| o.key.as_str()).collect::<Vec<_>>(), keys);
    for (size, object) in all.iter().enumerate() {
        let head = subject.head(&object.key).await.unwrap();
        assert_eq!((object.size, &object.etag), (size as u64, &head.etag), "{object:?}");
        let apart = |a: SystemTime, b: SystemTime| a.duration_since(b).unwrap_or_default();
        let (one, two) = (object.modified, head.modified);
        assert!(apart(one, two) + apart(two, one) < Duration::from_secs(1), "{object:?}");
    }
    let below: Vec<_> = list(subject, "list/a/").await.into_iter().map(|o| o.key).collect();
    assert_eq!(below, &keys[2..5]);
    let everything: Vec<_> = list(subject, "").await.into_iter().map(|o| o.key).collect();
    assert!(everything.is_sorted(), "{everything:?}");
    assert!(keys.iter().all(|key| everything.iter().any(|k| k == key)));
    assert!(everything.iter().all(|key| !key.starts_with('.')), "the store's own files");
    assert_eq!(list(subject, "list/none/").await, []);
    // Behind any key, be it there or not.
    for after in ["list/", "list/a", "list/a.", "list/a/1/x", "list/a/3", "list/a\u{e9}", "z", "a"]
    {
        let page = subject.storage.list("list/", Some(after)).await.unwrap();
        let found: Vec<_> = page.objects.into_iter().map(|o| o.key).collect();
        let wanted: Vec<_> = keys.iter().filter(|key| **key > after).collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), wanted, "after {after}");
        assert_eq!(page.next, None);
    }
    for wrong in ["list", "/", "list//", "../", "list/../"] {
        let refused = subject.storage.list(wrong, None).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Internal, "{wrong}");
    }
}

async fn pages(subject: &Subject) {
    let mut keys: Vec<_> = (0..1003).map(|i| format!("pages/{}/{i}", i % 7)).collect();
    stream::iter(&keys)
        .for_each_concurrent(16, async |key| drop(subject.put(key, b"x").await.unwrap()))
        .await;
    keys.sort();
    let first = subject.storage.list("pages/", None).await.unwrap();
    assert_eq!(first.objects.len(), 1000);
    assert_eq!(first.next.as_ref(), Some(&first.objects[999].key));
    let found: Vec<_> = list(subject, "pages/").await.into_iter().map(|o| o.key).collect();
    assert!(found == keys, "{} of {} keys", found.len(), keys.len());
    // A page that is exactly full is the last.
    for key in &keys[1000..] {
        subject.storage.delete(&ObjectKey::parse(key).unwrap()).await.unwrap();
    }
    let full = subject.storage.list("pages/", None).await.unwrap();
    assert_eq!((full.objects.len(), full.next), (1000, None));
}

async fn aborts_nothing(subject: &Subject) {
    let key = ObjectKey::parse("acme/aborts/a").unwrap();
    subject.put(key.as_str(), b"stays").await.unwrap();
    assert_eq!(subject.storage.unfinished(&key).await.unwrap(), Vec::<String>::new());
    subject.storage.abort(&key, "of nobody").await.unwrap();
    assert_eq!(subject.get(key.as_str()).await, "stays");
}

async fn prunes(subject: &Subject) {
    subject.put("acme/prunes/a/b", b"stays").await.unwrap();
    for prefix in ["acme/prunes/", "acme/prunes/a/", "nobody/", ""] {
        subject.storage.prune(prefix).await.unwrap();
        assert_eq!(subject.get("acme/prunes/a/b").await, "stays");
    }
    assert_eq!(subject.storage.prune("../").await.unwrap_err().kind(), ErrorKind::Internal);
}

async fn secures(subject: &Subject) {
    let key = ObjectKey::parse("acme/secures/a").unwrap();
    subject.put(key.as_str(), b"stays").await.unwrap();
    subject.storage.secure(&key).await.unwrap();
    assert_eq!(subject.get(key.as_str()).await, "stays");
}

/// All objects below a prefix, page by page.
pub(super) async fn list(subject: &Subject, prefix: &str) -> Vec<Listed> {
    let mut objects = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = subject.storage.list(prefix, after.as_deref()).await.unwrap();
        objects.extend(page.objects);
        after = page.next;
        if after.is_none() {
            return objects;
        }
    }
}
