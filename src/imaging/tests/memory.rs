//! What a decode takes, as the kernel counts it: each in a process of its own, which reads the
//! bytes from a file and looks at its peak (`VmHWM`) above what it had before.

use std::{env, fs, process::Command};

use turbojpeg::Subsamp;

use super::*;

const FILE: &str = "GATEHOUSE_IMAGING_FILE";
const MEMORY: &str = "GATEHOUSE_IMAGING_MEMORY";

/// What the allocator and the libraries' tables take, whatever the image.
const SLACK: u64 = 2 << 20;

fn limits(memory: u64) -> Limits {
    Limits { max_pixels: u64::MAX, memory, time: std::time::Duration::from_secs(60) }
}

fn wanted() -> Spec {
    Spec { format: Format::Webp, ..spec(320, None) }
}

/// The least memory that lets the image be rendered, by the module's own estimates.
fn needed(bytes: &[u8]) -> u64 {
    let mut memory = 0;
    loop {
        match render(bytes, &wanted(), &limits(memory)) {
            Err(Error::TooMuchMemory { needed, .. }) if needed > memory => memory = needed,
            result => {
                result.unwrap();
                return memory;
            }
        }
    }
}

/// What rendering takes in a process of its own, with as much memory as it may have.
fn taken(bytes: &[u8], memory: u64) -> u64 {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "imaging::tests::memory::in_a_process_of_its_own",
            "--ignored",
            "--nocapture",
        ])
        .env(FILE, file.path())
        .env(MEMORY, memory.to_string())
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    let taken = printed.split("taken: ").nth(1).and_then(|rest| rest.split_whitespace().next());
    taken.unwrap_or_else(|| panic!("{printed}")).parse().unwrap()
}

fn status(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
#[ignore = "run by the tests below, in a process of its own"]
fn in_a_process_of_its_own() {
    let bytes = fs::read(env::var(FILE).unwrap()).unwrap();
    let limits = limits(env::var(MEMORY).unwrap().parse().unwrap());
    // The code is in memory before, and not counted.
    for (_, bytes) in super::hostile::CORPUS.iter() {
        render(bytes, &wanted(), &LIMITS).unwrap();
    }
    // The peak is that of now again.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS:");
    render(&bytes, &wanted(), &limits).unwrap();
    eprintln!("taken: {} ", status("VmHWM:").saturating_sub(before));
}

#[test]
fn no_image_takes_more_than_it_is_said_to() {
    let large = photo(1200, 900);
    let transparent = with_alpha(&large, |x, _| x as u8);
    let full = Jpeg { progressive: true, subsampling: Subsamp::None, ..Default::default() };
    let progressive = Jpeg { progressive: true, ..Default::default() };
    let inputs = [
        ("jpeg", jpeg(&large)),
        ("progressive", jpeg_as(&large, progressive)),
        ("progressive 4:4:4", jpeg_as(&large, full)),
        ("cmyk", jpeg(&cmyk(&large))),
        ("flat jpeg", jpeg(&quarters(60_000, 40))),
        ("png", png(&large)),
        ("transparent png", png(&transparent)),
        ("flat png", png(&quarters(200_000, 10))),
        ("gif", gif(&large, 1)),
        ("webp", webp(&large, false)),
        ("transparent webp", webp(&transparent, false)),
        ("lossless", webp(&large, true)),
        ("transparent lossless", webp(&transparent, true)),
    ];
    for (name, bytes) in inputs {
        let needed = needed(&bytes);
        let taken = taken(&bytes, needed);
        assert!(taken <= needed + SLACK, "{name} took {taken}, said to be {needed}");
        // An estimate that is far too high refuses what could be had.
        assert!(needed <= 3 * taken + (16 << 20), "{name} took {taken}, said to be {needed}");
    }
}

/// What one 12-megapixel photograph may cost a worker.
#[test]
fn twelve_megapixels_take_less_than_100_mib() {
    let photo = photo(4000, 3000);
    for progressive in [false, true] {
        let bytes = jpeg_as(&photo, Jpeg { progressive, ..Default::default() });
        let taken = taken(&bytes, 100 << 20);
        assert!(taken <= 100 << 20, "progressive {progressive}: {taken}");
    }
}

#[test]
fn bombs_take_no_more_than_they_may() {
    let bomb = super::hostile::zeros(256 << 20);
    let iccp = [b"profile\0\0", &bomb[..]].concat();
    let bytes = with_chunks(&png(&quarters(64, 64)), &[(b"iCCP", &iccp)]);
    let memory = 16 << 20;
    let taken = taken(&bytes, memory);
    assert!(taken <= memory, "{taken}");
}
