//! What happens to webhooks while something else does.

use std::cell::{Cell, RefCell};

use sqlx::Executor as _;

use super::*;

const GONE: &str = "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn all_is_delivered_that_is_uploaded_once_a_webhook_is_made_or_enabled() {
    for app in both().await {
        let receiver = Upstream::answering(NO_CONTENT).await;
        // Odd while the webhook is there and enabled, as its owner knows.
        let (phase, ended, wanted) =
            (Cell::new(0), Cell::new(false), RefCell::new(BTreeSet::new()));
        let uploads = async {
            for number in 0.. {
                let (begun, name) = (phase.get(), format!("{number}.gif"));
                upload(&app, "acme", &name).await;
                if begun % 2 == 1 && begun == phase.get() {
                    wanted.borrow_mut().insert(name);
                }
                if ended.get() {
                    break;
                }
            }
        };
        let owners = async {
            // What was known is long known by then.
            tokio::time::sleep(Duration::from_secs(1)).await;
            for number in 0..60 {
                let (tenant, name) = (format!("tenant-{number}"), format!("of-{number}.gif"));
                let body = json!({ "url": receiver.url("/") }).to_string();
                let request = Request::new("POST", HOOKS).tenant(&tenant).body(body);
                let made = request.header("Content-Type", "application/json").send(app.addr).await;
                assert_eq!(made.status, 201, "{}", made.text());
                upload(&app, &tenant, &name).await;
                wanted.borrow_mut().insert(name);
            }
            let hook = Hook::at(&app, &receiver.url("/")).await;
            for _ in 0..3 {
                phase.set(phase.get() + 1);
                tokio::time::sleep(Duration::from_millis(300)).await;
                phase.set(phase.get() + 1);
                // What waits when it is disabled is given up.
                let wanted = wanted.borrow().clone();
                all_came(&receiver, &wanted).await;
                done(&app, "PATCH", &hook.path(""), Some(&json!({ "disabled": true }))).await;
                // Till that is known, too.
                tokio::time::sleep(Duration::from_millis(2300)).await;
                done(&app, "PATCH", &hook.path(""), Some(&json!({ "disabled": false }))).await;
            }
            phase.set(phase.get() + 1);
            tokio::time::sleep(Duration::from_millis(300)).await;
            ended.set(true);
        };
        tokio::join!(uploads, owners);
        let wanted = wanted.into_inner();
        assert!(wanted.len() > 70, "{}", wanted.len());
        all_came(&receiver, &wanted).await;
    }
}

/// Waits until the receiver has been told of all files of these names.
async fn all_came(receiver: &Upstream, names: &BTreeSet<String>) {
    let until = Instant::now() + SOON;
    loop {
        let name = |request| told(request)["data"]["fileName"].as_str().unwrap().to_owned();
        let came: BTreeSet<_> = receiver.requests().iter().map(name).collect();
        let missing: Vec<_> = names.difference(&came).collect();
        if missing.is_empty() {
            break;
        }
        assert!(Instant::now() < until, "{missing:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn who_is_gone_does_not_disable_what_is_elsewhere_by_now() {
    for app in both().await {
        let (old, now) = Upstream::switched("").await;
        let new = Upstream::answering(NO_CONTENT).await;
        let hook = Hook::at(&app, &old.url("/")).await;
        done(&app, "POST", &hook.path("/test"), None).await;
        old.received(1).await;
        done(&app, "PATCH", &hook.path(""), Some(&json!({ "url": new.url("/") }))).await;
        now.send_replace(GONE);
        hook.all_are(&app, 1, "failed").await;
        assert_eq!(hook.shown(&app).await["disabled"], false);
        done(&app, "POST", &hook.path("/test"), None).await;
        new.received(1).await;
    }
}

#[tokio::test]
async fn a_delivery_ends_whose_webhook_is_being_deleted() {
    let app = builder().postgres().await.start().await;
    let (receiver, now) = Upstream::switched("").await;
    let hook = Hook::at(&app, &receiver.url("/")).await;
    done(&app, "POST", &hook.path("/test"), None).await;
    receiver.received(1).await;
    let mut deleting = database(&app).await;
    deleting.execute("BEGIN; DELETE FROM webhooks").await.unwrap();
    now.send_replace(NO_CONTENT);
    const WAITING: &str = "\
        SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND wait_event_type = 'Lock'";
    let until = Instant::now() + SOON;
    while number(&app, WAITING).await == 0 {
        assert!(Instant::now() < until, "nothing waits\n{}", app.log_text());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    deleting.execute("COMMIT").await.unwrap();
    while number(&app, "SELECT COUNT(*) FROM jobs WHERE queue = 'webhooks'").await > 0 {
        assert!(Instant::now() < until, "{}", app.log_text());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!app.log_text().contains("refused"), "{}", app.log_text());
}
