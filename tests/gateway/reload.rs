//! The services table while it is replaced: by SIGHUP, by a changed file, under load.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::TcpStream;

use super::UP;
use crate::harness::App;
use crate::harness::http::{Connection, Request};
use crate::harness::images;
use crate::harness::problem::assert_problem;
use crate::harness::upload::{self, stored_name};
use crate::harness::upstream::Upstream;

const RELOADED: &str = "services table reloaded";
const SAME: &str = "settings read again; the services table is the same";
pub(super) const REFUSED: &str = "reload refused; the services table stays as it was";
const WAITING: &str = "these settings have changed and need a restart to take effect";

/// A table with one remote service.
pub(super) fn remote(name: &str, upstream: &Upstream) -> String {
    format!("[services.{name}]\nurl = \"{}\"\n", upstream.url(""))
}

/// Puts new settings in the file's place at once.
pub(super) fn replace(app: &App, toml: &str) {
    let new = app.folder().join("new.toml");
    std::fs::write(&new, toml).unwrap();
    std::fs::rename(new, app.folder().join("settings.toml")).unwrap();
}

/// What was logged with this message, in order.
pub(super) fn logged(app: &App, message: &str) -> Vec<Value> {
    let lines = app.log_text();
    let events = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter(|event| event["message"] == message).collect()
}

/// Waits for the `count`th line with this message.
async fn told(app: &App, message: &str, count: usize) -> Value {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(event) = logged(app, message).into_iter().nth(count - 1) {
            return event;
        }
        assert!(Instant::now() < until, "not {count} times {message:?}: {}", app.log_text());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn get(app: &App, service: &str) -> u16 {
    let path = format!("/consumer-api/service/{service}/x");
    Request::get(&path).send(app.addr).await.status
}

#[tokio::test]
async fn sighup_replaces_the_table_and_says_what_changed() {
    let (one, two) = (Upstream::ok().await, Upstream::ok().await);
    let app = App::builder().file(&(remote("up", &one) + &remote("old", &one))).start().await;
    assert_eq!((get(&app, "up").await, get(&app, "old").await), (200, 200));

    replace(&app, &(remote("up", &two) + &remote("new", &one)));
    app.signal("HUP");
    let event = told(&app, RELOADED, 1).await;
    assert_eq!(event["level"], "INFO");
    assert_eq!((&event["added"], &event["removed"]), (&"new".into(), &"old".into()));
    assert_eq!(event["changed"], "up");
    assert_eq!((get(&app, "up").await, get(&app, "new").await), (200, 200));
    assert_eq!(two.requests().len(), 1);
    assert_problem(
        &Request::get("/consumer-api/service/old/x").send(app.addr).await,
        "service-not-found",
    );
    assert!(logged(&app, WAITING).is_empty(), "{}", app.log_text());

    app.signal("HUP");
    assert_eq!(told(&app, SAME, 1).await["level"], "INFO");
}

#[tokio::test]
async fn a_changed_file_is_noticed_however_it_was_changed() {
    let upstream = Upstream::ok().await;
    let app = App::builder().file(&remote("first", &upstream)).start().await;
    let file = app.folder().join("settings.toml");

    std::fs::write(&file, remote("written", &upstream)).unwrap();
    assert_eq!(told(&app, RELOADED, 1).await["added"], "written");
    assert_eq!((get(&app, "written").await, get(&app, "first").await), (200, 404));

    replace(&app, &remote("renamed", &upstream));
    assert_eq!(told(&app, RELOADED, 2).await["added"], "renamed");

    // As Kubernetes mounts ConfigMaps: a link into a folder that is a link, which is swapped.
    let folder = |name: &str, toml: &str| {
        let path = app.folder().join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("settings.toml"), toml).unwrap();
        std::os::unix::fs::symlink(name, app.folder().join("..new")).unwrap();
        std::fs::rename(app.folder().join("..new"), app.folder().join("..data")).unwrap();
    };
    folder("..1", &remote("linked", &upstream));
    std::os::unix::fs::symlink("..data/settings.toml", app.folder().join("link")).unwrap();
    std::fs::rename(app.folder().join("link"), &file).unwrap();
    assert_eq!(told(&app, RELOADED, 3).await["added"], "linked");
    folder("..2", &remote("swapped", &upstream));
    assert_eq!(told(&app, RELOADED, 4).await["added"], "swapped");
    assert_eq!((get(&app, "swapped").await, get(&app, "linked").await), (200, 404));
    assert_eq!(logged(&app, RELOADED).len(), 4);
}

