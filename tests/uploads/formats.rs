//! Which bytes count as an image, and how large it says it is.

use crate::harness::App;
use crate::harness::images;
use crate::harness::problem::assert_problem;
use crate::harness::upload::{self, Expected};

#[tokio::test]
async fn every_accepted_format_is_known_by_its_bytes() {
    let app = App::local().await;
    let formats = [
        ("image/jpeg", images::jpeg(321, 123, 500)),
        ("image/png", images::png(321, 123, 500)),
        ("image/gif", images::gif(321, 123, 500)),
        ("image/webp", images::webp(321, 123, 500)),
        ("image/webp", images::webp_lossless(321, 123, 500)),
        ("image/webp", images::webp_extended(321, 123, 500)),
        ("image/avif", images::avif(321, 123, 500)),
        ("image/heic", images::heic(321, 123, 500)),
    ];
    for (content_type, image) in &formats {
        let response = upload::main_job("picture", image).send(app.addr).await;
        let expected = Expected {
            stored_name: "acme/customer/42/picture",
            customer: "42",
            file_name: "picture",
            content_type,
            image,
            width: 321,
            height: 123,
        };
        expected.check(&response);
    }
}

#[tokio::test]
async fn tiff_and_bmp_are_accepted_where_settings_say_so_and_not_elsewhere() {
    let accept = "[consumers.images]\naccept = [\"image/tiff\", \"image/bmp\"]";
    let app = App::builder().file(accept).start().await;
    let elsewhere = App::local().await;
    let formats =
        [("image/tiff", images::tiff(33, 44, 60)), ("image/bmp", images::bmp(33, 44, 60))];
    for (content_type, image) in &formats {
        let response = upload::main_job("picture", image).send(app.addr).await;
        assert_eq!(response.status, 201, "{content_type}: {}", response.text());
        let body = response.json();
        assert_eq!(body["contentType"], *content_type);
        assert_eq!((&body["width"], &body["height"]), (&33.into(), &44.into()));

        let response = upload::main_job("picture", image).send(elsewhere.addr).await;
        assert_problem(&response, "image-unsupported");
    }
    // That goes before what is wrong with one.
    let broken = b"II*\0\x08\0\0\0\0\0\0\0\0\0";
    let response = upload::main_job("picture", broken).send(app.addr).await;
    assert_problem(&response, "image-invalid");
    for request in [upload::main_job("picture", broken), upload::put("picture", broken)] {
        assert_problem(&request.send(elsewhere.addr).await, "image-unsupported");
    }
    // The list is the whole list.
    let response = upload::main_job("p", &images::png(1, 1, 1)).send(app.addr).await;
    assert_problem(&response, "image-unsupported");
    elsewhere.assert_nothing_stored().await;
}

