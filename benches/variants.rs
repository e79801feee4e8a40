//! A photograph of 12 megapixels to its variant of 320 pixels, WebP at quality 80.
//!
//! Without arguments a criterion benchmark. `bench/variants.sh` calls it with arguments, beside
//! vipsthumbnail: `photograph FILE` writes one; `render FOLDER FILE...` makes the variants of
//! files and prints the peak of its memory.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for measuring: it prints, and ends where something is wrong"
)]

use std::{env, fs, hint::black_box, path::Path, time::Duration};

use criterion::{Criterion, criterion_group};
use gatehouse::imaging::{Fit, Format, Limits, Spec, decode, look, render};
use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

const LIMITS: Limits =
    Limits { max_pixels: 100_000_000, memory: 100 << 20, time: Duration::from_secs(10) };

fn spec(side: u32) -> Spec {
    Spec { width: Some(side), height: None, fit: Fit::Contain, format: Format::Webp, quality: 80 }
}

/// 4,000 × 3,000 pixels: soft shapes of several sizes, edges, and a sensor's noise; at quality
/// 87, 4:2:0, some 4 MB as cameras write.
fn photograph() -> Vec<u8> {
    let (width, height) = (4000_usize, 3000_usize);
    let mut pixels = Vec::with_capacity(width * height * 3);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for y in 0..height {
        for x in 0..width {
            let (fx, fy) = (x as f32 / 4000.0, y as f32 / 3000.0);
            let shapes = (fx * 9.0 + (fy * 5.0).sin()).sin() * 50.0
                + (fx * 70.0).sin() * (fy * 50.0 + fx * 8.0).cos() * 18.0
                + (fx * 600.0 + fy * 300.0).sin() * 7.0;
            let edge = if (x / 170 + y / 230) % 5 == 0 { 34.0 } else { 0.0 };
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let noise = (state & 0xff) as f32 / 255.0 + (state >> 8 & 0xff) as f32 / 255.0 - 1.0;
            for (channel, tint) in [(0.9, 20.0), (1.0, 0.0), (0.7, -15.0)] {
                let value = 118.0 + tint + channel * (shapes + edge) + noise * 13.0;
                pixels.push(value.clamp(0.0, 255.0) as u8);
            }
        }
    }
    let mut compressor = Compressor::new().unwrap();
    compressor.set_quality(87).unwrap();
    compressor.set_subsamp(Subsamp::Sub2x2).unwrap();
    let image =
        Image { pixels: &pixels[..], width, pitch: width * 3, height, format: PixelFormat::RGB };
    compressor.compress_to_vec(image).unwrap()
}

fn variants(criterion: &mut Criterion) {
    let bytes = photograph();
    let mut group = criterion.benchmark_group("variants of 12 megapixels");
    group.sample_size(20);
    group.bench_function("320 pixels", |b| {
        b.iter(|| render(black_box(&bytes), &spec(320), &LIMITS).unwrap());
    });
    group.bench_function("placeholder", |b| b.iter(|| look(black_box(&bytes), &LIMITS).unwrap()));
    group.bench_function("1280, 640, 320 and placeholder", |b| {
        let wanted = [spec(1280), spec(640), spec(320)];
        b.iter(|| {
            let picture = decode(black_box(&bytes), &wanted, &LIMITS).unwrap();
            let rendered: Vec<_> =
                wanted.iter().map(|spec| picture.render(spec).unwrap()).collect();
            (rendered, picture.look().unwrap())
        });
    });
    group.finish();
}

criterion_group!(benches, variants);

/// The most memory that this process has had, in KiB.
fn peak() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["photograph", file] => fs::write(file, photograph()).unwrap(),
        ["render", folder, ref files @ ..] => {
            for file in files {
                let rendered = render(&fs::read(file).unwrap(), &spec(320), &LIMITS).unwrap();
                let name = Path::new(file).file_stem().unwrap();
                let to = Path::new(folder).join(name).with_extension("webp");
                fs::write(to, rendered.bytes).unwrap();
            }
            println!("{}", peak());
        }
        _ => {
            benches();
            Criterion::default().configure_from_args().final_summary();
        }
    }
}
