//! The main job: the 201 and the stored object, with both stores, by form and by raw body.

use crate::harness::App;
use crate::harness::http::Request;
use crate::harness::images;
use crate::harness::multipart::Form;
use crate::harness::upload::{self, Expected, stored_name};

#[tokio::test]
async fn an_upload_is_answered_with_its_record_and_stored_locally() {
    let app = App::local().await;
    an_upload_is_answered_and_stored(&app).await;
}

#[tokio::test]
async fn an_upload_is_answered_with_its_record_and_stored_in_s3() {
    let app = App::minio().await;
    an_upload_is_answered_and_stored(&app).await;
}

async fn an_upload_is_answered_and_stored(app: &App) {
    let image = images::jpeg(1200, 800, 48_000);
    let form = Form::new().file("image.jpg", &image);
    let request = form.post(&upload::path("12345")).tenant("tenant-abc");
    let response = request.send(app.addr).await;

    let key = "tenant-abc/customer/12345/image.jpg";
    let expected = Expected {
        stored_name: key,
        customer: "12345",
        file_name: "image.jpg",
        content_type: "image/jpeg",
        image: &image,
        width: 1200,
        height: 800,
    };
    expected.check(&response);
    assert_eq!(app.keys().await, [key]);
    let (bytes, kind) = app.object(key).await;
    assert!(bytes == image, "the stored bytes differ");
    assert!(kind.is_none_or(|kind| kind == "image/jpeg"));
}

#[tokio::test]
async fn a_raw_put_is_answered_like_a_form_and_stored_locally() {
    let app = App::local().await;
    a_raw_put_is_answered_and_stored(&app).await;
}

#[tokio::test]
async fn a_raw_put_is_answered_like_a_form_and_stored_in_s3() {
    let app = App::minio().await;
    a_raw_put_is_answered_and_stored(&app).await;
}

async fn a_raw_put_is_answered_and_stored(app: &App) {
    let image = images::png(640, 480, 30_000);
    let response = upload::put("my%20cat.png", &image).send(app.addr).await;
    let expected = Expected {
        stored_name: "acme/customer/42/my cat.png",
        customer: "42",
        file_name: "my cat.png",
        content_type: "image/png",
        image: &image,
        width: 640,
        height: 480,
    };
    expected.check(&response);
    let (bytes, kind) = app.object("acme/customer/42/my cat.png").await;
    assert!(bytes == image, "the stored bytes differ");
    assert!(kind.is_none_or(|kind| kind == "image/png"));
}

#[tokio::test]
async fn the_bytes_decide_the_type_whatever_the_part_declares() {
    let app = App::minio().await;
    let image = images::png(8, 8, 100);
    let form = Form::new().part(
        "Content-Disposition: form-data; name=\"file\"; filename=\"page.html\"\r\n\
         Content-Type: text/html\r\n",
        &image,
    );
    let response = upload::post(&form).send(app.addr).await;
    assert_eq!(stored_name(&response), "acme/customer/42/page.html");
    assert_eq!(response.json()["contentType"], "image/png");
    let (_, kind) = app.object("acme/customer/42/page.html").await;
    assert_eq!(kind.as_deref(), Some("image/png"));

    let put = upload::put("x.txt", &image).header("Content-Type", "text/plain");
    let response = put.send(app.addr).await;
    assert_eq!(response.json()["contentType"], "image/png");
}

#[tokio::test]
async fn the_file_name_field_is_shown_and_the_parts_name_is_stored() {
    let app = App::local().await;
    let image = images::gif(10, 10, 64);
    let before = Form::new().text("fileName", "Shown.gif").file("stored.gif", &image);
    let after = Form::new().file("stored.gif", &image).text("fileName", "Shown.gif");
    for form in [before, after] {
        let response = upload::post(&form).send(app.addr).await;
        assert_eq!(stored_name(&response), "acme/customer/42/stored.gif");
        assert_eq!(response.json()["fileName"], "Shown.gif");
    }
    assert_eq!(app.keys().await, ["acme/customer/42/stored.gif"]);
}

#[tokio::test]
async fn the_file_name_field_follows_the_rule_of_file_names() {
    let app = App::local().await;
    let image = images::gif(10, 10, 64);
    let shown = [
        ("C:\\Users\\me\\cat.gif", "cat.gif"),
        ("a/b/c.gif", "c.gif"),
        ("Cafe\u{301} \u{732b}.gif", "Caf\u{e9} \u{732b}.gif"),
    ];
    for (sent, file_name) in shown {
        let form = Form::new().file("stored.gif", &image).text("fileName", sent);
        let response = upload::post(&form).send(app.addr).await;
        assert_eq!(response.status, 201, "{sent}: {}", response.text());
        assert_eq!(response.json()["fileName"], file_name);
    }
}

