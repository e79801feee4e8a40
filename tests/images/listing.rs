//! Listings: filters, pages, cursors, and what changes meanwhile.

use std::collections::HashSet;

use futures_util::{StreamExt, stream};
use serde_json::Value;

use super::{ask, both, json, put, record, upload, uploaded};
use crate::harness::App;
use crate::harness::images::png;
use crate::harness::problem::assert_problem;

#[tokio::test]
async fn a_listing_is_newest_first_and_filtered() {
    for app in both().await {
        let mut ids = Vec::new();
        for (customer, name) in [("1", "a"), ("1", "b"), ("2", "a"), ("1", "c+d%20e")] {
            ids.push(upload(&app, customer, name, &png(1, 1, 10)).await["id"].clone());
        }
        // A replaced image keeps its place.
        upload(&app, "1", "a", &png(2, 1, 10)).await;
        ids.reverse();
        let list = async |query: &str| {
            let page = json(&app, &ask("GET", query)).await;
            assert_eq!(page["nextCursor"], Value::Null, "{query}");
            page["images"].as_array().unwrap().clone()
        };
        let ids_of = |images: &[Value]| images.iter().map(|i| i["id"].clone()).collect::<Vec<_>>();
        let all = list("").await;
        assert_eq!(ids_of(&all), ids);
        for image in &all {
            assert_eq!(*image, json(&app, &ask("GET", &record(image))).await);
        }
        assert_eq!(all[3]["version"], 2);
        assert_eq!(
            ids_of(&list("?customerId=1").await),
            [&ids[0], &ids[2], &ids[3]].map(Clone::clone)
        );
        assert_eq!(ids_of(&list("?customerId=3").await), Vec::<Value>::new());
        let named = list("?storedName=acme/customer/1/c%2Bd%20e&limit=1").await;
        assert_eq!(ids_of(&named), [ids[0].clone()]);
        assert_eq!(named[0]["storedName"], "acme/customer/1/c+d e");
        assert_eq!(
            list("?storedName=acme%2fcustomer%2F1%2Fa&customerId=2").await,
            [] as [Value; 0]
        );
        assert_eq!(list("?storedName=acme/customer/1/none").await, [] as [Value; 0]);
    }
}

#[tokio::test]
async fn pages_follow_one_another() {
    let app = App::local().await;
    for i in 0..23 {
        upload(&app, if i % 2 == 0 { "1" } else { "2" }, &format!("{i}.png"), &png(1, 1, 10)).await;
    }
    let ids = |images: &[Value]| images.iter().map(|i| i["id"].clone()).collect::<Vec<_>>();
    let all = pages(&app, "limit=200").await;
    assert_eq!(all.len(), 1);
    let all = ids(&all[0]);
    assert_eq!(all.len(), 23);
    for limit in [1, 2, 7, 22, 23, 24] {
        let pages = pages(&app, &format!("limit={limit}")).await;
        assert_eq!(pages.len(), 23_usize.div_ceil(limit), "{limit}");
        assert_eq!(ids(&pages.concat()), all, "{limit}");
    }
    let of_one: Vec<_> = pages(&app, "customerId=1&limit=5").await.concat();
    assert_eq!(of_one.len(), 12);
    assert!(of_one.iter().all(|image| image["customerId"] == "1"));
}

#[tokio::test]
async fn a_wrong_query_says_what_is_wrong() {
    let app = App::local().await;
    for (query, name) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("limit=5&limit=6", "limit"),
        ("cursor=abc", "cursor"),
        ("cursor=", "cursor"),
        ("customerId=..%2f", "customerId"),
        ("customerId=", "customerId"),
        ("storedName=%FF", "storedName"),
        ("offset=5", "offset"),
    ] {
        let refused = ask("GET", &format!("?{query}")).send(app.addr).await;
        assert_problem(&refused, "query-invalid");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&format!("'{name}'")), "{query}: {detail}");
    }
}

#[tokio::test]
async fn a_listing_is_complete_while_images_come_and_go() {
    const STAYING: usize = 120;
    const COMING: usize = 1000;
    let app = App::local().await;
    let image = png(1, 1, 10);
    // Those that stay stand between those that come and go.
    let staying: HashSet<String> = stream::iter(0..STAYING)
        .map(async |i| {
            let told = uploaded(&put("1", &format!("stays-{i}"), &image).send(app.addr).await);
            uploaded(&put("1", &format!("goes-{i}"), &image).send(app.addr).await);
            told["id"].as_str().unwrap().to_owned()
        })
        .buffer_unordered(8)
        .collect()
        .await;
    let churn = stream::iter(0..COMING).for_each_concurrent(8, async |i| {
        let name = format!("goes-{}", i % (2 * STAYING));
        let told = uploaded(&put("1", &name, &image).send(app.addr).await);
        if i % 3 != 0 {
            // Another may have been faster.
            let gone = ask("DELETE", &record(&told)).send(app.addr).await.status;
            assert!(gone == 204 || gone == 404, "{gone}");
        }
    });
    let listing = async {
        for round in 0.. {
            let images = pages(&app, &format!("limit={}", 7 + round % 40)).await.concat();
            let key = |image: &Value| {
                let text = |name: &str| image[name].as_str().unwrap().to_owned();
                (text("createdAt"), text("id"))
            };
            assert!(images.is_sorted_by(|a, b| key(a) > key(b)), "out of order");
            let seen: HashSet<_> = images.iter().map(|image| key(image).1).collect();
            let missing: Vec<_> = staying.difference(&seen).collect();
            assert!(missing.is_empty(), "round {round} misses {missing:?}");
        }
    };
    tokio::select! {
        () = churn => {}
        () = listing => unreachable!("it goes on"),
    }
}

/// All pages of a listing.
async fn pages(app: &App, query: &str) -> Vec<Vec<Value>> {
    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = json(app, &ask("GET", &format!("?{query}{cursor}"))).await;
        pages.push(page["images"].as_array().unwrap().clone());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return pages,
        }
    }
}
