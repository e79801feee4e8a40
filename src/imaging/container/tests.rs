//! What is stripped, what stays, and that the pixels are the same.

use super::super::raster::Raster;
use super::super::samples::*;
use super::super::{Exif, exif, strip_metadata};
use super::*;

fn stored(bytes: &[u8]) -> Raster {
    super::super::decode::decode(bytes, &|_, _, _| 1.0, &LIMITS).unwrap().raster
}

fn has(bytes: &[u8], what: &[u8]) -> bool {
    memchr::memmem::find(bytes, what).is_some()
}

/// Strips, and looks that the pixels are the same and that another time nothing is left to do.
fn strip(bytes: &[u8]) -> Vec<u8> {
    let stripped = strip_metadata(bytes).unwrap().expect("there is something to strip");
    assert_eq!(stored(&stripped), stored(bytes), "the pixels");
    assert_eq!(strip_metadata(&stripped).unwrap(), None, "a second time");
    assert!(!has(&stripped, b"Secret"));
    stripped
}

fn secret(orientation: u8) -> Vec<u8> {
    let fields: &[(u16, u16, u32, &[u8])] =
        &[(271, 2, 7, b"Secret\0"), (274, 3, 1, &[0, orientation])];
    tiff(false, [fields, &[], &[]])
}

#[test]
fn what_has_no_metadata_is_left_alone() {
    let picture = photo(40, 30);
    for bytes in [
        jpeg(&picture),
        jpeg_as(&picture, Jpeg { progressive: true, ..Default::default() }),
        jpeg(&cmyk(&picture)),
        png(&picture),
        gif(&picture, 3),
        webp(&picture, false),
        webp(&picture, true),
        webp(&with_alpha(&picture, |x, _| x as u8), false),
    ] {
        assert_eq!(strip_metadata(&bytes).unwrap(), None);
    }
}

#[test]
fn jpegs_keep_what_shows_the_pixels() {
    let icc = b"ICC_PROFILE\0\x01\x01 what is in it does not matter";
    let jfif = [&b"JFIF\0\x01\x02\x01\0\x48\0\x48\x01\x01"[..], b"Sec"].concat();
    let segments: &[(u8, &[u8])] = &[
        (0xe0, &jfif),
        (0xe0, b"JFXX\0\x10Secret"),
        (0xe1, &app1(&secret(1))),
        (0xe1, b"http://ns.adobe.com/xap/1.0/\0<Secret/>"),
        (0xe2, icc),
        (0xe2, b"MPF\0Secret"),
        (0xed, b"Photoshop 3.0\0Secret"),
        (0xec, b"Ducky Secret"),
        (0xfe, b"Secret"),
    ];
    for options in [Jpeg::default(), Jpeg { progressive: true, ..Default::default() }] {
        // Without the JFIF segment that the encoder wrote.
        let mut plain = jpeg_as(&photo(200, 100), options);
        plain.drain(2..20);
        let bytes = with_segments(&plain, segments);
        let kept: &[(u8, &[u8])] = &[(0xe0, b"JFIF\0\x01\x02\x01\0\x48\0\x48\0\0"), (0xe2, icc)];
        assert_eq!(strip(&bytes), with_segments(&plain, kept));
        // A picture behind it, with metadata of its own.
        let behind = [&plain[..], &bytes].concat();
        assert_eq!(strip(&behind), plain);
    }
    let adobe = jpeg(&cmyk(&photo(20, 20)));
    assert!(has(&strip(&with_segments(&adobe, &[(0xfe, b"Secret")])), b"Adobe"));
}

#[test]
fn segments_between_scans_go_too() {
    let plain = jpeg_as(&photo(64, 64), Jpeg { progressive: true, ..Default::default() });
    let last = plain.windows(2).rposition(|window| window == [0xff, 0xda]).unwrap();
    let comment = b"\xff\xfe\0\x08Secret";
    let bytes = [&plain[..last], comment, &plain[last..]].concat();
    assert_eq!(strip(&bytes), plain);
}

