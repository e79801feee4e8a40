//! Bytes made to do harm, broken and cut: each decodes, or fails cleanly within the limits.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

/// As a server might set them.
const TIGHT: Limits =
    Limits { max_pixels: 100_000_000, memory: 64 << 20, time: Duration::from_secs(2) };

/// All that can be done with an image's bytes; the first error.
fn all(bytes: &[u8], limits: &Limits) -> Result<(), Error> {
    let _ = exif(bytes);
    if let Ok(Some(stripped)) = strip_metadata(bytes) {
        assert!(strip_metadata(&stripped).unwrap().is_none(), "stripped is stripped");
        assert!(stripped.len() <= bytes.len());
    }
    let wanted = [spec(64, None), Spec { fit: Fit::Cover, format: Format::Webp, ..spec(32, 32) }];
    let picture = decode(bytes, &wanted, limits)?;
    picture.look()?;
    wanted.iter().try_for_each(|spec| picture.render(spec).map(drop))
}

/// The same, of bytes that are at fault if it fails; and it does not take long.
fn cleanly(bytes: &[u8], limits: &Limits) -> Result<(), Error> {
    let began = Instant::now();
    let result = all(bytes, limits);
    assert!(!matches!(&result, Err(error) if error.is_internal()), "{result:?}");
    let most = limits.time * 3 + Duration::from_secs(2);
    assert!(began.elapsed() < most, "{:?}", began.elapsed());
    result
}

/// A zlib stream of zeros, 1/150th of their number: matches of 258 bytes in 13 bits each.
pub(super) fn zeros(count: usize) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let (mut bits, mut held) = (0_u64, 0);
    let mut write = |code: u64, length: u32| {
        bits |= code << held;
        held += length;
        while held >= 8 {
            stream.push(bits as u8);
            bits >>= 8;
            held -= 8;
        }
    };
    // One block, the last, of fixed codes: a zero (00110000), then length 258 (11000101) at
    // distance 1 (00000), their bits reversed; and the end.
    write(0b011, 3);
    write(0b0000_1100, 8);
    for _ in 0..count / 258 {
        write(0b0_0000_1010_0011, 13);
    }
    write(0, 7);
    write(0, 8);
    stream.extend_from_slice(&[0; 4]);
    stream
}

#[test]
fn the_bomb_of_zeros_is_one() {
    let stream = zeros(10 * 258);
    let mut inflated = vec![1; 3000];
    let mut decompressor = fdeflate::Decompressor::new();
    decompressor.ignore_adler32();
    let (_, written) = decompressor.read(&stream, &mut inflated, 0, true).unwrap();
    assert_eq!(inflated[..written], [0].repeat(10 * 258 + 1));
}

#[test]
fn a_png_of_4_gigapixels_is_refused_or_given_up() {
    let mut bytes = png_head(65_535, 65_535, 1, 0, false);
    bytes.extend_from_slice(&chunk(b"IDAT", &zeros(65_535 * 8_193)));
    bytes.extend_from_slice(&chunk(b"IEND", &[]));
    assert!(bytes.len() < 4 << 20);
    assert!(matches!(cleanly(&bytes, &TIGHT), Err(Error::TooManyPixels { .. })));
    let limits = Limits { max_pixels: u64::MAX, time: Duration::from_millis(300), ..TIGHT };
    assert!(matches!(cleanly(&bytes, &limits), Err(Error::TooSlow { .. })));

    let mut bytes = png_head(65_535, 65_535, 1, 0, true);
    bytes.extend_from_slice(&chunk(b"IDAT", &zeros(1 << 20)));
    assert!(matches!(cleanly(&bytes, &limits), Err(Error::TooMuchMemory { .. })));
    for (width, height) in [(u32::MAX, 1), (1 << 30, 1 << 30), (0, 1)] {
        let mut bytes = png_head(width, height, 16, 6, false);
        bytes.extend_from_slice(&chunk(b"IDAT", &zeros(1 << 20)));
        assert!(cleanly(&bytes, &limits).is_err());
    }
}

#[test]
fn of_ten_thousand_frames_one_is_decoded() {
    let mut bytes = gif(&quarters(16, 16), 10_000);
    assert!(cleanly(&bytes, &TIGHT).is_ok());
    // The same where the screen says that it is as large as can be.
    bytes[6..10].fill(0xff);
    assert!(matches!(cleanly(&bytes, &TIGHT), Err(Error::TooManyPixels { .. })));
}