#[tokio::test]
async fn bad_settings_are_refused_whole_with_the_starts_own_sentence() {
    let upstream = Upstream::ok().await;
    let good = remote("up", &upstream);
    let app = App::builder().file(&good).start().await;
    let more = remote("more", &upstream);
    let cases = [
        "[services.x\nurl = 1",
        "[services.x]\nurl = \"http://x\"\ntimeout = \"1s\"",
        "[services.x]\nurl = \"ftp://x\"",
        "[services.x]\nmodule = \"orders\"",
        "[services.X]\nurl = \"http://x\"",
        "[sever]\nlisten = 1",
        "[server]\nshutdown_timeout = \"soon\"",
        "[storage]\nbackend = \"s3\"",
        "[consumers]\nlisten = \"0.0.0.0:1\"",
        "[auth.jwt]\njwks_url = \"https://issuer.example/\"",
        "[telemetry]\nlog = \"a=b=c\"",
    ];
    for (count, bad) in cases.iter().enumerate() {
        replace(&app, &format!("{more}{bad}\n"));
        app.signal("HUP");
        let event = told(&app, REFUSED, count + 1).await;
        let start = App::builder().file(&format!("{more}{bad}")).run(&["check"]).stderr;
        let sentence = start.trim_end().strip_prefix("gatehouse: ").unwrap();
        assert_eq!(event["reason"], sentence, "{bad}");
        assert_eq!(event["level"], "ERROR");
        assert_eq!((get(&app, "up").await, get(&app, "more").await), (200, 404), "{bad}");
    }
    // No more than one line each, even when the file is looked at again.
    replace(&app, &(good + &more));
    assert_eq!(told(&app, RELOADED, 1).await["added"], "more");
    assert_eq!(logged(&app, REFUSED).len(), cases.len());
}

#[tokio::test]
async fn what_else_has_changed_is_named_as_waiting_for_a_restart() {
    let upstream = Upstream::ok().await;
    let app = App::builder().file("[server]\nworkers = 1").start().await;
    let others = "[server]\nworkers = 2\nshutdown_timeout = \"9s\"\n\
                  [consumers.images]\nmax_parts = 7\n";
    replace(&app, &format!("{others}{}", remote("up", &upstream)));
    app.signal("HUP");
    assert_eq!(told(&app, RELOADED, 1).await["added"], "up");
    let event = told(&app, WAITING, 1).await;
    assert_eq!(event["level"], "WARN");
    assert_eq!(
        event["keys"],
        "consumers.images.max_parts, server.shutdown_timeout, server.workers"
    );
    assert_eq!(get(&app, "up").await, 200);
}

#[tokio::test]
async fn the_environment_counts_as_at_the_start_and_without_a_file_alone() {
    let upstream = Upstream::ok().await;
    let builder = App::builder().set("SERVICES__ENV__URL", &upstream.url("/base"));
    let app = builder.file(&remote("up", &upstream)).start().await;
    let nowhere = "[services.env]\nurl = \"http://127.0.0.1:1\"\n";
    replace(&app, &format!("{nowhere}{}", remote("more", &upstream)));
    app.signal("HUP");
    let event = told(&app, RELOADED, 1).await;
    assert_eq!((&event["added"], &event["changed"]), (&"more".into(), &Value::Null));
    assert_eq!(get(&app, "env").await, 200);
    std::fs::remove_file(app.folder().join("settings.toml")).unwrap();
    app.signal("HUP");
    assert_eq!(told(&app, RELOADED, 2).await["removed"], "more");
    assert_eq!((get(&app, "env").await, get(&app, "more").await), (200, 404));
    // The module of this process is there without being named.
    let response = upload::main_job("a.gif", &images::gif(1, 1, 1)).send(app.addr).await;
    assert_eq!(response.status, 201, "{}", response.text());
    // A file that comes is noticed, too.
    replace(&app, &remote("late", &upstream));
    assert_eq!(told(&app, RELOADED, 3).await["added"], "late");
}

