//! Two servers on one Postgres and one bucket: an upload goes on at either.

use std::time::{Duration, Instant};

use super::{ask, assert_image, created, offset, patch, patched};
use crate::harness::App;
use crate::harness::http::Connection;
use crate::harness::images;
use crate::harness::problem::assert_problem;

/// Two of them.
async fn two() -> [App; 2] {
    let builder = App::builder().minio().await.postgres().await;
    [builder.clone().start().await, builder.start().await]
}

#[tokio::test]
async fn pieces_go_to_either() {
    let [one, other] = two().await;
    let image = images::jpeg(30, 20, (17 << 20) + 9);
    let path = created(&one, "a.jpg", image.len()).await;
    patched(other.addr, &path, 0, &image[..3]).await;
    patched(one.addr, &path, 3, &image[3..(8 << 20) + 9]).await;
    patched(other.addr, &path, (8 << 20) + 9, &image[(8 << 20) + 9..9 << 20]).await;
    assert_eq!(offset(one.addr, &path).await, 9 << 20);
    let finished = patched(one.addr, &path, 9 << 20, &image[9 << 20..]).await;
    assert_image(&other, &finished, "a.jpg", &image).await;
    assert_eq!(offset(other.addr, &path).await, image.len());
    one.settles_to(&["acme/customer/42/a.jpg"]).await;
}

#[tokio::test]
async fn one_makes_the_other_let_go() {
    let [one, other] = two().await;
    let image = images::jpeg(30, 20, 5000);
    let path = created(&one, "a.jpg", image.len()).await;
    let mut stalled = Connection::open(one.addr).await;
    stalled.send(patch(&path, 0, &image).head_bytes(one.addr)).await;
    stalled.send(&image[..1000]).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let at = Instant::now();
    assert_eq!(offset(other.addr, &path).await, 1000);
    assert!(at.elapsed() < Duration::from_secs(8), "{:?}", at.elapsed());
    assert_problem(&stalled.response().await, "upload-locked");
    let finished = patched(other.addr, &path, 1000, &image[1000..]).await;
    assert_image(&one, &finished, "a.jpg", &image).await;
}

#[tokio::test]
async fn the_other_goes_on_when_one_is_killed() {
    let [mut one, other] = two().await;
    let image = images::jpeg(30, 20, (17 << 20) + 9);
    let path = created(&one, "a.jpg", image.len()).await;
    patched(one.addr, &path, 0, &image[..(8 << 20) + 9]).await;
    let mut client = Connection::open(one.addr).await;
    client.send(patch(&path, (8 << 20) + 9, &image[(8 << 20) + 9..]).head_bytes(one.addr)).await;
    client.send(&image[(8 << 20) + 9..9 << 20]).await;
    one.kill();
    // The other has to see first that it is gone.
    let until = Instant::now() + Duration::from_secs(60);
    let from = loop {
        let head = ask("HEAD", &path).send(other.addr).await;
        if head.status == 200 {
            break head.header("upload-offset").unwrap().parse::<usize>().unwrap();
        }
        assert_eq!(head.status, 423);
        assert!(Instant::now() < until, "{}", other.log_text());
    };
    assert_eq!(from, (8 << 20) + 9);
    let finished = patched(other.addr, &path, from, &image[from..]).await;
    assert_image(&other, &finished, "a.jpg", &image).await;
    other.settles_to(&["acme/customer/42/a.jpg"]).await;
}
