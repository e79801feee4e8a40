//! Hostile and merely unusual file names that are taken, and the keys they become.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::sync::Mutex;

use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::images;
use crate::harness::multipart::Form;
use crate::harness::upload::{self, stored_name};

/// Posts a part with these parameters; gives the file name in `storedName`.
async fn stored_as(app: &App, parameters: impl AsRef<[u8]>) -> String {
    let parameters = parameters.as_ref();
    let form = Form::new().file_with(parameters, &images::gif(1, 1, 1));
    let response = upload::post(&form).send(app.addr).await;
    let shown = String::from_utf8_lossy(parameters);
    assert_eq!(response.status, 201, "{shown}: {}", response.text());
    let name = stored_name(&response);
    assert_eq!(response.json()["fileName"], name["acme/customer/42/".len()..], "{shown}");
    assert!(app.keys().await.contains(&name), "{shown}");
    name.strip_prefix("acme/customer/42/").expect("the tenant's prefix").to_owned()
}

#[tokio::test]
async fn the_part_after_the_last_slash_or_backslash_is_the_name() {
    let app = App::local().await;
    let cases = [
        ("../../etc/passwd", "passwd"),
        ("/etc/shadow.gif", "shadow.gif"),
        ("C:\\Users\\me\\cat.gif", "cat.gif"),
        ("..\\..\\cat2.gif", "cat2.gif"),
        ("..\\\\..\\\\cat3.gif", "cat3.gif"),
        ("a/b\\c/d.gif", "d.gif"),
        ("other/customer/1/x.gif", "x.gif"),
        ("//y.gif", "y.gif"),
    ];
    for (sent, name) in cases {
        assert_eq!(stored_as(&app, format!("; filename=\"{sent}\"")).await, name);
    }
    assert!(app.keys().await.iter().all(|key| key.starts_with("acme/customer/42/")));
}

#[tokio::test]
async fn escapes_in_quotes_are_read_as_clients_write_them() {
    let app = App::local().await;
    let cases = [
        // Go and curl --form-escape.
        (r#"a\"b.gif"#, "a\"b.gif"),
        // curl and browsers.
        ("a%22b.gif", "a%22b.gif"),
        // Nothing else is decoded in a form.
        ("%2e%2e%2fc.gif", "%2e%2e%2fc.gif"),
        ("..%2fd.gif", "..%2fd.gif"),
        ("%00e.gif", "%00e.gif"),
        ("100%.gif", "100%.gif"),
        ("f;g=h.gif", "f;g=h.gif"),
        ("i,j.gif", "i,j.gif"),
    ];
    for (sent, name) in cases {
        assert_eq!(stored_as(&app, format!("; filename=\"{sent}\"")).await, name);
    }
}

#[tokio::test]
async fn any_script_and_spaces_are_fine() {
    let app = App::local().await;
    let names = [
        "my cat.gif",
        "\u{43a}\u{43e}\u{442} \u{732b} \u{642}\u{637}\u{629}.gif",
        "\u{1f431}.gif",
        "no-extension",
        ".hidden",
        "...",
        "a..gif",
        "-rf",
        "~",
        "CON",
        "a:b|c?d*e<f>.gif",
        "$(id)`id`.gif",
        "'; DROP TABLE images;--.gif",
    ];
    for name in names {
        assert_eq!(stored_as(&app, format!("; filename=\"{name}\"")).await, name);
    }
}

#[tokio::test]
async fn names_become_nfc() {
    let app = App::local().await;
    assert_eq!(stored_as(&app, "; filename=\"Cafe\u{301}.gif\"").await, "Caf\u{e9}.gif");
    // 270 bytes as sent, 180 as kept: the limit is on what becomes the key.
    let sent = format!("; filename=\"{}\"", "e\u{301}".repeat(90));
    assert_eq!(stored_as(&app, sent).await, "\u{e9}".repeat(90));
}

#[tokio::test]
async fn a_name_of_255_bytes_is_taken() {
    for app in [App::local().await, App::minio().await] {
        let ascii = "n".repeat(255);
        assert_eq!(stored_as(&app, format!("; filename=\"{ascii}\"")).await, ascii);
        let wide = "\u{732b}".repeat(85);
        assert_eq!(stored_as(&app, format!("; filename=\"{wide}\"")).await, wide);
    }
}

#[tokio::test]
async fn the_longest_tenant_customer_and_name_fit_together() {
    for app in [App::local().await, App::minio().await] {
        let (tenant, customer, name) = ("t".repeat(63), "c".repeat(128), "n".repeat(255));
        let form = Form::new().file(&name, &images::gif(1, 1, 1));
        let request = form.post(&upload::path(&customer)).tenant(&tenant);
        let response = request.send(app.addr).await;
        let key = format!("{tenant}/customer/{customer}/{name}");
        assert_eq!(stored_name(&response), key);
        assert_eq!(app.keys().await, [key]);
    }
}

#[tokio::test]
async fn an_extended_name_wins_over_the_plain_one() {
    let app = App::local().await;
    let cases = [
        ("; filename=\"a.gif\"; filename*=UTF-8''%e2%82%ac.gif", "\u{20ac}.gif"),
        ("; filename*=utf-8'en'b%20c.gif; filename=\"a.gif\"", "b c.gif"),
        ("; filename*=UTF-8''alone.gif", "alone.gif"),
        ("; filename*=UTF-8''..%2f..%2fclimb.gif", "climb.gif"),
        ("; filename*=UTF-8''%2e%2e%5cback.gif", "back.gif"),
        ("; filename*=UTF-8''%252e%252e%252fonce.gif", "%2e%2e%2fonce.gif"),
    ];
    for (sent, name) in cases {
        assert_eq!(stored_as(&app, sent).await, name);
    }
}

#[tokio::test]
async fn part_heads_are_read_whatever_their_case_order_and_spacing() {
    let app = App::local().await;
    let heads = [
        "content-disposition: form-data; name=\"file\"; filename=\"a.gif\"\r\n",
        "CONTENT-DISPOSITION: FORM-DATA; NAME=\"file\"; FILENAME=\"a.gif\"\r\n",
        "Content-Type: image/gif\r\nContent-Disposition:form-data;filename=\"a.gif\";name=\"file\"\r\n",
        "Content-Disposition: form-data; name=file; filename=a.gif\r\n",
        "X-Other: 1\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.gif\"; x=y\r\n",
    ];
    for head in heads {
        let form = Form::new().part(head, images::gif(1, 1, 1));
        let response = upload::post(&form).send(app.addr).await;
        assert_eq!(response.status, 201, "{head}: {}", response.text());
        assert_eq!(stored_name(&response), "acme/customer/42/a.gif");
    }
}

#[tokio::test]
async fn a_raw_puts_name_is_decoded_once() {
    let app = App::local().await;
    let cases = [
        ("%E7%8C%AB.gif", "\u{732b}.gif"),
        ("a%22b.gif", "a\"b.gif"),
        ("a%2520b.gif", "a%20b.gif"),
        ("Cafe%CC%81.gif", "Caf\u{e9}.gif"),
        ("a+b.gif", "a+b.gif"),
    ];
    for (sent, name) in cases {
        let response = upload::put(sent, &images::gif(1, 1, 1)).send(app.addr).await;
        assert_eq!(response.status, 201, "{sent}: {}", response.text());
        assert_eq!(stored_name(&response), format!("acme/customer/42/{name}"));
    }
}

/// Pieces that paths, headers and encodings are made of, and anything else.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "..", ".", "/", "\\", "%2e", "%2f", "%5c", "%252e", "%00", "\"", "\\\"", "\\\\", ";",
            "'", "=", " ", "\t", "other", "acme", "customer", "filename*=UTF-8''", "\u{202e}",
            "e\u{301}", "\u{ff0e}", "\u{2044}", "\r\n", "\n", "\u{0}", "\u{7f}", "\u{85}",
        ]).prop_map(|piece| piece.as_bytes().to_vec()),
        2 => "[ -~]{1,6}".prop_map(String::into_bytes),
        1 => "\\PC{1,4}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 1..4),
    ];
    vec(piece, 0..9).prop_map(|pieces| pieces.concat())
}