#[tokio::test]
async fn a_module_becomes_remote_and_a_module_again() {
    let upstream = Upstream::ok().await;
    let app = App::local().await;
    let request = upload::main_job("a.gif", &images::gif(1, 1, 1));
    let mut connection = Connection::open(app.addr).await;
    for round in 0..2 {
        let response = connection.exchange(&request, app.addr).await.unwrap();
        assert_eq!(response.status, 201, "{}", response.text());
        replace(&app, &remote("consumers", &upstream));
        app.signal("HUP");
        told(&app, RELOADED, 2 * round + 1).await;
        // The same connection, too, asks what is so now.
        let response = connection.exchange(&request, app.addr).await.unwrap();
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
        assert_problem(&Request::get(&upload::path("42")).send(app.addr).await, "tenant-missing");
        replace(&app, "");
        app.signal("HUP");
        told(&app, RELOADED, 2 * round + 2).await;
    }
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn requests_under_way_go_on_with_what_they_began_with() {
    let (go, gone) = (Arc::new(tokio::sync::Notify::new()), Arc::new(AtomicUsize::new(0)));
    let upstream = Upstream::scripted({
        let (go, gone) = (Arc::clone(&go), Arc::clone(&gone));
        move |mut peer| {
            let (go, gone) = (Arc::clone(&go), Arc::clone(&gone));
            async move {
                peer.request_head().await;
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").await;
                go.notified().await;
                peer.send("-last").await;
                gone.fetch_add(1, Ordering::Relaxed);
            }
        }
    })
    .await;
    let app = App::builder().file(&remote("up", &upstream)).start().await;
    let mut get = Connection::open(app.addr).await;
    get.send(Request::get(&format!("{UP}/x")).head_bytes(app.addr)).await;
    get.read_until(b"first").await;
    let image = images::jpeg(9, 9, 1 << 20);
    let form = upload::main_job("a.jpg", &image).header("Expect", "100-continue");
    let (head, body) = (form.head_bytes(app.addr), form.body_bytes());
    let mut post = Connection::open(app.addr).await;
    post.send(head).await;
    post.read_until(b"100 Continue\r\n\r\n").await;
    post.send(&body[..body.len() / 2]).await;

    replace(&app, "[services.consumers]\nurl = \"http://127.0.0.1:1\"\n");
    app.signal("HUP");
    told(&app, RELOADED, 1).await;
    let response = Request::get(&format!("{UP}/x")).send(app.addr).await;
    assert_problem(&response, "service-not-found");
    assert_eq!(upload::main_job("b.jpg", &image).send(app.addr).await.status, 502);

    post.send(&body[body.len() / 2..]).await;
    assert_eq!(stored_name(&post.response().await), "acme/customer/42/a.jpg");
    go.notify_one();
    get.read_until(b"-last").await;
    assert_eq!(gone.load(Ordering::Relaxed), 1);
}

/// Reloads while clients ask, with the table going back and forth between two entries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reloads_under_load_fail_no_request() {
    const RELOADS: usize = 1000;
    let answer = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{body}");
    let upstreams =
        [Upstream::answering(answer("a")).await, Upstream::answering(answer("b")).await];
    let tables = upstreams.each_ref().map(|upstream| remote("up", upstream));
    let app = Arc::new(App::builder().file(&tables[0]).start().await);
    let (addr, over) = (app.addr, Arc::new(AtomicBool::new(false)));
    let clients = std::array::from_fn::<_, 4, _>(|_| {
        let over = Arc::clone(&over);
        tokio::spawn(async move {
            let request = Request::get(&format!("{UP}/x"));
            let (mut connection, mut served) = (Connection::open(addr).await, 0_usize);
            while !over.load(Ordering::Relaxed) {
                let response = connection.exchange(&request, addr).await.expect("an answer");
                assert_eq!(response.status, 200, "{}", response.text());
                served += 1;
            }
            served
        })
    });
    let mut probe = Connection::open(addr).await;
    for count in 1..=RELOADS {
        replace(&app, &tables[count % 2]);
        app.signal("HUP");
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let request = Request::get(&format!("{UP}/probe"));
            let response = probe.exchange(&request, addr).await.expect("an answer");
            assert_eq!(response.status, 200, "{}", response.text());
            if response.body == ["a", "b"][count % 2].as_bytes() {
                break;
            }
            assert!(Instant::now() < until, "reload {count} has no effect: {}", app.log_text());
        }
    }
    over.store(true, Ordering::Relaxed);
    let mut served = 0;
    for client in clients {
        served += client.await.expect("a client without a failure");
    }
    assert!(served > RELOADS, "only {served} requests during {RELOADS} reloads");
    assert!(logged(&app, REFUSED).is_empty(), "{}", app.log_text());
}

