//! Variants: colours, sizes, orientations and transparency, from each format to each.

mod hostile;
mod memory;
mod origins;

use super::raster::{Layout, Raster};
use super::samples::*;
use super::*;

pub(super) fn spec(width: impl Into<Option<u32>>, height: impl Into<Option<u32>>) -> Spec {
    let (width, height) = (width.into(), height.into());
    Spec { width, height, fit: Fit::Contain, format: Format::Png, quality: 90 }
}

/// An image's pixels as a variant of its own size.
pub(super) fn pixels(bytes: &[u8]) -> Raster {
    let all = |_, _, _| 1.0;
    let decoded = super::decode::decode(bytes, &all, &LIMITS).unwrap();
    super::color::to_srgb(decoded.raster, decoded.icc.as_deref())
}

/// The colour in the middle of a part, given in 16ths of the sides.
pub(super) fn at(raster: &Raster, x: u32, y: u32) -> Vec<u8> {
    let (x, y) = (raster.width * x / 16, raster.height * y / 16);
    let channels = raster.layout.channels();
    let start = (y * raster.width + x) as usize * channels;
    raster.pixels[start..start + channels].to_vec()
}

pub(super) fn near(color: &[u8], wanted: [u8; 3]) -> bool {
    color.iter().zip(wanted).all(|(&is, wanted)| is.abs_diff(wanted) <= 12)
}

pub(super) fn assert_quarters(raster: &Raster, what: &str) {
    for (x, y, color) in [(4, 4, RED), (12, 4, GREEN), (4, 12, BLUE), (12, 12, WHITE)] {
        let is = at(raster, x, y);
        assert!(near(&is, color), "{what}: {is:?} at {x}, {y} is not {color:?}");
    }
}

#[test]
fn every_format_comes_out_as_every_format() {
    let picture = quarters(400, 300);
    let inputs = [
        ("jpeg", jpeg(&picture)),
        ("png", png(&picture)),
        ("gif", gif(&picture, 2)),
        ("webp", webp(&picture, false)),
        ("lossless webp", webp(&picture, true)),
    ];
    for (name, bytes) in inputs {
        for (format, content_type) in
            [(Format::Webp, "image/webp"), (Format::Jpeg, "image/jpeg"), (Format::Png, "image/png")]
        {
            for (width, wanted) in [(400, (400, 300)), (160, (160, 120)), (32, (32, 24))] {
                let spec = Spec { format, ..spec(width, None) };
                let rendered = render(&bytes, &spec, &LIMITS).unwrap();
                let what = format!("{name} as {content_type}, {width} wide");
                assert_eq!((rendered.width, rendered.height), wanted, "{what}");
                assert_eq!(rendered.content_type, content_type);
                let shown = pixels(&rendered.bytes);
                assert_eq!((shown.width, shown.height), wanted, "{what}");
                assert_quarters(&shown, &what);
            }
        }
    }
}

#[test]
fn sizes_are_those_of_the_fit() {
    let size = |fit, width: Option<u32>, height: Option<u32>| {
        let target = Spec { fit, ..spec(width, height) }.target(400, 300);
        (target.width, target.height)
    };
    for fit in [Fit::Contain, Fit::Cover, Fit::Fill] {
        assert_eq!(size(fit, None, None), (400, 300));
        assert_eq!(size(fit, Some(200), None), (200, 150));
        assert_eq!(size(fit, None, Some(100)), (133, 100));
        assert_eq!(size(fit, Some(800), None), (400, 300), "never enlarged");
        assert_eq!(size(fit, Some(1), None), (1, 1));
    }
    assert_eq!(size(Fit::Contain, Some(100), Some(100)), (100, 75));
    assert_eq!(size(Fit::Contain, Some(1000), Some(1000)), (400, 300));
    assert_eq!(size(Fit::Contain, Some(0), Some(0)), (1, 1));
    assert_eq!(size(Fit::Cover, Some(100), Some(100)), (100, 100));
    assert_eq!(size(Fit::Cover, Some(1000), Some(10)), (1000, 10));
    assert_eq!(size(Fit::Fill, Some(77), Some(1000)), (77, 1000));
}