#[tokio::test]
async fn other_text_fields_are_ignored_wherever_they_stand() {
    let app = App::local().await;
    let image = images::gif(10, 10, 64);
    let form = Form::new()
        .text("alt", "a cat")
        .text("", "no name")
        .text("customerId", "99")
        .file("cat.gif", &image)
        .text("tenantId", "other")
        .text("notes", vec![b'x'; 1000]);
    let response = upload::post(&form).send(app.addr).await;
    assert_eq!(stored_name(&response), "acme/customer/42/cat.gif");
    assert_eq!(response.json()["customerId"], "42");
    assert_eq!(app.keys().await, ["acme/customer/42/cat.gif"]);
}

#[tokio::test]
async fn a_second_upload_of_a_name_replaces_the_first() {
    for app in [App::local().await, App::minio().await] {
        let (first, second) = (images::jpeg(5, 5, 9000), images::png(6, 6, 300));
        let one = upload::main_job("pic", &first).send(app.addr).await;
        let two = upload::main_job("pic", &second).send(app.addr).await;
        assert_eq!(stored_name(&one), stored_name(&two));
        let (bytes, kind) = app.object("acme/customer/42/pic").await;
        assert!(bytes == second, "the second upload's bytes are not stored");
        assert!(kind.is_none_or(|kind| kind == "image/png"));
        assert_eq!(app.keys().await, ["acme/customer/42/pic"]);
    }
}

#[tokio::test]
async fn tenants_with_equal_names_keep_their_own_objects() {
    let app = App::local().await;
    let (ours, theirs) = (images::gif(1, 1, 10), images::gif(2, 2, 20));
    for (tenant, image) in [("acme", &ours), ("Acme", &theirs), ("acme.org", &theirs)] {
        let form = Form::new().file("a.gif", image);
        let response = form.post(&upload::path("42")).tenant(tenant).send(app.addr).await;
        assert_eq!(stored_name(&response), format!("{tenant}/customer/42/a.gif"));
    }
    assert!(app.object("acme/customer/42/a.gif").await.0 == ours);
    assert!(app.object("Acme/customer/42/a.gif").await.0 == theirs);
}

#[tokio::test]
async fn the_bucket_prefix_goes_before_the_key_and_never_into_the_answer() {
    let builder = App::builder().minio().await.set("STORAGE__S3__PREFIX", "env/prod-");
    let app = builder.start().await;
    let response = upload::main_job("a.gif", &images::gif(1, 1, 1)).send(app.addr).await;
    assert_eq!(stored_name(&response), "acme/customer/42/a.gif");
    assert_eq!(app.keys().await, ["env/prod-acme/customer/42/a.gif"]);
}

#[tokio::test]
async fn tenant_ids_at_their_limits_are_taken() {
    let app = App::local().await;
    let longest = format!("T{}", "x".repeat(62));
    for tenant in ["a", "0", "A.b_c-d", "a..b", "a-", "a_", longest.as_str()] {
        let form = Form::new().file("a.gif", &images::gif(1, 1, 1));
        let response = form.post(&upload::path("1")).tenant(tenant).send(app.addr).await;
        assert_eq!(stored_name(&response), format!("{tenant}/customer/1/a.gif"));
    }
}

#[tokio::test]
async fn customer_ids_are_decoded_once() {
    let app = App::local().await;
    let longest = "c".repeat(128);
    let cases = [
        ("user%40example.com", "user@example.com"),
        ("user@example.com", "user@example.com"),
        ("a+b", "a+b"),
        ("a%2Bb", "a+b"),
        ("%31%32", "12"),
        ("A._@+-", "A._@+-"),
        ("a..b", "a..b"),
        (longest.as_str(), longest.as_str()),
    ];
    for (sent, customer) in cases {
        let form = Form::new().file("a.gif", &images::gif(1, 1, 1));
        let response = form.post(&upload::path(sent)).tenant("acme").send(app.addr).await;
        assert_eq!(stored_name(&response), format!("acme/customer/{customer}/a.gif"), "{sent}");
        assert_eq!(response.json()["customerId"], customer);
    }
}

#[tokio::test]
async fn a_query_string_does_not_matter_to_an_upload() {
    let app = App::local().await;
    let form = Form::new().file("a.gif", &images::gif(1, 1, 1));
    let request: Request = form.post(&format!("{}?x=../..&y=%zz", upload::path("1")));
    let response = request.tenant("acme").send(app.addr).await;
    assert_eq!(stored_name(&response), "acme/customer/1/a.gif");
}
