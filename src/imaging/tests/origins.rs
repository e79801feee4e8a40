//! The forms that each format's pixels come in.

use moxcms::ColorProfile;
use png::{BitDepth, ColorType};
use turbojpeg::{Colorspace, Subsamp};

use super::*;

fn assert_shown(bytes: &[u8], what: &str) {
    for width in [None, Some(16)] {
        let rendered = render(bytes, &spec(width, None), &LIMITS);
        let rendered = rendered.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_quarters(&pixels(&rendered.bytes), what);
    }
}

#[test]
fn jpegs_of_every_subsampling_progressive_or_not() {
    let picture = quarters(133, 77);
    for subsampling in [
        Subsamp::None,
        Subsamp::Sub2x1,
        Subsamp::Sub2x2,
        Subsamp::Sub1x2,
        Subsamp::Sub4x1,
        Subsamp::Sub1x4,
    ] {
        for progressive in [false, true] {
            let options = Jpeg { subsampling, progressive, ..Default::default() };
            assert_shown(&jpeg_as(&picture, options), &format!("{options:?}"));
        }
    }
    let rgb =
        Jpeg { colors: Some(Colorspace::RGB), subsampling: Subsamp::None, ..Default::default() };
    assert_shown(&jpeg_as(&picture, rgb), "RGB");
}

#[test]
fn grey_jpegs_and_pngs() {
    let picture = grey(&quarters(64, 64));
    for bytes in [jpeg(&picture), png(&picture)] {
        let shown = pixels(&render(&bytes, &spec(16, None), &LIMITS).unwrap().bytes);
        for (x, y, [_, green, _]) in [(4, 4, RED), (12, 4, GREEN), (4, 12, BLUE), (12, 12, WHITE)] {
            assert!(near(&at(&shown, x, y), [green; 3]));
        }
    }
}

/// An Adobe marker says that inks are inverted; without one they are not.
#[test]
fn cmyk_and_ycck_jpegs() {
    let picture = cmyk(&quarters(64, 64));
    for colors in [Colorspace::CMYK, Colorspace::YCCK] {
        let options =
            Jpeg { colors: Some(colors), subsampling: Subsamp::None, ..Default::default() };
        let bytes = jpeg_as(&picture, options);
        assert!(bytes.windows(5).any(|window| window == b"Adobe"), "the sample's marker");
        assert_shown(&bytes, "with Adobe's marker");
    }
    let inverted = Raster { pixels: picture.pixels.iter().map(|v| 255 - v).collect(), ..picture };
    let options =
        Jpeg { colors: Some(Colorspace::CMYK), subsampling: Subsamp::None, ..Default::default() };
    let mut bytes = jpeg_as(&inverted, options);
    let adobe = bytes.windows(5).position(|window| window == b"Adobe").unwrap();
    bytes[adobe..adobe + 5].copy_from_slice(b"Nobel");
    assert_shown(&bytes, "without the marker");
}