#[test]
fn cover_takes_the_middle_and_fill_takes_all() {
    // Red to the left, green in the middle, blue to the right.
    let stripes = picture(300, 100, |x, _| [RED, GREEN, BLUE][x as usize / 100]);
    for bytes in [jpeg(&stripes), png(&stripes), webp(&stripes, false)] {
        let square = Spec { fit: Fit::Cover, ..spec(50, 50) };
        let shown = pixels(&render(&bytes, &square, &LIMITS).unwrap().bytes);
        assert_eq!((shown.width, shown.height), (50, 50));
        assert!([1, 8, 14].iter().all(|&x| near(&at(&shown, x, 8), GREEN)));
        let square = Spec { fit: Fit::Fill, ..spec(50, 50) };
        let shown = pixels(&render(&bytes, &square, &LIMITS).unwrap().bytes);
        for (x, color) in [(2, RED), (8, GREEN), (14, BLUE)] {
            assert!(near(&at(&shown, x, 8), color));
        }
    }
}

#[test]
fn the_orientation_is_applied() {
    let upright = quarters(80, 40);
    for value in 1..=8 {
        let lying = lying(&upright, value);
        let tiff = orientation(value);
        let inputs = [
            with_segments(&jpeg(&lying), &[(0xe1, &app1(&tiff))]),
            with_chunks(&png(&lying), &[(b"eXIf", &tiff)]),
            extended_webp(
                lying.width,
                lying.height,
                8,
                &[bitstream(&webp(&lying, false)), riff(b"EXIF", &tiff)],
            ),
        ];
        for bytes in inputs {
            let picture = decode(&bytes, &[spec(40, None)], &LIMITS).unwrap();
            assert_eq!((picture.width(), picture.height()), (80, 40));
            for wanted in [spec(None, None), spec(40, None), spec(None, 10)] {
                let rendered = picture.render(&wanted).unwrap();
                assert_eq!(rendered.width, 2 * rendered.height, "{value}");
                assert_quarters(&pixels(&rendered.bytes), &format!("orientation {value}"));
            }
        }
    }
}

/// What an upright picture is stored as where its orientation is told by that value.
fn lying(upright: &Raster, value: u8) -> Raster {
    // Turning back: only the quarter turns are not their own opposite.
    let opposite = match value {
        6 => 8,
        8 => 6,
        other => other,
    };
    super::orientation::Orientation::from_tag(opposite.into()).apply(upright.clone())
}

#[test]
fn a_quarter_turn_is_clockwise() {
    // By the standard's own words: value 6, the 0th row is the right side when upright.
    let stored = quarters(40, 20);
    let bytes = with_segments(&jpeg(&stored), &[(0xe1, &app1(&orientation(6)))]);
    let shown = pixels(&render(&bytes, &spec(None, None), &LIMITS).unwrap().bytes);
    assert_eq!((shown.width, shown.height), (20, 40));
    for (x, y, color) in [(12, 4, RED), (12, 12, GREEN), (4, 4, BLUE), (4, 12, WHITE)] {
        assert!(near(&at(&shown, x, y), color), "{x}, {y}");
    }
}

#[test]
fn transparency_is_kept_or_white() {
    // Opaque to the left; to the right transparent, with a colour that must not shine through.
    let picture = with_alpha(&picture(64, 64, |x, _| if x < 32 { BLUE } else { RED }), |x, _| {
        if x < 32 { 255 } else { 0 }
    });
    for bytes in [png(&picture), webp(&picture, false), webp(&picture, true)] {
        for side in [64, 16, 4] {
            for format in [Format::Webp, Format::Png] {
                let spec = Spec { format, ..spec(side, None) };
                let shown = pixels(&render(&bytes, &spec, &LIMITS).unwrap().bytes);
                assert_eq!(shown.layout, Layout::Rgba);
                let (left, right) = (at(&shown, 4, 8), at(&shown, 12, 8));
                assert!(near(&left, BLUE) && left[3] > 235, "{left:?}");
                assert!(right[3] < 20, "{right:?}");
            }
            let spec = Spec { format: Format::Jpeg, ..spec(side, None) };
            let shown = pixels(&render(&bytes, &spec, &LIMITS).unwrap().bytes);
            assert!(near(&at(&shown, 3, 8), BLUE));
            assert!(near(&at(&shown, 12, 8), [255; 3]));
        }
    }
}

