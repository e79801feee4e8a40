//! The description of the API: that it is one, that it is whole, that it can be read, and that the server
//! does what it says.

mod document;
mod fuzzing;
mod page;
mod routes;

use serde_json::Value;

use crate::harness::App;
use crate::harness::http::Request;

/// What the gateway's paths begin with.
const GATEWAY: &str = "/consumer-api/service";

/// The description that a server's gateway has.
async fn described(app: &App) -> Value {
    let answer = Request::get("/openapi.json").send(app.addr).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The path of remote services, of which nothing else is known.
fn is_relayed(path: &str) -> bool {
    path.contains("{service}")
}

/// All operations of a description: path, method in capitals, and the operation.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            found.push((path.clone(), method.to_uppercase(), operation.clone()));
        }
    }
    assert!(found.len() > 40, "{} operations", found.len());
    found
}