#[test]
fn pngs_of_every_kind() {
    let picture = quarters(8, 8);
    assert_shown(&interlaced_png(&picture), "interlaced");
    let picture = quarters(40, 40);
    let wide: Vec<u8> = picture.pixels.iter().flat_map(|&value| [value, 77]).collect();
    assert_shown(&png_as(40, 40, ColorType::Rgb, BitDepth::Sixteen, &wide), "16 bits");

    // Two bits an index: 0 1 above 2 3; the last is transparent.
    let row = |left: u8, right: u8| [[left * 0x55; 5], [right * 0x55; 5]].concat();
    let data = [row(0, 1).repeat(20), row(2, 3).repeat(20)].concat();
    let bytes = png_as(40, 40, ColorType::Indexed, BitDepth::Two, &data);
    for side in [None, Some(16)] {
        let shown = pixels(&render(&bytes, &spec(side, None), &LIMITS).unwrap().bytes);
        assert!(near(&at(&shown, 4, 4), RED) && near(&at(&shown, 12, 4), GREEN));
        assert_eq!(at(&shown, 12, 12)[3], 0);
    }

    let one = [[0xff, 0xff, 0, 0, 0].repeat(20), [0; 100].to_vec()].concat();
    let bytes = png_as(40, 40, ColorType::Grayscale, BitDepth::One, &one);
    let shown = pixels(&render(&bytes, &spec(None, None), &LIMITS).unwrap().bytes);
    assert_eq!((at(&shown, 2, 2), at(&shown, 12, 12)), (vec![255; 3], vec![0; 3]));

    let grey = [200, 255].repeat(800).into_iter().chain([90, 0].repeat(800)).collect::<Vec<_>>();
    let bytes = png_as(40, 40, ColorType::GrayscaleAlpha, BitDepth::Eight, &grey);
    for side in [None, Some(10)] {
        let shown = pixels(&render(&bytes, &spec(side, None), &LIMITS).unwrap().bytes);
        assert_eq!(at(&shown, 4, 2), [200, 200, 200, 255]);
        assert_eq!(at(&shown, 4, 14)[3], 0);
    }
}

/// Full red of Display P3 is beyond sRGB's; a middle one is not, and is stronger in sRGB.
#[test]
fn profiles_are_converted_to_srgb() {
    let icc = ColorProfile::new_display_p3().encode().unwrap();
    let flat = picture(64, 64, |_, _| [180, 60, 60]);
    let app2 = [&b"ICC_PROFILE\0\x01\x01"[..], &icc].concat();
    let iccp = [&b"P3\0\0"[..], &fdeflate::compress_to_vec(&icc)].concat();
    let transparent = png(&with_alpha(&flat, |_, _| 255));
    let inputs = [
        with_segments(&jpeg(&flat), &[(0xe2, &app2)]),
        with_chunks(&png(&flat), &[(b"iCCP", &iccp)]),
        with_chunks(&transparent, &[(b"iCCP", &iccp)]),
        extended_webp(64, 64, 0x20, &[riff(b"ICCP", &icc), bitstream(&webp(&flat, false))]),
    ];
    for bytes in inputs {
        let shown = pixels(&render(&bytes, &spec(16, None), &LIMITS).unwrap().bytes);
        // As littlecms has it.
        let is = at(&shown, 8, 8);
        assert!(is[0].abs_diff(195) <= 4 && is[1].abs_diff(47) <= 5, "{is:?}");
    }
    // A profile of other colours than the pixels', and one that is none.
    let grey = ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
    for icc in [&grey[..], b"no profile"] {
        let app2 = [&b"ICC_PROFILE\0\x01\x01"[..], icc].concat();
        let bytes = with_segments(&jpeg(&flat), &[(0xe2, &app2)]);
        let shown = pixels(&render(&bytes, &spec(16, None), &LIMITS).unwrap().bytes);
        assert!(near(&at(&shown, 8, 8), [180, 60, 60]));
    }
    // A linear grey of a half is a light one.
    let app2 = [&b"ICC_PROFILE\0\x01\x01"[..], &grey].concat();
    let grey = samples::grey(&picture(64, 64, |_, _| [128; 3]));
    let bytes = with_segments(&jpeg(&grey), &[(0xe2, &app2)]);
    let shown = pixels(&render(&bytes, &spec(16, None), &LIMITS).unwrap().bytes);
    assert!(near(&at(&shown, 8, 8), [188; 3]), "{:?}", at(&shown, 8, 8));
}

#[test]
fn a_profile_in_parts_is_put_together_in_their_order() {
    let icc = ColorProfile::new_display_p3().encode().unwrap();
    let (first, second) = icc.split_at(100);
    let first = [&b"ICC_PROFILE\0\x01\x02"[..], first].concat();
    let second = [&b"ICC_PROFILE\0\x02\x02"[..], second].concat();
    let bytes = jpeg(&quarters(16, 16));
    let bytes = with_segments(&bytes, &[(0xe2, &second), (0xe2, &first)]);
    assert_eq!(super::super::container::jpeg::head(&bytes).unwrap().icc, Some(icc));
}