#[test]
fn an_orientation_stays_alone() {
    let picture = photo(40, 30);
    let lossy = bitstream(&webp(&picture, false));
    for orientation in 0..=9 {
        let tiff = secret(orientation);
        let inputs = [
            with_segments(&jpeg(&picture), &[(0xe1, &app1(&tiff))]),
            with_chunks(&png(&picture), &[(b"eXIf", &tiff)]),
            extended_webp(40, 30, 8, &[lossy.clone(), riff(b"EXIF", &tiff)]),
            extended_webp(40, 30, 8, &[lossy.clone(), riff(b"EXIF", &app1(&tiff))]),
        ];
        for bytes in inputs {
            let stripped = strip(&bytes);
            let kept = Kind::of(&stripped).unwrap().exif(&stripped);
            let turned = (2..=8).contains(&orientation);
            let tag = kept.and_then(crate::imaging::exif::orientation_tag);
            assert_eq!(tag, turned.then_some(orientation.into()));
            assert_eq!(exif(&stripped), Exif::default());
        }
    }
}

#[test]
fn pngs_keep_what_shows_the_pixels() {
    let picture = with_alpha(&photo(40, 30), |x, _| x as u8);
    let plain = with_chunks(
        &png(&picture),
        &[(b"gAMA", &[0, 0, 0xb1, 0x8f]), (b"sRGB", &[0]), (b"pHYs", &[0; 9])],
    );
    let bytes = with_chunks(
        &plain,
        &[
            (b"tEXt", b"Comment\0Secret"),
            (b"zTXt", b"Comment\0\0Secret"),
            (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0Secret"),
            (b"tIME", b"\x07\xea\x01\x01\0\0\0"),
            (b"eXIf", &secret(1)),
            (b"prVt", b"Secret"),
        ],
    );
    assert_eq!(strip(&bytes), plain);
    assert_eq!(strip(&[&plain[..], b"Secret"].concat()), plain);
}

#[test]
fn webps_keep_what_shows_the_pixels() {
    let picture = photo(40, 30);
    let chunks = |more: &[Vec<u8>]| {
        let mut chunks = vec![riff(b"ICCP", b"profile"), bitstream(&webp(&picture, false))];
        chunks.extend_from_slice(more);
        chunks
    };
    let metadata = [riff(b"EXIF", &secret(1)), riff(b"XMP ", b"Secret"), riff(b"UNKN", b"Secret")];
    let bytes = extended_webp(40, 30, 0x2c, &chunks(&metadata));
    assert_eq!(strip(&bytes), extended_webp(40, 30, 0x20, &chunks(&[])));
    let mut frame = [0; 16];
    (frame[6], frame[9]) = (39, 29);
    let frame = riff(b"ANMF", &[&frame[..], &bitstream(&webp(&picture, true))].concat());
    let frames = [riff(b"ANIM", &[0; 6]), frame.clone(), frame];
    let bytes = extended_webp(40, 30, 0x06, &[&frames[..], &metadata[1..]].concat());
    assert_eq!(strip(&bytes), extended_webp(40, 30, 0x02, &frames));
}

#[test]
fn gifs_keep_what_shows_the_pixels() {
    let plain = gif(&quarters(20, 20), 3);
    let frame = plain.windows(2).position(|window| window == [0x21, 0xf9]).unwrap();
    let metadata = [
        &b"\x21\xfe\x06Secret\0"[..],
        b"\x21\xff\x0bXMP DataXMP\x06Secret\0",
        b"\x21\xff\x0bICCRGBG1012\x03abc\0",
    ];
    let bytes = [&plain[..frame], &metadata.concat(), &plain[frame..], b"Secret"].concat();
    let kept = [&plain[..frame], metadata[2], &plain[frame..]].concat();
    assert!(has(&kept, b"NETSCAPE2.0"));
    assert_eq!(strip(&bytes), kept);
}

#[test]
fn what_cannot_be_followed_to_its_end_is_broken() {
    let picture = photo(40, 30);
    for (bytes, least) in [
        (png(&picture), 1),
        (gif(&picture, 1), 1),
        (webp(&picture, false), 1),
        // A JPEG's pixels may end anywhere, its head may not.
        (jpeg(&picture), jpeg(&picture).len() - 300),
    ] {
        for cut in [12, 30, bytes.len() / 2, bytes.len() - 1] {
            let cut = cut.min(bytes.len() - least);
            assert!(strip_metadata(&bytes[..cut]).is_err(), "{cut} of {}", bytes.len());
        }
    }
}
