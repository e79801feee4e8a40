//! The upload route as a client sees it, and the check of its answer against the contract.

use super::http::{Request, Response};
use super::multipart::Form;
use super::text::{assert_fresh_time, assert_fresh_uuid_v7, sha256};

/// Everything below this is the upload route.
pub const UPLOAD: &str = "/consumer-api/service/consumers/customer-images/upload";

/// The path of an upload; the customer as it stands on the wire.
pub fn path(customer: &str) -> String {
    format!("{UPLOAD}/{customer}")
}

/// curl's request of the main job: tenant `acme`, customer `42`.
pub fn main_job(name: &str, image: &[u8]) -> Request {
    post(&Form::new().file(name, image))
}

/// Posts a form as tenant `acme` for customer `42`.
pub fn post(form: &Form) -> Request {
    form.post(&path("42")).tenant("acme")
}

/// Puts raw bytes as tenant `acme` for customer `42`.
pub fn put(name: &str, image: &[u8]) -> Request {
    Request::put(&format!("{UPLOAD}/42/{name}")).tenant("acme").body(image)
}

/// What an upload's answer has to say.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    pub stored_name: &'a str,
    pub customer: &'a str,
    pub file_name: &'a str,
    pub content_type: &'a str,
    pub image: &'a [u8],
    pub width: u64,
    pub height: u64,
}

impl Expected<'_> {
    /// Fails unless the response is the 201 of the contract, member by member.
    #[track_caller]
    pub fn check(&self, response: &Response) {
        assert_eq!(response.status, 201, "{}", response.text());
        let kind = response.header("content-type").expect("content-type");
        assert_eq!(kind.split(';').next(), Some("application/json"));
        assert!(response.header("x-request-id").is_some_and(|id| !id.is_empty()));

        let body = response.json();
        let mut wanted = serde_json::json!({
            "message": "Image uploaded successfully",
            "storedName": self.stored_name,
            "customerId": self.customer,
            "fileName": self.file_name,
            "contentType": self.content_type,
            "size": self.image.len(),
            "sha256": sha256(self.image),
            "width": self.width,
            "height": self.height,
        });
        assert_fresh_uuid_v7(body["id"].as_str().expect("id"));
        assert_fresh_time(body["createdAt"].as_str().expect("createdAt"));
        wanted["id"] = body["id"].clone();
        wanted["createdAt"] = body["createdAt"].clone();
        assert_eq!(body, wanted);
    }
}

/// Fails unless an upload was answered 201; gives its `storedName`.
#[track_caller]
pub fn stored_name(response: &Response) -> String {
    assert_eq!(response.status, 201, "{}", response.text());
    response.json()["storedName"].as_str().expect("storedName").to_owned()
}
