//! The commands: `check`, `healthcheck`, `--help`, `--version`, and what they never print.

use crate::harness::App;

#[test]
fn check_prints_no_secret() {
    let secret = "tH1s-1s-s3cret";
    let builder = App::builder()
        .env("S3_BUCKET", "images")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env("AWS_SESSION_TOKEN", secret);
    let ended = builder.run(&["check"]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(!ended.stdout.contains(secret) && !ended.stderr.contains(secret));
    assert!(ended.stdout.contains("images"), "{}", ended.stdout);
}

#[tokio::test]
async fn the_log_has_no_secret_even_when_everything_is_logged() {
    let app = App::builder().minio().await.set("TELEMETRY__LOG", "trace").start().await;
    let response = crate::harness::upload::main_job("a.gif", &crate::harness::images::gif(1, 1, 9))
        .header("Authorization", "Bearer cl13nts-t0ken")
        .header("Cookie", "session=cl13nts-t0ken")
        .send(app.addr)
        .await;
    assert_eq!(response.status, 201, "{}", response.text());
    let secret = &crate::harness::minio().await.secret_key;
    let log = app.log_text();
    assert!(!log.contains(secret.as_str()), "the store's key is logged");
    assert!(!log.contains("cl13nts-t0ken"), "the client's credential is logged");
}

#[tokio::test]
async fn healthcheck_tells_by_its_status_whether_the_server_is_well() {
    let app = App::local().await;
    let addr = app.addr.to_string();
    let ended = App::builder().set("SERVER__LISTEN", &addr).run(&["healthcheck"]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    drop(app);
    let ended = App::builder().set("SERVER__LISTEN", &addr).run(&["healthcheck"]);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert_eq!(ended.stderr.trim_end().lines().count(), 1, "{}", ended.stderr);
}

#[tokio::test]
async fn healthcheck_asks_loopback_where_the_server_listens_everywhere() {
    let everywhere = |port: u16| {
        App::builder()
            .set("SERVER__LISTEN", &format!("0.0.0.0:{port}"))
            .set("AUTH__ALLOW_OPEN_NETWORK", "true")
    };
    let app = everywhere(0).start().await;
    let ended = everywhere(app.addr.port()).run(&["healthcheck"]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

#[test]
fn help_and_version_are_printed() {
    for flag in ["--help", "-h", "help"] {
        let ended = App::builder().run(&[flag]);
        assert_eq!(ended.status.code(), Some(0));
        for word in ["check", "healthcheck", "--settings", "serve", "Usage"] {
            assert!(ended.stdout.contains(word), "{flag}: no {word} in {}", ended.stdout);
        }
    }
    let ended = App::builder().run(&["--version"]);
    assert_eq!(ended.stdout.trim(), format!("gatehouse {}", env!("CARGO_PKG_VERSION")));
    let ended = App::builder().run(&["no-such-command"]);
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("no-such-command"), "{}", ended.stderr);
}