#[test]
fn chunks_that_inflate_to_256_mib_are_not_inflated() {
    let bomb = zeros(256 << 20);
    let png = png(&quarters(64, 64));
    let iccp = [b"profile\0\0", &bomb[..]].concat();
    let ztxt = [b"Comment\0\0", &bomb[..]].concat();
    let itxt = [b"XML:com.adobe.xmp\0\x01\0\0\0", &bomb[..]].concat();
    let chunks: [(&[u8; 4], _); 3] = [(b"iCCP", iccp), (b"zTXt", ztxt), (b"iTXt", itxt)];
    for (name, data) in chunks {
        let bytes = with_chunks(&png, &[(name, &data)]);
        let limits = Limits { memory: 16 << 20, ..TIGHT };
        cleanly(&bytes, &limits).unwrap();
    }
    // A zlib stream with more in it than the pixels.
    let mut bytes = png_head(64, 64, 8, 2, false);
    bytes.extend_from_slice(&chunk(b"IDAT", &bomb));
    bytes.extend_from_slice(&chunk(b"IEND", &[]));
    cleanly(&bytes, &TIGHT).unwrap();
}

/// A progressive JPEG whose last scan is there so many times.
pub(super) fn many_scans(side: u32, scans: usize) -> Vec<u8> {
    let bytes = jpeg_as(&quarters(side, side), Jpeg { progressive: true, ..Default::default() });
    let last = bytes.windows(2).rposition(|window| window == [0xff, 0xda]).unwrap();
    let (head, scan) = (&bytes[..last], &bytes[last..bytes.len() - 2]);
    [head, &scan.repeat(scans), &[0xff, 0xd9]].concat()
}

#[test]
fn a_jpeg_of_thousands_of_scans_is_refused_where_they_cost_much() {
    let large = many_scans(2000, 5_000);
    assert!(large.len() < 32 << 20);
    assert!(matches!(cleanly(&large, &TIGHT), Err(Error::TooSlow { .. })));
    cleanly(&many_scans(64, 5_000), &TIGHT).unwrap();
}

/// A lossless WebP of 64 × 64 pixels with 65,536 groups of five prefix codes, for each of which a
/// decoder makes a table of 4 KiB.
fn many_codes() -> Vec<u8> {
    let (mut bytes, mut held, mut count) = (vec![0x2f], 0_u64, 0);
    let mut write = |value: u64, length: u32| {
        held |= value << count;
        count += length;
        while count >= 8 {
            bytes.push(held as u8);
            held >>= 8;
            count -= 8;
        }
    };
    write(63 | 63 << 14, 32);
    // No transform, no cache of colours; groups by blocks of 4 × 4.
    write(0b100, 3);
    write(0, 3);
    // The image of groups, without a cache: each code has one symbol of 8 bits, 255 for red and
    // green, and 0.
    write(0, 1);
    for symbol in [255, 255, 0, 0, 0] {
        write(0b101 | symbol << 3, 11);
    }
    for _ in 0..65_536 * 5 {
        // Not simple; of the codes' lengths there are fourteen. 1 to 6 have three bits, 7 to 10
        // have four, in an order of the standard's.
        write(10 << 1, 5);
        for length in [0, 0, 0, 3, 3, 3, 3, 3, 0, 3, 4, 4, 4, 4] {
            write(length, 3);
        }
        // Eleven symbols: of 1 to 10 bits, and one more of 10.
        write(0b1001_0011, 8);
        for code in [0, 0b100, 0b010, 0b110, 0b001, 0b101] {
            write(code, 3);
        }
        for code in [0b0011, 0b1011, 0b0111, 0b1111, 0b1111] {
            write(code, 4);
        }
    }
    write(0, 16);
    riff(b"RIFF", &[&b"WEBP"[..], &riff(b"VP8L", &bytes)].concat())
}

#[test]
fn a_webp_of_codes_upon_codes_is_refused_before_they_are_made() {
    let bytes = many_codes();
    assert!(bytes.len() < 5 << 20);
    let Err(Error::TooMuchMemory { needed, .. }) = cleanly(&bytes, &TIGHT) else {
        panic!("it is not refused");
    };
    assert!(needed > 128 << 20, "{needed}");
}

/// Small images of every format, with metadata that is read.
pub(super) static CORPUS: LazyLock<Vec<(&'static str, Vec<u8>)>> = LazyLock::new(corpus);

fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    let picture = photo(96, 64);
    let tiff = tiff(true, [&[(271, 2, 6, b"Maker\0"), (274, 3, 1, &[6, 0])], &[], &[]]);
    let icc = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let app2 = [&b"ICC_PROFILE\0\x01\x01"[..], &icc].concat();
    let iccp = [&b"P3\0\0"[..], &fdeflate::compress_to_vec(&icc)].concat();
    let transparent = with_alpha(&picture, |x, _| x as u8);
    let progressive = Jpeg { progressive: true, ..Default::default() };
    let chunks = [riff(b"ICCP", &icc), bitstream(&webp(&picture, false)), riff(b"EXIF", &tiff)];
    let mut anmf = [0; 16];
    (anmf[6], anmf[9]) = (95, 63);
    let frame = [&anmf[..], &bitstream(&webp(&picture, true))].concat();
    let animation = [riff(b"ANIM", &[0; 6]), riff(b"ANMF", &frame), riff(b"ANMF", &frame)];
    vec![
        ("jpeg", with_segments(&jpeg(&picture), &[(0xe1, &app1(&tiff)), (0xe2, &app2)])),
        ("progressive", jpeg_as(&picture, progressive)),
        ("cmyk", jpeg(&cmyk(&picture))),
        ("png", with_chunks(&png(&picture), &[(b"eXIf", &tiff), (b"iCCP", &iccp)])),
        ("transparent png", png(&transparent)),
        ("interlaced", interlaced_png(&photo(8, 8))),
        ("gif", gif(&quarters(96, 64), 3)),
        ("webp", extended_webp(96, 64, 0x28, &chunks)),
        ("lossless", webp(&picture, true)),
        ("transparent webp", webp(&transparent, false)),
        ("animation", extended_webp(96, 64, 2, &animation)),
    ]
}