#[tokio::test]
async fn bytes_that_are_no_image_are_refused() {
    let app = App::local().await;
    let svg = b"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1\" height=\"1\"/>";
    let files: [&[u8]; 10] = [
        b"hello, this is text and no image at all\n",
        svg,
        b"<?xml version=\"1.0\"?><svg xmlns=\"http://www.w3.org/2000/svg\"/>",
        b"<html><script>alert(1)</script></html>",
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0",
        b"PK\x03\x04\x14\0\0\0\x08\0",
        b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2\0\0\0\x08free",
        b"x",
        b"\0",
    ];
    for file in files {
        let shown = String::from_utf8_lossy(file);
        for request in [upload::main_job("image.png", file), upload::put("image.png", file)] {
            let response = request.send(app.addr).await;
            assert_eq!(response.status, 415, "{shown:?}: {}", response.text());
            assert_problem(&response, "image-unsupported");
        }
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn an_empty_named_file_is_no_image_and_an_empty_put_no_file() {
    let app = App::local().await;
    assert_problem(&upload::main_job("a.png", b"").send(app.addr).await, "image-unsupported");
    let put = upload::put("a.png", b"");
    assert_problem(&put.clone().send(app.addr).await, "file-missing");
    assert_problem(&put.clone().claiming(0).send(app.addr).await, "file-missing");
    assert_problem(&put.chunked(10).send(app.addr).await, "file-missing");
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_broken_head_behind_the_right_magic_is_refused() {
    let app = App::local().await;
    let no_size = images::png_of(&[(b"IHDR", &images::ihdr(0, 5)), (b"IEND", b"")]);
    let no_head = images::png_of(&[(b"IDAT", b"abc"), (b"IEND", b"")]);
    let short_head = images::png_of(&[(b"IHDR", b"\0\0\0\x01"), (b"IEND", b"")]);
    let (jpeg, webp, gif) = (images::jpeg(9, 9, 99), images::webp(9, 9, 99), images::gif(9, 9, 9));
    let (png, avif) = (images::png(9, 9, 99), images::avif(9, 9, 99));
    let files: [(&str, &[u8]); 12] = [
        ("a PNG of no width", &no_size),
        ("a PNG without IHDR", &no_head),
        ("a PNG with a short IHDR", &short_head),
        ("a PNG cut in IHDR", &png[..20]),
        ("a JPEG cut before its frame", &jpeg[..30]),
        ("a JPEG of two markers", b"\xff\xd8\xff\xd9"),
        ("a JPEG whose scan comes first", b"\xff\xd8\xff\xda\0\x08\x01\x01\0\0\x3f\0abc\xff\xd9"),
        ("a WebP cut in its frame", &webp[..24]),
        ("a WebP without a frame", b"RIFF\x0c\0\0\0WEBPJUNK\0\0\0\0"),
        ("a GIF cut in its screen", &gif[..8]),
        ("a GIF of no size", b"GIF89a\0\0\0\0\0\0\0\x3b"),
        ("an AVIF cut before its size", &avif[..40]),
    ];
    for (what, file) in files {
        for request in [upload::main_job("image", file), upload::put("image", file)] {
            let response = request.send(app.addr).await;
            assert_eq!(response.status, 422, "{what}: {}", response.text());
            assert_problem(&response, "image-invalid");
        }
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn pixels_cut_off_behind_a_good_head_are_stored_as_sent() {
    let app = App::local().await;
    let image = images::png(100, 100, 5000);
    let response = upload::main_job("cut.png", &image[..2000]).send(app.addr).await;
    assert_eq!(response.status, 201, "{}", response.text());
    assert!(app.object("acme/customer/42/cut.png").await.0 == image[..2000]);
}

/// Makes an image of this width and height.
type Make = fn(u16, u16) -> Vec<u8>;

#[tokio::test]
async fn the_limit_of_pixels_is_inclusive_for_every_format() {
    let app = App::builder().set("CONSUMERS__IMAGES__MAX_PIXELS", "10000").start().await;
    let made: [(&str, Make); 8] = [
        ("jpeg", |w, h| images::jpeg(w, h, 50)),
        ("png", |w, h| images::png(w.into(), h.into(), 50)),
        ("gif", |w, h| images::gif(w, h, 50)),
        ("webp", |w, h| images::webp(w, h, 50)),
        ("webp lossless", |w, h| images::webp_lossless(w.into(), h.into(), 50)),
        ("webp extended", |w, h| images::webp_extended(w.into(), h.into(), 50)),
        ("avif", |w, h| images::avif(w.into(), h.into(), 50)),
        ("heic", |w, h| images::heic(w.into(), h.into(), 50)),
    ];
    for (format, make) in made {
        let response = upload::main_job("a", &make(100, 101)).send(app.addr).await;
        assert_eq!(response.status, 422, "{format}: {}", response.text());
        assert_problem(&response, "image-invalid");
        let response = upload::put("a", &make(10_001, 1)).send(app.addr).await;
        assert_eq!(response.status, 422, "{format}: {}", response.text());
    }
    app.assert_nothing_stored().await;
    for (format, make) in made {
        let response = upload::main_job("a", &make(100, 100)).send(app.addr).await;
        assert_eq!(response.status, 201, "{format}: {}", response.text());
    }
}

#[tokio::test]
async fn the_frames_that_a_head_tells_count_as_pixels() {
    let app = App::builder().set("CONSUMERS__IMAGES__MAX_PIXELS", "10000").start().await;
    let response = upload::main_job("a.png", &images::apng(10, 10, 101)).send(app.addr).await;
    assert_problem(&response, "image-invalid");
    app.assert_nothing_stored().await;
    let response = upload::main_job("a.png", &images::apng(10, 10, 100)).send(app.addr).await;
    assert_eq!(response.status, 201, "{}", response.text());
}

#[tokio::test]
async fn the_largest_dimensions_a_head_can_name_do_not_overflow() {
    let app = App::local().await;
    let huge = u32::MAX >> 1;
    let images = [
        images::png(huge, huge, 10),
        images::avif(u32::MAX, u32::MAX, 10),
        images::apng(huge, huge, u32::MAX),
        images::jpeg(u16::MAX, u16::MAX, 10),
        images::webp_extended(1 << 24, 1 << 24, 10),
    ];
    for image in &images {
        assert_problem(&upload::main_job("a", image).send(app.addr).await, "image-invalid");
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn dimensions_late_in_a_file_are_checked_before_it_is_kept() {
    for app in [App::local().await, App::minio().await] {
        let late = images::jpeg_behind(2000, 1000, 40, 500);
        let response = upload::main_job("late.jpg", &late).send(app.addr).await;
        assert_eq!(response.status, 201, "{}", response.text());
        assert_eq!(response.json()["width"], 2000);
        assert_eq!(response.json()["height"], 1000);

        // 10 MiB in: with S3 a part is on its way by then.
        app.tried("acme/customer/42/large.jpg");
        let large = images::jpeg_behind(20_000, 20_000, 160, 500);
        let response = upload::main_job("large.jpg", &large).send(app.addr).await;
        assert_problem(&response, "image-invalid");
        app.assert_nothing_left_over().await;
        assert_eq!(app.keys().await, ["acme/customer/42/late.jpg"]);
    }
}
