//! What is made of images after their upload.

pub mod calls;
mod ends;
mod formats;
mod gates;
mod making;
mod settings;
mod stripping;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::App;
use crate::harness::builder::Builder;
use crate::harness::http::{Request, Response};
use crate::harness::upload::UPLOAD;

const IMAGES: &str = "/consumer-api/service/consumers/customer-images/images";

/// With four steps: two variants, a placeholder, and what the camera wrote.
const STEPS: &str = "\
[consumers.steps.thumb]\nkind = \"variant\"\nwidth = 320\n\
[consumers.steps.avatar]\nkind = \"variant\"\nwidth = 64\nheight = 64\nfit = \"cover\"\nformat = \"jpeg\"\nquality = 70\n\
[consumers.steps.look]\nkind = \"placeholder\"\n\
[consumers.steps.camera]\nkind = \"exif\"\n";

/// A server with these steps, on each store.
async fn both() -> [App; 2] {
    let with = |builder: Builder| builder.file(STEPS).start();
    [with(App::builder()).await, with(App::builder().minio().await).await]
}

/// A picture of this size whose pixels can be decoded: red on the left, `shade` on the right.
pub fn picture(width: u32, height: u32, shade: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().expect("a header");
    let row = (0..width).flat_map(|x| if x < width / 2 { [255, 0, 0] } else { [shade; 3] });
    let row: Vec<u8> = row.collect();
    writer.write_image_data(&row.repeat(height as usize)).expect("pixels");
    writer.finish().expect("an end");
    bytes
}

/// Stores an image of customer 42; its id.
async fn upload(app: &App, name: &str, image: &[u8]) -> String {
    let request = Request::put(&format!("{UPLOAD}/42/{name}")).tenant("acme").body(image);
    let response = request.send(app.addr).await;
    assert_eq!(response.status, 201, "{}\n{}", response.text(), app.log_text());
    response.json()["id"].as_str().expect("an id").to_owned()
}

async fn record(app: &App, id: &str) -> Value {
    let response = Request::get(&format!("{IMAGES}/{id}")).tenant("acme").send(app.addr).await;
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

/// What the record tells of the steps, once all of them have run.
async fn processed(app: &App, id: &str) -> Value {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let processing = record(app, id).await["processing"].clone();
        let steps = processing.as_object().expect("steps");
        if steps.values().all(|step| step["state"] == "done" || step["state"] == "failed") {
            return processing;
        }
        assert!(Instant::now() < until, "{processing}\n{}", app.log_text());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the record tells of what has come of the steps.
async fn results(app: &App, id: &str) -> Value {
    record(app, id).await["results"].clone()
}

/// What is there of this variant.
async fn variant(app: &App, id: &str, name: &str) -> Response {
    let path = format!("{IMAGES}/{id}/content?variant={name}");
    Request::get(&path).tenant("acme").send(app.addr).await
}

/// The file whose removal lets a step go on, once `GATEHOUSE_FAULT` holds one by a file of the name `held`.
pub async fn held(app: &App) -> PathBuf {
    let held = app.folder().join("held");
    let until = Instant::now() + Duration::from_secs(20);
    while !held.exists() {
        assert!(Instant::now() < until, "{}", app.log_text());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    held
}

/// What there is in the store beside images.
async fn made(app: &App) -> Vec<String> {
    let keys = app.keys().await;
    keys.into_iter().filter(|key| key.starts_with("_variants/")).collect()
}
