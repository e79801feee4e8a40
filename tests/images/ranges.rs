//! Range requests, RFC 9110 section 14.

use super::{ask, both, content, upload};
use crate::harness::images::jpeg;
use crate::harness::problem::assert_problem;

#[tokio::test]
async fn a_range_is_those_bytes_and_no_others() {
    for app in both().await {
        let image = jpeg(900, 900, 9_000_000);
        let told = upload(&app, "42", "a.jpg", &image).await;
        let size = image.len();
        let get = |range: &str| ask("GET", &content(&told)).header("range", range);
        let last = size - 1;
        for (range, from, to) in [
            ("bytes=0-0", 0, 1),
            ("bytes=0-", 0, size),
            ("bytes=100-199", 100, 200),
            ("bytes=262143-262144", 262_143, 262_145),
            ("bytes=8388607-8388608", 8_388_607, 8_388_609),
            ("bytes=-100", size - 100, size),
            ("bytes=-99999999999999999999999", 0, size),
            ("bytes=5000000-99999999999999999999999", 5_000_000, size),
            (&format!("bytes={last}-"), last, size),
            ("bytes=0-99,100-199", 0, 200),
            ("bytes=150-199, 100-160, 99999999-", 100, 200),
        ] {
            let got = get(range).send(app.addr).await;
            assert_eq!(got.status, 206, "{range}");
            let told = format!("bytes {from}-{}/{size}", to - 1);
            assert_eq!(got.header("content-range"), Some(told), "{range}");
            assert_eq!(got.header("content-length"), Some((to - from).to_string()));
            assert_eq!(got.header("content-type").as_deref(), Some("image/jpeg"));
            for field in ["etag", "last-modified", "cache-control", "accept-ranges"] {
                assert!(got.header(field).is_some(), "{field}");
            }
            assert!(got.body == image[from..to], "{range}");
        }
        for range in ["bytes=", "bytes=9-5", "bytes=a", "lines=1-2", "bytes=0-1,5-6", "bytes=--1"] {
            let got = get(range).send(app.addr).await;
            assert_eq!(got.status, 200, "{range}");
            assert!(got.body == image && got.header("content-range").is_none(), "{range}");
        }
        for range in [&format!("bytes={size}-"), "bytes=-0", "bytes=99999999999999999999999-"] {
            let refused = get(range).send(app.addr).await;
            assert_problem(&refused, "range-not-satisfiable");
            assert_eq!(refused.header("content-range"), Some(format!("bytes */{size}")), "{range}");
        }
        let twice = get("bytes=0-9").header("range", "bytes=0-9").send(app.addr).await;
        assert_eq!(twice.status, 200, "a repeated field is none");
    }
}

#[tokio::test]
async fn a_range_is_of_the_version_that_the_client_has() {
    for app in both().await {
        let (old, new) = (jpeg(40, 30, 5000), jpeg(41, 30, 6000));
        let told = upload(&app, "42", "a.jpg", &old).await;
        let first = ask("GET", &content(&told)).send(app.addr).await;
        let (etag, date) = (first.header("etag").unwrap(), first.header("last-modified").unwrap());
        let resume = |value: &str| {
            ask("GET", &content(&told)).header("range", "bytes=10-19").header("if-range", value)
        };
        for (value, status) in [
            (&*etag, 206),
            (&format!("W/{etag}"), 200),
            ("\"other\"", 200),
            (&date, 206),
            ("x", 200),
        ] {
            assert_eq!(resume(value).send(app.addr).await.status, status, "{value}");
        }
        let failed = resume("\"other\"").header("if-match", "\"other\"").send(app.addr).await;
        assert_problem(&failed, "precondition-failed");
        let unmodified = resume(&etag).header("if-none-match", &etag).send(app.addr).await;
        assert_eq!(unmodified.status, 304);

        upload(&app, "42", "a.jpg", &new).await;
        // The date may be that of both versions: it tells nothing.
        let now =
            ask("HEAD", &content(&told)).send(app.addr).await.header("last-modified").unwrap();
        for value in [&etag, &date, &now] {
            let got = resume(value).send(app.addr).await;
            assert_eq!(got.status, 200, "{value}");
            assert!(got.body == new);
        }
        // A range that is none of the version there is now does not matter then.
        let beyond =
            ask("GET", &content(&told)).header("range", "bytes=9999-").header("if-range", &etag);
        assert_eq!(beyond.send(app.addr).await.status, 200);
    }
}
