//! Reading a multipart body of 100 KB: ours beside actix-multipart.

use std::hint::black_box;

use actix_web::{
    error::PayloadError,
    http::header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::{StreamExt, stream};
use gatehouse::consumers::{
    Error,
    multipart::{Limits, Multipart},
};

const BOUNDARY: &str = "----WebKitFormBoundary7MA4YWxkTrZu0gW";

/// A body as the server receives it, in pieces of 8 KiB. Its bytes are as random as a JPEG's.
fn pieces() -> Vec<Bytes> {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jpg\"\r\n\r\n"
    );
    let mut body = head.into_bytes();
    let mut state = 1_u64;
    for _ in 0..12_500 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        body.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    Bytes::from(body).chunks(8 << 10).map(Bytes::copy_from_slice).collect()
}

async fn ours(pieces: &[Bytes]) -> usize {
    let source = stream::iter(pieces.iter().cloned().map(Ok::<_, Error>));
    let limits = Limits { parts: 100, part_headers: 16 << 10 };
    let mut form = Multipart::new(source, BOUNDARY, limits);
    let mut length = 0;
    while let Ok(Some(_)) = form.next_part().await {
        while let Ok(Some(chunk)) = form.chunk().await {
            length += black_box(chunk).len();
        }
    }
    length
}

async fn actix(pieces: &[Bytes], headers: &HeaderMap) -> usize {
    let source = stream::iter(Vec::from(pieces).into_iter().map(Ok::<_, PayloadError>));
    let mut form = actix_multipart::Multipart::new(headers, source);
    let mut length = 0;
    while let Some(Ok(mut field)) = form.next().await {
        while let Some(Ok(chunk)) = field.next().await {
            length += black_box(chunk).len();
        }
    }
    length
}

fn multipart(criterion: &mut Criterion) {
    let pieces = pieces();
    let mut headers = HeaderMap::new();
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    if let Ok(value) = HeaderValue::from_str(&content_type) {
        headers.insert(CONTENT_TYPE, value);
    }
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { return };
    assert_eq!(runtime.block_on(ours(&pieces)), 100_000);
    assert_eq!(runtime.block_on(actix(&pieces, &headers)), 100_000);

    let mut group = criterion.benchmark_group("multipart 100 KB");
    group.throughput(Throughput::Bytes(100_000));
    group.bench_function("gatehouse", |b| b.iter(|| runtime.block_on(ours(&pieces))));
    group.bench_function("actix-multipart", |b| {
        b.iter(|| runtime.block_on(actix(&pieces, &headers)))
    });
    group.finish();
}

criterion_group!(benches, multipart);
criterion_main!(benches);
