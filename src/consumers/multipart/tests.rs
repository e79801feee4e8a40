//! The reader on its own, and beside actix-multipart: whatever both take, they read alike.

use actix_web::{
    error::PayloadError,
    http::header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use futures_util::stream;
use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { parts: 8, part_headers: 256 };

/// The parts of a body, as field name and bytes.
type Parts = Vec<(String, Vec<u8>)>;

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// The body in pieces of the given lengths, over and over.
fn pieces(body: &[u8], lengths: &[usize]) -> Vec<Bytes> {
    let mut rest = Bytes::copy_from_slice(body);
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        pieces.push(rest.split_to(rest.len().min((*length).max(1))));
    }
    pieces
}

fn read(body: &[u8], lengths: &[usize]) -> Result<Parts, Error> {
    let source = stream::iter(pieces(body, lengths).into_iter().map(Ok));
    let mut form = Multipart::new(source, "b", LIMITS);
    block_on(async {
        let mut parts = Parts::new();
        while let Some(part) = form.next_part().await? {
            let mut bytes = Vec::new();
            while let Some(chunk) = form.chunk().await? {
                bytes.extend_from_slice(&chunk);
            }
            parts.push((part.name, bytes));
        }
        Ok(parts)
    })
}

fn read_by_actix(body: &[u8], lengths: &[usize]) -> Result<Parts, actix_multipart::MultipartError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("multipart/form-data; boundary=b"));
    let source = stream::iter(pieces(body, lengths).into_iter().map(Ok::<_, PayloadError>));
    let mut form = actix_multipart::Multipart::new(&headers, source);
    block_on(async {
        let mut parts = Parts::new();
        while let Some(field) = form.next().await {
            let mut field = field?;
            let mut bytes = Vec::new();
            while let Some(chunk) = field.next().await {
                bytes.extend_from_slice(&chunk?);
            }
            parts.push((field.name().unwrap_or_default().to_owned(), bytes));
        }
        Ok(parts)
    })
}

fn part(name: &str, bytes: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{bytes}\r\n")
}

#[test]
fn parts_are_read_whatever_the_pieces() {
    let body = format!("{}{}--b--\r\n", part("a", "\r\n--x\r\n-\r\r\n--"), part("file", ""));
    let expected =
        vec![("a".to_owned(), b"\r\n--x\r\n-\r\r\n--".to_vec()), ("file".to_owned(), Vec::new())];
    for length in 1..body.len() {
        assert_eq!(read(body.as_bytes(), &[length]).unwrap(), expected, "pieces of {length}");
    }
}

#[test]
fn a_part_s_bytes_are_handed_on_where_they_lie() {
    let body = Bytes::from(part("file", &"x".repeat(10_000)) + "--b--\r\n");
    let source = stream::iter([Ok(body.clone())]);
    let mut form = Multipart::new(source, "b", LIMITS);
    let chunk = block_on(async {
        form.next_part().await?;
        form.chunk().await
    });
    let chunk = chunk.unwrap().unwrap();
    assert_eq!(chunk.len(), 10_000);
    assert!(body.as_ptr_range().contains(&chunk.as_ptr()), "the chunk was copied");
}

#[test]
fn a_body_cut_anywhere_is_refused() {
    let body = format!("{}--b--", part("a", "bytes"));
    assert!(read(body.as_bytes(), &[7]).is_ok());
    for end in 0..body.len() {
        let cut = read(&body.as_bytes()[..end], &[7]);
        assert!(matches!(cut, Err(Error::MultipartInvalid(_))), "cut at {end}");
    }
}

#[test]
fn malformed_bodies_are_refused() {
    let many = part("a", "x").repeat(9) + "--b--";
    let long_headers = format!("--b\r\nX: {}\r\n\r\n--b--", "x".repeat(300));
    let preamble = "x".repeat(20_000) + "\r\n" + &part("a", "x") + "--b--";
    let epilogue = part("a", "x") + "--b--" + &"x".repeat(20_000);
    let lf_only = (part("a", "x") + "--b--").replace("\r\n", "\n");
    let lf_in_headers = "--b\r\nX: y\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b--";
    let longer_boundary = "--bb\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--bb--";
    for body in [
        &many,
        &long_headers,
        &preamble,
        &epilogue,
        &lf_only,
        lf_in_headers,
        longer_boundary,
        "",
        "--b",
    ] {
        assert!(
            matches!(read(body.as_bytes(), &[64]), Err(Error::MultipartInvalid(_))),
            "{body:.80}"
        );
    }
}

#[test]
fn a_content_type_names_one_boundary() {
    let named = |text: &str| boundary(text.as_bytes()).ok();
    let longest = "b".repeat(70);
    assert_eq!(named("multipart/form-data; boundary=b").as_deref(), Some("b"));
    assert_eq!(
        named("Multipart/Form-Data;Boundary=\"a b\"; charset=utf-8").as_deref(),
        Some("a b")
    );
    assert_eq!(named(&format!("multipart/form-data; boundary={longest}")), Some(longest.clone()));
    for bad in [
        "",
        "image/png",
        "multipart/mixed; boundary=b",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary=\"a\x01\"",
        &format!("multipart/form-data; boundary=b{longest}"),
    ] {
        assert_eq!(named(bad), None, "{bad}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2000)))]

    #[test]
    fn what_both_take_they_read_alike(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "--b", "\r\n", "--", "\r", "\n", "b", "x", "-", "Content-Disposition: form-data; name=\"a\"", "\r\n\r\n",
            "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n", "\r\n--b--", "\r\n--b--\r\n",
        ]), 0..12),
        lengths in prop::collection::vec(1_usize..24, 1..5),
    ) {
        let body = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n".to_owned() + &tokens.concat();
        // actix-multipart takes a lone CR for a line end here, and so bytes of the file for a boundary.
        prop_assume!(!body.contains("\r--b"));
        if let (Ok(ours), Ok(theirs)) = (read(body.as_bytes(), &lengths), read_by_actix(body.as_bytes(), &lengths)) {
            prop_assert_eq!(ours, theirs);
        }
    }
}
