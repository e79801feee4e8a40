//! The server against its description, by Schemathesis: what it takes, what it refuses, and that each answer
//! is one that is described.

use std::time::Duration;

use crate::harness::App;
use crate::harness::builder::Builder;
use crate::harness::scripts;

/// The files that it is set up by.
const FILES: [(&str, &str); 2] = [
    ("hooks.py", include_str!("hooks.py")),
    ("schemathesis.toml", include_str!("schemathesis.toml")),
];

/// A server whose webhooks may lead to this machine, where nothing listens.
fn server() -> Builder {
    App::builder().set("WEBHOOKS__ALLOWED_NETWORKS", "127.0.0.0/8")
}

/// Asks it everything, always the same, with this API key.
async fn fuzz(app: &App, key: &str, more: &[&str]) {
    let folder = app.folder().join("schemathesis");
    std::fs::create_dir(&folder).unwrap();
    for (name, text) in FILES {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let mut program = scripts::openapi_tool("schemathesis.cli");
    program.args(["run", &app.url("/openapi.json"), "--seed", "1", "--no-color"]).args(more);
    program.current_dir(folder).env("GATEHOUSE_KEY", key).env("NO_PROXY", "*");
    let running = tokio::task::spawn_blocking(move || program.output());
    let ended = tokio::time::timeout(Duration::from_secs(600), running).await;
    let ended = ended.expect("an end within ten minutes").unwrap().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{said}\n{}", String::from_utf8_lossy(&ended.stderr));
    assert!(said.contains("Test cases:"), "{said}");
}

#[tokio::test]
async fn in_open_mode_the_server_does_what_is_described() {
    let app = server().start().await;
    // Nobody is asked for a credential.
    fuzz(&app, "none", &["--exclude-checks", "ignored_auth"]).await;
}

#[tokio::test]
async fn where_credentials_are_asked_for_the_server_does_what_is_described() {
    let limits = "[rate_limits]\n\
        reads = { per_second = 1000, burst = 10000 }\n\
        writes = { per_second = 1000, burst = 10000 }\n\
        failed_credentials = { per_second = 1000, burst = 10000 }";
    let app = server().required().file(limits).start().await;
    let scopes = ["images:read", "images:write", "webhooks:manage"];
    let scopes = scopes.iter().flat_map(|scope| ["--scope", *scope]);
    let key = app.key(&["--tenant", "acme"].into_iter().chain(scopes).collect::<Vec<_>>());
    fuzz(&app, &key, &[]).await;
}