/// Percent-encodes all but what a path segment may hold as it is.
fn encoded(bytes: &[u8]) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_~.%+@".contains(b);
    let escape = |b: &u8| if plain(b) { char::from(*b).to_string() } else { format!("%{b:02X}") };
    bytes.iter().map(escape).collect()
}

#[test]
fn no_key_ever_leaves_its_tenants_prefix() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let app = runtime.block_on(App::local());
    let connection = Mutex::new(runtime.block_on(Connection::open(app.addr)));
    let image = images::gif(1, 1, 1);
    let config = Config { cases: 400, failure_persistence: None, ..Config::default() };
    let input = (hostile(), hostile(), hostile(), any::<bool>());
    let outcome = TestRunner::new(config).run(&input, |(tenant, customer, name, raw)| {
        let printable = tenant.iter().all(|b| *b >= b' ' && *b != 0x7f);
        let tenant = if printable { tenant } else { b"acme".to_vec() };
        let customer = encoded(&customer);
        let request = if raw {
            let path = format!("{}/{customer}/{}", upload::UPLOAD, encoded(&name));
            Request::put(&path).body(image.clone())
        } else {
            let mut parameters = b"; filename=\"".to_vec();
            parameters.extend(&name);
            parameters.push(b'"');
            Form::new().file_with(parameters, &image).post(&upload::path(&customer))
        };
        let request = request.header("x-tenant-id", &tenant);
        let response = runtime.block_on(async {
            let mut connection = connection.lock().await;
            if let Ok(response) = connection.exchange(&request, app.addr).await
                && response.header("connection").as_deref() != Some("close")
            {
                return Ok(response);
            }
            // Refused for its framing, or closed behind an answer: the next one tells.
            *connection = Connection::open(app.addr).await;
            connection.exchange(&request, app.addr).await
        });
        let response = match response {
            Ok(response) => response,
            Err(failure) => return Err(TestCaseError::fail(format!("no answer: {failure:?}"))),
        };
        prop_assert!(response.status < 500, "{}", response.text());
        if response.status == 201 {
            let body = response.json();
            let stored = body["storedName"].as_str().unwrap();
            let tenant = std::str::from_utf8(tenant.trim_ascii()).unwrap();
            let rest = stored.strip_prefix(&format!("{tenant}/customer/"));
            prop_assert!(rest.is_some_and(|rest| rest.split('/').count() == 2), "{stored}");
            let unsafe_part = |part: &str| matches!(part.trim(), "" | "." | "..");
            prop_assert!(!stored.split('/').any(unsafe_part), "{stored}");
            prop_assert!(!stored.contains(['\\', '\0', '\n', '\r', '\u{202e}']), "{stored}");
            prop_assert!(app.root().join(stored).is_file(), "{stored} is not where it should be");
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    // Nothing anywhere but where the answers said.
    let beside = std::fs::read_dir(app.folder()).unwrap().flatten();
    let beside = beside.filter_map(|entry| entry.file_name().into_string().ok());
    let mut beside: Vec<_> = beside.filter(|name| !name.starts_with("gatehouse.db")).collect();
    beside.sort();
    assert_eq!(beside, ["objects", "settings.toml"]);
}