#[test]
fn several_variants_and_a_look_share_one_decode() {
    let bytes = jpeg(&quarters(1600, 1200));
    let wanted = [spec(200, None), spec(100, None), Spec { fit: Fit::Cover, ..spec(64, 64) }];
    let picture = decode(&bytes, &wanted, &LIMITS).unwrap();
    for (spec, size) in wanted.iter().zip([(200, 150), (100, 75), (64, 64)]) {
        let rendered = picture.render(spec).unwrap();
        assert_eq!((rendered.width, rendered.height), size);
        assert_quarters(&pixels(&rendered.bytes), "one of several");
    }
    assert_eq!(picture.look().unwrap().thumb_hash, look(&bytes, &LIMITS).unwrap().thumb_hash);
    // A larger one than was asked for has its size all the same.
    let larger = picture.render(&spec(800, None)).unwrap();
    assert_eq!((larger.width, larger.height), (800, 600));
}

#[test]
fn a_look_tells_shape_and_commonest_colour() {
    let mostly_green = picture(300, 200, |x, _| if x < 200 { GREEN } else { RED });
    for bytes in [jpeg(&mostly_green), png(&mostly_green), webp(&mostly_green, true)] {
        let look = look(&bytes, &LIMITS).unwrap();
        assert!(near(&look.dominant, GREEN), "{:?}", look.dominant);
        let ratio = thumbhash::thumb_hash_to_approximate_aspect_ratio(&look.thumb_hash).unwrap();
        assert!((1.3..1.8).contains(&ratio), "{ratio}");
        let (width, _, rgba) = thumbhash::thumb_hash_to_rgba(&look.thumb_hash).unwrap();
        let left = &rgba[width * 40..][..3];
        assert!(left[1] > left[0], "{left:?}");
    }
    let nothing = with_alpha(&picture(10, 10, |_, _| RED), |_, _| 0);
    assert_eq!(look(&png(&nothing), &LIMITS).unwrap().dominant, [255; 3]);
}

#[test]
fn variants_have_no_metadata() {
    let tiff = tiff(false, [&[(271, 2, 6, b"Secret")], &[], &[]]);
    let bytes = with_segments(
        &jpeg(&quarters(64, 64)),
        &[(0xe1, &app1(&tiff)), (0xfe, b"Secret"), (0xed, b"Photoshop 3.0\0Secret")],
    );
    for format in [Format::Webp, Format::Jpeg, Format::Png] {
        let bytes = render(&bytes, &Spec { format, ..spec(32, 32) }, &LIMITS).unwrap().bytes;
        assert!(!bytes.windows(6).any(|window| window == b"Secret"));
        assert!(strip_metadata(&bytes).unwrap().is_none(), "{format:?}");
    }
}

#[test]
fn a_size_that_a_format_does_not_have_is_refused() {
    let bytes = png(&quarters(20_000, 4));
    let webp = Spec { format: Format::Webp, ..spec(None, None) };
    assert!(matches!(render(&bytes, &webp, &LIMITS), Err(Error::NoSuchSize { .. })));
    assert!(render(&bytes, &Spec { width: Some(16_000), ..webp }, &LIMITS).is_ok());
    let huge = Spec { fit: Fit::Fill, ..spec(u32::MAX, u32::MAX) };
    assert!(matches!(render(&bytes, &huge, &LIMITS), Err(Error::TooManyPixels { .. })));
}

#[test]
fn quality_is_the_encoders() {
    let bytes = png(&photo(400, 400));
    for format in [Format::Webp, Format::Jpeg] {
        let size = |quality| {
            render(&bytes, &Spec { format, quality, ..spec(None, None) }, &LIMITS)
                .unwrap()
                .bytes
                .len()
        };
        assert!(size(20) * 2 < size(80), "{format:?}");
    }
}