#[tokio::test]
async fn sighups_that_come_together_are_one_and_none_disturbs_the_end() {
    let mut app = App::local().await;
    let form = upload::main_job("a.jpg", &images::jpeg(9, 9, 1 << 20));
    let form = form.header("Expect", "100-continue");
    let body = form.body_bytes();
    let mut post = Connection::open(app.addr).await;
    post.send(form.head_bytes(app.addr)).await;
    post.read_until(b"100 Continue\r\n\r\n").await;
    app.signal("STOP");
    for _ in 0..20 {
        app.signal("HUP");
    }
    app.signal("CONT");
    told(&app, SAME, 1).await;
    app.signal("TERM");
    let until = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(app.addr).await.is_ok() {
        assert!(Instant::now() < until, "still accepts");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for _ in 0..20 {
        app.signal("HUP");
    }
    post.send(body).await;
    assert_eq!(stored_name(&post.response().await), "acme/customer/42/a.jpg");
    let status = app.ended_within(Duration::from_secs(10)).await;
    assert_eq!(status.code(), Some(0), "{}", app.log_text());
    assert!(logged(&app, SAME).len() < 40, "{}", app.log_text());
}

/// A process that is killed when the test is over.
struct Starting(Child);

impl Drop for Starting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a call that may block for ever gives, in time.
fn in_time<T: Send + 'static>(what: &str, call: impl FnOnce() -> T + Send + 'static) -> T {
    let (give, given) = std::sync::mpsc::channel();
    std::thread::spawn(move || give.send(call()));
    given.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("{what} did not come"))
}

/// A pipe in the settings file's place holds the start where the settings are read.
#[test]
fn a_sighup_during_the_start_is_kept_and_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.toml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
    command.current_dir(folder.path()).env_clear().arg("--settings").arg(&pipe);
    let mut child = Starting(command.stdout(Stdio::piped()).spawn().unwrap());
    let out = child.0.stdout.take().unwrap();
    // Opens when the server does.
    let open = move || std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    let mut settings = in_time("the server's look at its settings", open);
    let pid = child.0.id().to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    settings.write_all(b"[server]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    drop(settings);
    // The signal is as good as a later one, but a pipe has no settings a second time.
    let refused = in_time("the signal's reload", || {
        BufReader::new(out).lines().map_while(Result::ok).find(|line| line.contains(REFUSED))
    });
    let refused = refused.expect("a server that goes on");
    assert!(refused.contains("pipe.toml is a pipe"), "{refused}");
    assert!(child.0.try_wait().unwrap().is_none(), "it ended");
}
