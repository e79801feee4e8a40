//! A bad setting stops the start: status 2, and one sentence with key, source and remedy.

use crate::harness::App;
use crate::harness::builder::Builder;

/// Fails unless serving and checking both stop with one sentence that has all these words.
#[track_caller]
pub(super) fn refused(builder: &Builder, words: &[&str]) {
    for arguments in [&[][..], &["check"]] {
        let ended = builder.run(arguments);
        let told = ended.stderr.trim_end();
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {told}{}", ended.stdout);
        assert!(!told.is_empty() && !told.contains('\n'), "not one line: {told}");
        for word in words {
            assert!(told.contains(word), "no {word:?} in: {told}");
        }
        let sentence = told.strip_prefix("gatehouse: ").unwrap_or(told);
        assert!(sentence.split(' ').count() >= 6, "no remedy in: {told}");
        assert!(!told.contains("Error {") && !told.contains("panicked"), "{told}");
    }
}

#[test]
fn unknown_keys_are_named_with_their_source() {
    let file = |toml: &str| App::builder().file(toml);
    refused(&file("[server]\nlistne = \"127.0.0.1:1\""), &["listne", "settings.toml", "listen"]);
    refused(&file("[sever]\nlisten = \"127.0.0.1:1\""), &["sever", "settings.toml"]);
    refused(&file("listen = \"127.0.0.1:1\""), &["listen", "settings.toml"]);
    refused(&file("[consumers.images]\nmax_size = 1"), &["consumers.images", "max_size"]);
    refused(&file("[storage.s3]\nbuckets = \"x\""), &["storage.s3", "buckets", "settings.toml"]);
    refused(
        &file("[services.x]\nurl = \"http://x\"\ntimeout = \"1s\""),
        &["services.x", "timeout"],
    );
    refused(&App::builder().set("SERVER__LISTNE", "x"), &["GATEHOUSE__SERVER__LISTNE"]);
    refused(&App::builder().set("NOPE", "x"), &["GATEHOUSE__NOPE"]);
    refused(&App::builder().set("SERVER__WORKERS__X", "x"), &["GATEHOUSE__SERVER__WORKERS"]);
}

#[test]
fn wrong_types_and_values_are_named_with_their_source() {
    let cases = [
        ("[server]\nlisten = \"nonsense\"", "server.listen"),
        ("[server]\nlisten = 3000", "server.listen"),
        ("[server]\nworkers = \"many\"", "server.workers"),
        ("[server]\nworkers = -1", "server.workers"),
        ("[server]\nmax_connections = 0", "server.max_connections"),
        ("[server]\nworkers = 3\nmax_connections = 2", "server.max_connections"),
        ("[server]\nshutdown_timeout = \"soon\"", "server.shutdown_timeout"),
        ("[server]\nshutdown_timeout = true", "server.shutdown_timeout"),
        ("[server]\ntrusted_proxies = [\"10.0.0.0/99\"]", "server.trusted_proxies"),
        ("[server]\ntrusted_proxies = \"10.0.0.0/8\"", "server.trusted_proxies"),
        ("[consumers.images]\nmax_file_size = \"32 bananas\"", "consumers.images.max_file_size"),
        ("[consumers.images]\nmax_pixels = \"lots\"", "consumers.images.max_pixels"),
        ("[consumers.images]\non_conflict = \"ask\"", "consumers.images.on_conflict"),
        ("[consumers.images]\naccept = [\"image/svg+xml\"]", "consumers.images.accept"),
        ("[consumers.images]\naccept = \"image/png\"", "consumers.images.accept"),
        ("[storage]\nbackend = \"ftp\"", "storage.backend"),
        ("[auth]\nmode = \"closed\"", "auth.mode"),
        ("[auth]\nallow_open_network = \"maybe\"", "auth.allow_open_network"),
        ("[services.x]\nurl = 7", "services.x.url"),
        ("[services.x]\nurl = \"ftp://x\"", "services.x"),
        ("[services.x]\nurl = \"no url\"", "services.x"),
        ("[services.x]\nurl = \"http://x/?query\"", "services.x"),
        ("[services.x]\nmodule = \"orders\"", "services.x"),
        ("[services.x]\nurl = \"http://x\"\nidle_timeout = \"x\"", "services.x.idle_timeout"),
        ("[services.x]\nurl = \"http://x\"\nhealth_path = \"up\"", "services.x.health_path"),
        ("[services.x]\nurl = \"http://x\"\ncircuit = 5", "services.x.circuit"),
        ("[services.x]\nurls = \"http://x\"", "services.x.urls"),
        ("[telemetry]\nlog_format = \"xml\"", "telemetry.log_format"),
    ];
    for (toml, key) in cases {
        refused(&App::builder().file(toml), &[key, "settings.toml"]);
    }
}

#[test]
fn wrong_values_in_the_environment_are_named_by_their_variable() {
    let cases = [
        ("SERVER__LISTEN", "nonsense"),
        ("SERVER__WORKERS", "many"),
        ("SERVER__SHUTDOWN_TIMEOUT", "soon"),
        ("CONSUMERS__IMAGES__MAX_FILE_SIZE", "32 bananas"),
        ("STORAGE__BACKEND", "ftp"),
        ("AUTH__ALLOW_OPEN_NETWORK", "maybe"),
    ];
    for (key, value) in cases {
        refused(&App::builder().set(key, value), &[&format!("GATEHOUSE__{key}")]);
    }
}

