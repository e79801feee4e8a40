//! A reader gets one whole version, and the record of that version.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use futures_util::future::join_all;

use super::{ask, both, content, json, put, record, upload};
use crate::harness::images::png;
use crate::harness::text::sha256;

#[tokio::test]
async fn a_reader_gets_one_whole_version_while_it_is_overwritten() {
    const OVERWRITES: u32 = 200;
    for app in both().await {
        let image = |version: u32| {
            png(version + 1, 1, if version.is_multiple_of(20) { 600_000 } else { 2_000 })
        };
        let told = upload(&app, "42", "a.png", &image(0)).await;
        let written: Mutex<HashMap<String, String>> = Mutex::default();
        let first = ask("HEAD", &content(&told)).send(app.addr).await.header("etag").unwrap();
        written.lock().unwrap().insert(first, sha256(&image(0)));

        let read: Mutex<HashSet<(String, String)>> = Mutex::default();
        let writing = async {
            for version in 1..=OVERWRITES {
                let answer = put("42", "a.png", &image(version)).send(app.addr).await;
                assert_eq!(answer.status, 201, "{}", answer.text());
                let etag = answer.header("etag").unwrap();
                written.lock().unwrap().insert(etag, sha256(&image(version)));
            }
        };
        let reading = async |reader: usize| {
            for round in 0.. {
                let got = ask("GET", &content(&told)).send(app.addr).await;
                assert_eq!(got.status, 200, "{}", got.text());
                let etag = got.header("etag").unwrap();
                read.lock().unwrap().insert((etag, sha256(&got.body)));
                if reader == 0 && round % 3 == 0 {
                    let known = json(&app, &ask("GET", &record(&told))).await;
                    let etag = format!("\"{}\"", known["etag"].as_str().unwrap());
                    let sha256 = known["sha256"].as_str().unwrap().to_owned();
                    read.lock().unwrap().insert((etag, sha256));
                }
            }
        };
        tokio::select! {
            () = writing => {}
            _ = join_all([reading(0), reading(1), reading(2)]) => unreachable!("they go on"),
        }
        let (written, read) = (written.into_inner().unwrap(), read.into_inner().unwrap());
        assert_eq!(written.len(), OVERWRITES as usize + 1, "each version has its own tag");
        assert!(read.len() > 20, "{} versions were read", read.len());
        for (etag, hash) in &read {
            assert_eq!(written.get(etag), Some(hash), "{etag} has other bytes");
        }
        let known = json(&app, &ask("GET", &record(&told))).await;
        assert_eq!(
            (&known["version"], &known["width"]),
            (&(OVERWRITES + 1).into(), &(OVERWRITES + 1).into())
        );
        assert_eq!(known["createdAt"], told["createdAt"]);
    }
}

#[tokio::test]
async fn a_reader_of_what_is_deleted_meanwhile_gets_it_whole_or_not_at_all() {
    for app in both().await {
        for round in 0..20 {
            let image = png(round + 1, 1, 100_000);
            let told = upload(&app, "42", "a.png", &image).await;
            let (path, addr) = (content(&told), app.addr);
            let readers = (0..4).map(|_| ask("GET", &path)).map(async |get| get.send(addr).await);
            let delete = ask("DELETE", &record(&told));
            let (answers, gone) = tokio::join!(join_all(readers), delete.send(addr));
            assert_eq!(gone.status, 204);
            for answer in answers {
                match answer.status {
                    200 => assert!(answer.body == image),
                    404 => {}
                    other => panic!("{other} {}", answer.text()),
                }
            }
        }
        app.assert_nothing_stored().await;
    }
}
