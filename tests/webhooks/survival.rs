//! A receiver that is down, and a server that is killed meanwhile: every event arrives all the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::signing::assert_verified;
use super::*;
use crate::harness::scripts::Script;

#[tokio::test]
async fn every_event_of_a_thousand_uploads_arrives_after_a_kill_on_sqlite() {
    survive(builder(), 1000).await;
}

#[tokio::test]
async fn every_event_of_uploads_arrives_after_a_kill_on_postgres() {
    survive(builder().postgres().await, 200).await;
}

async fn survive(builder: Builder, count: usize) {
    let mut app = builder.start().await;
    let (is_up, taken) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Vec<_>>>::default());
    let of_all = (Arc::clone(&is_up), Arc::clone(&taken));
    let receiver = Upstream::scripted(move |mut peer| {
        let (is_up, taken) = of_all.clone();
        async move {
            while let Some(request) = peer.request().await {
                if is_up.load(Ordering::SeqCst) {
                    taken.lock().unwrap().push(request);
                    peer.send(NO_CONTENT).await;
                } else {
                    peer.send("HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n").await;
                }
            }
        }
    })
    .await;
    let hook = Hook::at(&app, &receiver.url("/")).await;
    let mut uploaded = 0;
    for half in 0..2 {
        let (first, last) = (half * count / 2, (half + 1) * count / 2);
        let all: Vec<_> = (first..last).collect();
        for some in all.chunks(25) {
            let answers = some.iter().map(|number| {
                let path = format!("{UPLOAD}/42/{number}.gif");
                let request = Request::put(&path).tenant("acme").body(gif(3, 2, 100));
                let addr = app.addr;
                async move { request.try_send(addr).await.is_ok_and(|answer| answer.status == 201) }
            });
            // The last of the first half are cut by the kill.
            let answers = futures_util::future::join_all(answers);
            if half == 0 && some.contains(&(last - 1)) {
                let cut = tokio::time::timeout(Duration::from_millis(15), answers).await;
                uploaded += cut.map_or(0, |answers| answers.iter().filter(|ok| **ok).count());
            } else {
                let answers = answers.await;
                assert!(answers.iter().all(|ok| *ok), "{}", app.log_text());
                uploaded += answers.len();
            }
        }
        if half == 0 {
            app.kill();
            app.start().await;
        }
    }
    is_up.store(true, Ordering::SeqCst);
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        // What arrived first: an upload that the kill cut may be settled, and be an event, at any time.
        let arrived = events(&taken.lock().unwrap());
        let all = streamed(&app).await;
        assert!(arrived.is_subset(&all), "what is no event came: {:?}", arrived.difference(&all));
        if all.len() >= uploaded && arrived == all {
            break;
        }
        assert!(Instant::now() < until, "{} of {} arrived", arrived.len(), all.len().max(uploaded));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut verifiers = Script::verifiers();
    for request in taken.lock().unwrap().iter() {
        assert_verified(&mut verifiers, request, &hook.secret);
    }
}

/// The events that there are.
async fn streamed(app: &App) -> BTreeSet<String> {
    let rows = sqlx::query_scalar::<_, String>("SELECT event FROM events WHERE tenant = 'acme'");
    rows.fetch_all(&mut database(app).await).await.unwrap().into_iter().collect()
}