#[test]
fn the_sentence_says_what_would_be_right() {
    let cases = [
        ("[server]\nlisten = \"nonsense\"", "127.0.0.1:3000"),
        ("[server]\nlisten = \"localhost:3000\"", "127.0.0.1:3000"),
        ("[server]\nworkers = \"many\"", "number"),
        ("[server]\nshutdown_timeout = \"soon\"", "30s"),
        ("[server]\ntrusted_proxies = [\"10.0.0.0/99\"]", "10.0.0.0/8"),
        ("[consumers.images]\nmax_file_size = \"32 bananas\"", "32MiB"),
        ("[consumers.images]\non_conflict = \"ask\"", "overwrite"),
        ("[consumers.images]\naccept = [\"image/svg+xml\"]", "image/png"),
        ("[storage]\nbackend = \"ftp\"", "local"),
        ("[auth]\nmode = \"closed\"", "open"),
        ("[telemetry]\nlog_format = \"xml\"", "json"),
        ("[services.x]\nurl = \"ftp://x\"", "http://"),
    ];
    for (toml, remedy) in cases {
        refused(&App::builder().file(toml), &[remedy]);
    }
}

#[test]
fn the_well_known_names_are_checked_too() {
    for url in ["nonsense", "ftp://x", "http://", "http://x/?q", "consumers:3001"] {
        let builder = App::builder().env("TR_CONSUMER_SERVICE_BASE_URL", url);
        refused(&builder, &["TR_CONSUMER_SERVICE_BASE_URL"]);
    }
}

#[test]
fn contradictions_are_named() {
    let file = |toml: &str| App::builder().file(toml);
    refused(&file("[storage]\nbackend = \"s3\""), &["storage.s3.bucket"]);
    let both = "[services.x]\nmodule = \"consumers\"\nurl = \"http://x\"";
    refused(&file(both), &["services.x", "module", "url"]);
    refused(&file("[services.x]\ntenant_required = true"), &["services.x", "url"]);
    let both = "[services.x]\nurl = \"http://x\"\nurls = [\"http://y\"]";
    refused(&file(both), &["services.x", "url", "urls"]);
    let module = "[services.x]\nmodule = \"consumers\"\nmax_requests = 9";
    refused(&file(module), &["services.x.max_requests", "remote"]);
    for name in ["Orders", "_x", "-x", "\"\"", "\"a b\""] {
        refused(&file(&format!("[services.{name}]\nurl = \"http://x\"")), &["services"]);
    }
    let long = "a".repeat(64);
    refused(&file(&format!("[services.{long}]\nurl = \"http://x\"")), &["services", &long]);
}

#[test]
fn the_instances_of_a_service_belong_together() {
    let urls = |urls: &str| App::builder().file(&format!("[services.x]\nurls = {urls}"));
    refused(&urls("[]"), &["services.x.urls", "settings.toml"]);
    refused(&urls("[\"http://a\", \"https://b\"]"), &["services.x.urls", "scheme"]);
    refused(&urls("[\"http://a\", \"ftp://b\"]"), &["services.x.urls[1]", "http://"]);
    refused(&urls("[\"http://a\", \"http://b\", \"http://a\"]"), &["services.x.urls[2]", "once"]);
    refused(
        &App::builder().set("SERVICES__X__URLS", "http://a,b"),
        &["services.x.urls[1]", "GATEHOUSE__SERVICES__X__URLS"],
    );
}

#[test]
fn a_file_of_authorities_must_hold_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let service = |scheme: &str| {
        let toml =
            format!("[services.x]\nurl = \"{scheme}://x\"\nca_file = \"{}\"", path.display());
        App::builder().file(&toml)
    };
    refused(&service("https"), &["services.x.ca_file", "settings.toml", "ca.pem", "read"]);
    std::fs::write(&path, "hello\n").unwrap();
    refused(&service("https"), &["services.x.ca_file", "settings.toml", "ca.pem", "certificate"]);
    let pem = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    std::fs::write(&path, pem).unwrap();
    refused(&service("http"), &["services.x.ca_file", "settings.toml", "https"]);
}

#[test]
fn files_that_cannot_be_read_are_named() {
    refused(&App::builder().file("[server\nlisten"), &["settings.toml"]);
    let ended = App::builder().run(&["--settings", "no-such-file.toml"]);
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("no-such-file.toml"), "{}", ended.stderr);
    assert_eq!(ended.stderr.trim_end().lines().count(), 1, "{}", ended.stderr);
}

#[test]
fn open_mode_refuses_the_network_unless_it_is_allowed_to() {
    for addr in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        for key in ["SERVER__LISTEN", "CONSUMERS__LISTEN"] {
            let ended = App::builder().set(key, addr).run(&[]);
            let told = ended.stderr.trim_end();
            assert_eq!(ended.status.code(), Some(2), "{key} {addr}: {told}");
            assert!(told.contains("allow_open_network"), "{key} {addr}: {told}");
            assert!(!told.contains('\n'), "not one line: {told}");
        }
    }
}

#[tokio::test]
async fn open_mode_listens_on_the_network_where_that_is_allowed() {
    let app = App::builder()
        .set("SERVER__LISTEN", "0.0.0.0:0")
        .set("AUTH__ALLOW_OPEN_NETWORK", "true")
        .start()
        .await;
    let addr = std::net::SocketAddr::from(([127, 0, 0, 1], app.addr.port()));
    let response = crate::harness::http::Request::get("/healthz").send(addr).await;
    assert_eq!(response.status, 200);
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_in_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let ended = App::builder().set("SERVER__LISTEN", &addr).run(&[]);
    assert!(ended.status.code().is_some_and(|code| code != 0));
    assert!(ended.stderr.contains(&addr), "{}", ended.stderr);
    assert_eq!(ended.stderr.trim_end().lines().count(), 1, "{}", ended.stderr);
}
