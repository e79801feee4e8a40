//! File names that are refused.

use crate::harness::App;
use crate::harness::images;
use crate::harness::multipart::Form;
use crate::harness::problem::assert_problem;
use crate::harness::upload;

/// Posts a part with these parameters and fails unless it is refused as one of these.
async fn refused(app: &App, parameters: impl AsRef<[u8]>, slugs: &[&str]) {
    let parameters = parameters.as_ref();
    let form = Form::new().file_with(parameters, &images::gif(1, 1, 1));
    let response = upload::post(&form).send(app.addr).await;
    let shown = String::from_utf8_lossy(parameters);
    assert_eq!(response.status, 400, "{shown:?}: {}", response.text());
    let kind = response.json()["type"].as_str().unwrap_or_default().to_owned();
    let slug = kind.strip_prefix("/problems/").unwrap_or_default();
    assert!(slugs.contains(&slug), "{shown:?}: {slug}");
    assert_problem(&response, slug);
}

const NAME: &[&str] = &["file-name-invalid"];
const BODY: &[&str] = &["multipart-invalid"];
/// What no field value may hold is wrong in the head already.
const EITHER: &[&str] = &["file-name-invalid", "multipart-invalid"];

#[tokio::test]
async fn names_that_are_dots_are_refused() {
    let app = App::local().await;
    for name in [".", "..", " .. ", ". ", "a/..", "a\\..", "../", "/", "dir/", "a\\b\\\\", "x/ .."]
    {
        refused(&app, format!("; filename=\"{name}\""), NAME).await;
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn names_over_255_bytes_are_refused() {
    let app = App::local().await;
    for name in ["n".repeat(256), "\u{732b}".repeat(86), "n".repeat(5000)] {
        refused(&app, format!("; filename=\"{name}\""), NAME).await;
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn control_characters_are_refused() {
    let app = App::local().await;
    for control in (0..0x20u8).chain([0x7f]) {
        let mut parameters = b"; filename=\"a".to_vec();
        parameters.push(control);
        parameters.extend(b"b.gif\"");
        refused(&app, parameters, EITHER).await;
    }
    for control in ["\u{80}", "\u{85}", "\u{9f}"] {
        refused(&app, format!("; filename=\"a{control}b.gif\""), NAME).await;
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn line_ends_do_not_smuggle_a_header_out_of_a_name() {
    let app = App::local().await;
    refused(&app, "; filename=\"a.gif\r\nX-Evil: 1", BODY).await;
    refused(&app, "; filename=\"a\r\nContent-Disposition: form-data; name=\"b\"", BODY).await;
    refused(&app, "; filename=\"a\r\n\r\nb.gif\"", EITHER).await;
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn bidi_overrides_are_refused() {
    let app = App::local().await;
    for code in (0x202a..=0x202e).chain(0x2066..=0x2069) {
        let character = char::from_u32(code).unwrap();
        refused(&app, format!("; filename=\"a{character}fig.exe\""), NAME).await;
        let escaped: String =
            character.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
        refused(&app, format!("; filename*=UTF-8''a{escaped}b.gif"), NAME).await;
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn names_that_are_not_utf_8_are_refused() {
    let app = App::local().await;
    let names: [&[u8]; 6] = [
        b"caf\xe9.gif",
        b"\xff\xfe",
        b"lone surrogate \xed\xa0\x80.gif",
        b"overlong slash \xc0\xaf.gif",
        b"overlong dots \xc0\xae\xc0\xae",
        b"cut \xe7\x8c",
    ];
    for name in names {
        let parameters = [b"; filename=\"", name, b"\""].concat();
        refused(&app, parameters, EITHER).await;
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_malformed_extended_name_is_refused_though_a_plain_one_is_there() {
    let app = App::local().await;
    let values = [
        "UTF-8''%zz.gif",
        "UTF-8''%4",
        "UTF-8''%",
        "UTF-8''%e9.gif",
        "UTF-8''%ed%a0%80.gif",
        "ISO-8859-1''caf%e9.gif",
        "''a.gif",
        "UTF-8'a.gif",
        "a.gif",
        "UTF-8''",
    ];
    for value in values {
        refused(&app, format!("; filename=\"a.gif\"; filename*={value}"), EITHER).await;
        refused(&app, format!("; filename*={value}"), EITHER).await;
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn an_extended_name_follows_the_rule_of_file_names() {
    let app = App::local().await;
    for value in ["%00", "a%0d%0ab", "..", "%2e%2e", "a%2f..", "%20.%20", "%7f", "%c2%85"] {
        refused(&app, format!("; filename*=UTF-8''{value}"), NAME).await;
    }
    let long = "%61".repeat(256);
    refused(&app, format!("; filename*=UTF-8''{long}"), NAME).await;
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_name_given_twice_or_left_open_is_malformed() {
    let app = App::local().await;
    let parameters = [
        "; filename=\"a.gif\"; filename=\"b.gif\"",
        "; filename=\"a.gif\"; filename=\"a.gif\"",
        "; filename*=UTF-8''a.gif; filename*=UTF-8''b.gif",
        "; filename=\"a.gif",
        "; filename=\"a.gif\\\"",
        "; filename=\"a.gif\"b",
        "; name=\"other\"; filename=\"a.gif\"",
    ];
    for sent in parameters {
        refused(&app, sent, BODY).await;
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_put_refuses_the_same_names() {
    let app = App::local().await;
    let names = [
        "%E2%80%AE".to_owned(),
        "a%C2%85b".to_owned(),
        "%20..%20".to_owned(),
        "caf%E9.gif".to_owned(),
        "n".repeat(256),
        "%61".repeat(256),
    ];
    for name in names {
        let response = upload::put(&name, &images::gif(1, 1, 1)).send(app.addr).await;
        assert_eq!(response.status, 400, "{name}: {}", response.text());
        assert_problem(&response, "file-name-invalid");
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn the_shown_name_is_refused_by_the_same_rule() {
    let app = App::local().await;
    let image = images::gif(1, 1, 1);
    let long = "n".repeat(256);
    let names: [&[u8]; 8] =
        [b"", b"..", b"a/", b"a\0b", b"a\r\nb", b"\xe2\x80\xae", b"\xff", long.as_bytes()];
    for name in names {
        let before = Form::new().text("fileName", name).file("a.gif", &image);
        let after = Form::new().file("a.gif", &image).text("fileName", name);
        for form in [before, after] {
            let response = upload::post(&form).send(app.addr).await;
            let shown = String::from_utf8_lossy(name);
            assert_eq!(response.status, 400, "{shown:?}: {}", response.text());
            assert_problem(&response, "file-name-invalid");
        }
    }
    app.assert_nothing_stored().await;
}

#[tokio::test]
async fn no_prefix_can_make_a_key_longer_than_1024_bytes() {
    // The longest tenant, customer and name, with the longest prefix that is taken.
    let prefix = |size: usize| format!("{}/", "p".repeat(99)).repeat(10)[..size].to_owned();
    let with = |size: usize| App::builder().set("STORAGE__S3__PREFIX", &prefix(size));
    let ended = with(600).env("S3_BUCKET", "x").env("AWS_REGION", "x").run(&["check"]);
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stdout);
    assert!(ended.stderr.contains("storage.s3.prefix"), "{}", ended.stderr);

    let app = with(500).minio().await.start().await;
    let (tenant, customer, name) = ("t".repeat(63), "c".repeat(128), "n".repeat(255));
    let form = Form::new().file(&name, &images::gif(1, 1, 1));
    let response = form.post(&upload::path(&customer)).tenant(&tenant).send(app.addr).await;
    assert_eq!(response.status, 201, "{}", response.text());
    let keys = app.keys().await;
    assert_eq!(keys, [format!("{}{tenant}/customer/{customer}/{name}", prefix(500))]);
    assert!(keys[0].len() <= 1024);
}