#[test]
fn what_is_cut_fails_cleanly_and_a_jpeg_shows_what_is_there() {
    for &(name, ref bytes) in CORPUS.iter() {
        cleanly(bytes, &TIGHT).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        for part in 0..16 {
            let cut = &bytes[..bytes.len() * part / 16];
            let result = cleanly(cut, &TIGHT);
            if part < 10 && !matches!(name, "jpeg" | "progressive" | "cmyk" | "gif" | "animation") {
                assert!(result.is_err(), "{name} cut at {part}/16");
            }
        }
    }
    let bytes = jpeg(&quarters(400, 400));
    let shown = render(&bytes[..bytes.len() * 3 / 4], &spec(None, None), &LIMITS).unwrap();
    let shown = pixels(&shown.bytes);
    assert!(near(&at(&shown, 4, 4), RED) && near(&at(&shown, 12, 4), GREEN));
}

#[test]
fn what_is_two_things_at_once_is_what_it_begins_with() {
    let picture = quarters(64, 64);
    let inputs = [jpeg(&picture), png(&picture), gif(&picture, 1), webp(&picture, true)];
    for first in &inputs {
        for second in &inputs {
            let bytes = [&first[..], second, b"PK\x03\x04<script>"].concat();
            let shown = render(&bytes, &spec(32, None), &TIGHT).unwrap();
            assert_quarters(&pixels(&shown.bytes), "two at once");
            // What is behind the image goes with its metadata.
            assert_eq!(strip_metadata(&bytes).unwrap().as_ref(), Some(first));
        }
    }
    // Headers that say another size than the bitstream within, or begin as another format.
    let chunk = bitstream(&webp(&picture, false));
    for (width, height) in [(1, 1), (63, 64), (10_000, 10_001)] {
        let bytes = extended_webp(width, height, 0, std::slice::from_ref(&chunk));
        assert!(cleanly(&bytes, &TIGHT).is_err(), "{width} × {height}");
    }
    let mut huge = chunk;
    huge[14..18].fill(0xff);
    let bytes = extended_webp(64, 64, 0, &[huge]);
    assert!(cleanly(&bytes, &TIGHT).is_err());
    let wave = [&b"RIFF\x04\0\0\0WAVE"[..], &inputs[0]].concat();
    assert!(matches!(cleanly(&wave, &TIGHT), Err(Error::Unsupported(_))));
}

/// Directories that overlap, each of which points to thousands of others: what a reader that
/// follows all of them takes minutes and gigabytes for.
#[test]
fn an_exif_block_of_overlapping_directories_is_read_at_once() {
    let mut tiff = b"MM\0*\0\0\0\x08".to_vec();
    tiff.extend_from_slice(&2_700_u16.to_be_bytes());
    for index in 0..2_700_u32 {
        tiff.extend_from_slice(&[0x87, 0x69, 0, 4, 0, 0, 0, 1]);
        tiff.extend_from_slice(&(32_500 + index).to_be_bytes());
    }
    tiff.resize(65_000, 0x0a);
    let bytes = with_segments(&jpeg(&quarters(16, 16)), &[(0xe1, &app1(&tiff))]);
    let began = Instant::now();
    assert_eq!(exif(&bytes), Exif::default());
    assert!(began.elapsed() < Duration::from_millis(100));
    cleanly(&bytes, &TIGHT).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..Default::default() })]

    #[test]
    fn flipped_bytes_do_no_harm(
        which in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        near_the_head in any::<bool>(),
    ) {
        let (_, mut bytes) = which.get(&CORPUS).clone();
        let reach = if near_the_head { bytes.len().min(200) } else { bytes.len() };
        for (place, value) in flips {
            bytes[place.index(reach)] = value;
        }
        let limits = Limits { max_pixels: 1_000_000, memory: 32 << 20, ..TIGHT };
        let _ = cleanly(&bytes, &limits);
    }

    #[test]
    fn any_bytes_do_no_harm(
        which in any::<prop::sample::Index>(),
        rest in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let heads: [&[u8]; 4] =
            [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\x01\0\0WEBPVP8X"];
        let bytes = [*which.get(&heads), &rest].concat();
        let limits = Limits { max_pixels: 1_000_000, memory: 32 << 20, ..TIGHT };
        let _ = cleanly(&bytes, &limits);
    }
}
