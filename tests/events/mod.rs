//! A tenant's events: every change has its own, and a stream tells them as they come.

mod following;
pub mod stream;

use std::time::Duration;

use serde_json::Value;

use crate::harness::App;
use crate::harness::http::{Request, Response};
use crate::harness::upload::UPLOAD;
pub use stream::{Stream, Told};

const EVENTS: &str = "/consumer-api/service/consumers/customer-images/events";
const IMAGES: &str = "/consumer-api/service/consumers/customer-images/images";

/// Well above what an event takes on its way, and below the time at which streams look by themselves.
const SOON: Duration = Duration::from_secs(10);

/// Stores an image of customer 42; its record.
async fn upload(app: &App, tenant: &str, name: &str, image: &[u8]) -> Value {
    app.tried(&format!("{tenant}/customer/42/{name}"));
    let request = Request::put(&format!("{UPLOAD}/42/{name}")).tenant(tenant).body(image);
    let response = request.send(app.addr).await;
    assert_eq!(response.status, 201, "{}\n{}", response.text(), app.log_text());
    response.json()
}

pub async fn delete(app: &App, tenant: &str, id: &Value) -> Response {
    let path = format!("{IMAGES}/{}", id.as_str().expect("an id"));
    Request::new("DELETE", &path).tenant(tenant).send(app.addr).await
}