#[test]
fn a_frame_stands_where_its_file_says() {
    // A GIF's screen of 40 × 40, and a frame of 20 × 20 in its lower right.
    let mut bytes = Vec::new();
    let mut encoder = gif::Encoder::new(&mut bytes, 40, 40, &[RED, GREEN].concat()).unwrap();
    let buffer = vec![1; 400].into();
    let frame =
        gif::Frame { left: 20, top: 20, width: 20, height: 20, buffer, ..Default::default() };
    encoder.write_frame(&frame).unwrap();
    drop(encoder);
    let flat = picture(20, 20, |_, _| GREEN);
    let mut anmf = vec![10, 0, 0, 10, 0, 0, 19, 0, 0, 19, 0, 0, 0, 0, 0, 0];
    anmf.extend_from_slice(&bitstream(&webp(&flat, false)));
    let later = [&anmf[..16], &bitstream(&webp(&picture(20, 20, |_, _| RED), false))].concat();
    let chunks = [riff(b"ANIM", &[0; 6]), riff(b"ANMF", &anmf), riff(b"ANMF", &later)];
    for bytes in [bytes, extended_webp(40, 40, 2, &chunks)] {
        for width in [None, Some(10)] {
            let shown = pixels(&render(&bytes, &spec(width, None), &LIMITS).unwrap().bytes);
            assert_eq!(shown.width, width.unwrap_or(40));
            assert!(near(&at(&shown, 12, 12), GREEN));
            assert!(at(&shown, 4, 4)[3] < 4);
            assert!(at(&shown, 12, 4)[3] < 4);
        }
    }
}

#[test]
fn interlaced_and_transparent_gifs() {
    let indexes: Vec<u8> =
        (0..1600).map(|i| u8::from(i % 40 >= 20) + 2 * u8::from(i >= 800)).collect();
    let mut bytes = Vec::new();
    let palette = [RED, GREEN, BLUE, WHITE].concat();
    let mut encoder = gif::Encoder::new(&mut bytes, 40, 40, &palette).unwrap();
    // The rows in the order of the four passes.
    let order = [(0, 8), (4, 8), (2, 4), (1, 2)].into_iter();
    let order = order.flat_map(|(start, step)| (start..40).step_by(step));
    let buffer: Vec<u8> = order.flat_map(|y| indexes[y * 40..(y + 1) * 40].to_vec()).collect();
    let frame = gif::Frame {
        width: 40,
        height: 40,
        interlaced: true,
        transparent: Some(3),
        buffer: buffer.into(),
        ..Default::default()
    };
    encoder.write_frame(&frame).unwrap();
    drop(encoder);
    let shown = pixels(&render(&bytes, &spec(16, None), &LIMITS).unwrap().bytes);
    for (x, y, color) in [(4, 4, RED), (12, 4, GREEN), (4, 12, BLUE)] {
        assert!(near(&at(&shown, x, y), color), "{x}, {y}");
    }
    assert_eq!(at(&shown, 12, 12)[3], 0);
}

#[test]
fn other_types_are_told_by_name() {
    for bytes in [&b"\0\0\0\x1cftypavif"[..], b"\0\0\0\x1cftypheic"] {
        let error = look(bytes, &LIMITS).unwrap_err();
        assert_eq!(error.to_string(), "AVIF and HEIC images are kept, but not decoded.");
    }
    for bytes in [&b""[..], b"BM", b"<svg/>", b"GIF88a", b"\xff\xd8"] {
        assert!(matches!(look(bytes, &LIMITS), Err(Error::Unsupported(_))));
        assert!(matches!(strip_metadata(bytes), Err(Error::Unsupported(_))));
        assert_eq!(exif(bytes), Exif::default());
    }
}
