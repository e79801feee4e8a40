//! Where settings come from, and which source wins.

use crate::harness::App;
use crate::harness::builder::Builder;
use crate::harness::images;
use crate::harness::upload;

/// What `gatehouse check` prints for these settings.
fn check(builder: &Builder) -> String {
    let ended = builder.run(&["check"]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    ended.stdout
}

/// Fails unless the effective settings have this line.
#[track_caller]
fn assert_line(printed: &str, line: &str) {
    let found = printed.lines().any(|printed| printed.trim() == line);
    assert!(found, "no {line:?} in\n{printed}");
}

#[test]
fn the_file_wins_over_the_defaults_and_the_environment_over_the_file() {
    let printed = check(&App::builder());
    assert_line(&printed, "shutdown_timeout = \"30s\"");
    assert_line(&printed, "max_parts = 100");

    let file = "[server]\nshutdown_timeout = \"11s\"\n[consumers.images]\nmax_parts = 7\n";
    let printed = check(&App::builder().file(file));
    assert_line(&printed, "shutdown_timeout = \"11s\"");
    assert_line(&printed, "max_parts = 7");

    let both = App::builder().file(file).set("SERVER__SHUTDOWN_TIMEOUT", "12s");
    let printed = check(&both);
    assert_line(&printed, "shutdown_timeout = \"12s\"");
    assert_line(&printed, "max_parts = 7");
}

#[test]
fn the_defaults_are_those_of_the_documented_file() {
    let printed = check(&App::builder().set("SERVER__LISTEN", "127.0.0.1:3000"));
    let lines = [
        "listen = \"127.0.0.1:3000\"",
        "header_timeout = \"10s\"",
        "drain_delay = \"0s\"",
        "max_pixels = 100000000",
        "on_conflict = \"overwrite\"",
        "min_rate_window = \"30s\"",
        "backend = \"local\"",
        "mode = \"open\"",
        "allow_open_network = false",
        "log = \"info\"",
    ];
    for line in lines {
        assert_line(&printed, line);
    }
    for size in ["32", "256", "64", "16"] {
        assert!(printed.contains(&format!("\"{size}")), "{size} in\n{printed}");
    }
}

#[test]
fn the_documented_file_changes_nothing() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/settings.toml");
    let ended = App::builder().run(&["check", "--settings", file]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, check(&App::builder()));
}

#[test]
fn what_check_prints_is_a_settings_file_with_the_same_effect() {
    let file = "[services.orders]\nurl = \"http://orders:8080/api\"\ntenant_required = true\n";
    let printed = check(&App::builder().file(file).set("CONSUMERS__IMAGES__MAX_FILE_SIZE", "5MiB"));
    let again = check(&App::builder().file(&printed));
    assert_eq!(again, printed);
    assert!(printed.contains("http://orders:8080/api"), "{printed}");
}

#[test]
fn a_file_may_be_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.toml");
    std::fs::write(&file, "[consumers.images]\nmax_parts = 9\n").unwrap();
    let builder = App::builder().file("[consumers.images]\nmax_parts = 7\n");
    for arguments in [
        ["--settings", file.to_str().unwrap(), "check"],
        ["check", "--settings", file.to_str().unwrap()],
    ] {
        let ended = builder.run(&arguments);
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert_line(&ended.stdout, "max_parts = 9");
    }
}

#[test]
fn s3_bucket_selects_the_store_over_file_and_environment() {
    let builder = App::builder()
        .file("[storage]\nbackend = \"local\"\n[storage.s3]\nbucket = \"from-file\"")
        .set("STORAGE__S3__BUCKET", "from-environment")
        .env("AWS_REGION", "us-east-1");
    assert_line(&check(&builder), "backend = \"local\"");
    let printed = check(&builder.env("S3_BUCKET", "well-known"));
    assert_line(&printed, "backend = \"s3\"");
    assert_line(&printed, "bucket = \"well-known\"");
}

#[test]
fn a_base_url_in_the_environment_wins_over_the_services_table() {
    let builder = App::builder()
        .service("consumers", "http://from-file:1", "")
        .env("TR_CONSUMER_SERVICE_BASE_URL", "http://well-known:2/consumers");
    let printed = check(&builder);
    assert_line(&printed, "url = \"http://well-known:2/consumers\"");
    assert!(!printed.contains("from-file"), "{printed}");
}

#[tokio::test]
async fn a_service_can_come_from_the_environment_alone() {
    let upstream = crate::harness::upstream::Upstream::ok().await;
    let app = App::builder().set("SERVICES__ORDERS__URL", &upstream.url("")).start().await;
    let request = crate::harness::http::Request::get("/consumer-api/service/orders/x");
    assert_eq!(request.send(app.addr).await.status, 200);
    // The module of this process is still there.
    let response = upload::main_job("a.gif", &images::gif(1, 1, 1)).send(app.addr).await;
    assert_eq!(response.status, 201, "{}", response.text());
}

#[tokio::test]
async fn the_stores_own_settings_reach_it_without_the_aws_variables() {
    let store = crate::harness::minio().await;
    let bucket = store.fresh_bucket().await;
    let app = App::builder()
        .file(&format!(
            "[storage]\nbackend = \"s3\"\n[storage.s3]\nbucket = \"{bucket}\"\n\
             endpoint_url = \"{}\"\nregion = \"us-east-1\"",
            store.endpoint
        ))
        .env("AWS_ACCESS_KEY_ID", &store.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &store.secret_key)
        .start()
        .await;
    let response = upload::main_job("a.gif", &images::gif(1, 1, 1)).send(app.addr).await;
    assert_eq!(response.status, 201, "{}", response.text());
    assert_eq!(store.keys(&bucket).await, ["acme/customer/42/a.gif"]);
}
