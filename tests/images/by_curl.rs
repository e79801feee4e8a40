//! The real curl as a reader: ranges, resumed downloads, conditions, names.

use std::fs;

use super::{IMAGES, both, content, upload};
use crate::harness::curl::curl;
use crate::harness::images::jpeg;

const TENANT: [&str; 2] = ["-H", "x-tenant-id: acme"];

#[tokio::test]
async fn curl_reads_ranges_and_resumes() {
    for app in both().await {
        let image = jpeg(900, 900, 400_000);
        let told = upload(&app, "42", "a.jpg", &image).await;
        let url = app.url(&format!("{IMAGES}{}", content(&told)));
        let folder = app.folder();
        let run = async |arguments: &[&str]| {
            curl(folder, &[&TENANT[..], arguments, &[&url]].concat()).await.status
        };
        assert_eq!(run(&["-r", "1000-1999", "-o", "range"]).await, 206);
        assert!(fs::read(folder.join("range")).unwrap() == image[1000..2000]);
        assert_eq!(run(&["-r", "-500", "-o", "range"]).await, 206);
        assert!(fs::read(folder.join("range")).unwrap() == image[image.len() - 500..]);

        fs::write(folder.join("partial"), &image[..123_456]).unwrap();
        assert_eq!(run(&["-C", "-", "-o", "partial"]).await, 206);
        assert!(fs::read(folder.join("partial")).unwrap() == image);
    }
}

#[tokio::test]
async fn curl_asks_whether_it_has_the_version() {
    for app in both().await {
        let image = jpeg(40, 30, 5000);
        let told = upload(&app, "42", "a.jpg", &image).await;
        let url = app.url(&format!("{IMAGES}{}", content(&told)));
        let folder = app.folder();
        let run = async |arguments: &[&str]| {
            curl(folder, &[&TENANT[..], arguments, &[&url]].concat()).await.status
        };
        assert_eq!(run(&["-o", "got", "-R", "--etag-save", "etag"]).await, 200);
        assert!(fs::read(folder.join("got")).unwrap() == image);
        assert_eq!(run(&["-o", "again", "--etag-compare", "etag"]).await, 304);
        // The file's time is the image's.
        assert_eq!(run(&["-o", "again", "-z", "got"]).await, 304);
        assert_eq!(run(&["-o", "again", "-z", "1 Jan 2000"]).await, 200);
        // Only if it is older.
        assert_eq!(run(&["-o", "again", "-z", "-1 Jan 2000"]).await, 412);
        assert_eq!(run(&["-I", "-o", "head"]).await, 200);

        upload(&app, "42", "a.jpg", &jpeg(41, 30, 5000)).await;
        assert_eq!(run(&["-o", "got", "--etag-compare", "etag"]).await, 200);
        assert!(fs::read(folder.join("got")).unwrap() == jpeg(41, 30, 5000));
        assert_eq!(run(&["-O", "-J"]).await, 200);
        assert!(folder.join("a.jpg").exists(), "saved under its name");
    }
}
