//! Heads built by hand, byte for byte as their specifications lay them out, for the tests.

use super::{Dimensions, Error, ImageType, Inspector};

pub(super) type Seen = Result<(ImageType, Dimensions), Error>;

/// What is said of a file that comes in pieces of `size` bytes.
pub(super) fn inspect_in(bytes: &[u8], size: usize) -> Seen {
    let mut inspector = Inspector::new();
    for piece in bytes.chunks(size) {
        inspector.push(piece)?;
    }
    inspector.finish()
}

pub(super) fn inspect(bytes: &[u8]) -> Seen {
    inspect_in(bytes, bytes.len().max(1))
}

pub(super) fn found(image_type: ImageType, width: u32, height: u32, frames: u32) -> Seen {
    let dimensions = Dimensions { width, height, frames };
    Ok((image_type, dimensions))
}

pub(super) fn is_invalid(bytes: &[u8]) -> bool {
    matches!(inspect(bytes), Err(Error::Invalid(_)))
}

pub(super) fn segment(code: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 2).unwrap();
    [&[0xff, code], &length.to_be_bytes()[..], data].concat()
}

/// A frame header of three components.
pub(super) fn frame(code: u8, width: u16, height: u16) -> Vec<u8> {
    let mut data = vec![8];
    data.extend(height.to_be_bytes());
    data.extend(width.to_be_bytes());
    data.extend([3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1]);
    segment(code, &data)
}

/// JFIF, an Exif block with a whole thumbnail inside, tables, and a progressive frame.
pub(super) fn jpeg() -> Vec<u8> {
    let thumbnail = [b"\xff\xd8".to_vec(), frame(0xc0, 160, 120)].concat();
    [
        b"\xff\xd8".to_vec(),
        segment(0xe0, b"JFIF\0\x01\x02\0\0\x48\0\x48\0\0"),
        segment(0xe1, &[b"Exif\0\0II*\0", &thumbnail[..]].concat()),
        segment(0xe2, &[b"ICC_PROFILE\0\x01\x01", &[0u8; 300][..]].concat()),
        vec![0xff, 0xff, 0xff],
        segment(0xdb, &[0; 65]),
        segment(0xc4, &[0; 29]),
        frame(0xc2, 4032, 3024),
        segment(0xda, &[3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0]),
    ]
    .concat()
}

pub(super) fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    [&length.to_be_bytes()[..], kind, data, b"crc!"].concat()
}

pub(super) fn ihdr(width: u32, height: u32) -> Vec<u8> {
    let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
    chunk(b"IHDR", &[&sides[..], &[8, 6, 0, 0, 0]].concat())
}

pub(super) fn png(chunks: &[Vec<u8>]) -> Vec<u8> {
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunks.concat()].concat()
}

/// A screen with a palette of four colours, a comment, and a first frame.
pub(super) fn gif(screen: (u16, u16), frame: [u16; 4]) -> Vec<u8> {
    let mut bytes = b"GIF89a".to_vec();
    bytes.extend(screen.0.to_le_bytes());
    bytes.extend(screen.1.to_le_bytes());
    bytes.extend([0x81, 0, 0]);
    bytes.extend([0x2c; 12]);
    bytes.extend(b"\x21\xfe\x03abc\x02\x2c\x2c\x00\x21\xf9\x04\0\0\0\0\0\x2c");
    bytes.extend(frame.iter().flat_map(|side| side.to_le_bytes()));
    bytes.push(0);
    bytes
}

pub(super) fn webp(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let size = u32::try_from(data.len()).unwrap();
    let riff = (size + 12).to_le_bytes();
    [b"RIFF", &riff[..], b"WEBP", kind, &size.to_le_bytes(), data].concat()
}

pub(super) fn make_box(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let size = u32::try_from(data.len() + 8).unwrap();
    [&size.to_be_bytes()[..], kind, data].concat()
}

pub(super) fn ftyp(brands: &[&[u8; 4]]) -> Vec<u8> {
    let (major, compatible) = brands.split_first().unwrap();
    let compatible: Vec<u8> = compatible.iter().copied().flatten().copied().collect();
    make_box(b"ftyp", &[&major[..], &[0; 4], &compatible].concat())
}

pub(super) fn ispe(width: u32, height: u32) -> Vec<u8> {
    let sides = [[0; 4], width.to_be_bytes(), height.to_be_bytes()].concat();
    make_box(b"ispe", &sides)
}

/// A `meta` box with two items, 1 being primary; `own` are the numbers of its properties.
pub(super) fn meta(properties: &[Vec<u8>], own: &[u8]) -> Vec<u8> {
    let mut ipma = vec![0, 0, 0, 0, 0, 0, 0, 2, 0, 2, 1, 0x01, 0, 1];
    ipma.push(u8::try_from(own.len()).unwrap());
    ipma.extend(own);
    let ipco = make_box(b"ipco", &properties.concat());
    let children = [
        vec![0; 4],
        make_box(b"hdlr", b"\0\0\0\0\0\0\0\0pict\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        make_box(b"pitm", &[0, 0, 0, 0, 0, 1]),
        make_box(b"iloc", &[0; 40]),
        make_box(b"iprp", &[ipco, make_box(b"ipma", &ipma)].concat()),
    ];
    make_box(b"meta", &children.concat())
}

/// A thumbnail's and the picture's sizes, the latter turned by a quarter.
pub(super) fn heic() -> Vec<u8> {
    let properties =
        [ispe(320, 240), make_box(b"hvcC", &[0; 30]), ispe(4032, 3024), make_box(b"irot", &[3])];
    let brands = ftyp(&[b"heic", b"mif1", b"heic"]);
    [brands, meta(&properties, &[0x82, 3, 0x84])].concat()
}

pub(super) fn avif() -> Vec<u8> {
    let brands = ftyp(&[b"mif1", b"miaf", b"avif"]);
    let mdat = make_box(b"mdat", b"\0\0\0\x14ispe\0\0\0\0\0\0\0\x01\0\0\0\x01");
    [brands, mdat, meta(&[ispe(640, 427)], &[1])].concat()
}

/// A directory far behind the header: width as SHORT, height as LONG.
pub(super) fn tiff() -> Vec<u8> {
    let mut bytes = b"MM\0*\0\0\x03\xe8".to_vec();
    bytes.resize(1000, 0xaa);
    bytes.extend(b"\0\x03");
    bytes.extend(b"\0\xfe\0\x04\0\0\0\x01\0\0\0\0");
    bytes.extend(b"\x01\x00\0\x03\0\0\0\x01\x07\x80\0\0");
    bytes.extend(b"\x01\x01\0\x04\0\0\0\x01\0\0\x04\x38");
    bytes
}

pub(super) fn bmp(header: u32, width: i32, height: i32) -> Vec<u8> {
    let mut bytes = b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0".to_vec();
    bytes.extend(header.to_le_bytes());
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    bytes.extend([1, 0, 24, 0]);
    bytes
}

/// One valid head of each kind, with what is to be found in it.
pub(super) fn all() -> Vec<(Vec<u8>, Seen)> {
    use ImageType::*;
    let animation = chunk(b"acTL", &[0, 0, 0, 5, 0, 0, 0, 0]);
    let idat = chunk(b"IDAT", &[0; 9]);
    vec![
        (jpeg(), found(Jpeg, 4032, 3024, 1)),
        (png(&[ihdr(77, 33), chunk(b"iCCP", &[7; 50]), idat.clone()]), found(Png, 77, 33, 1)),
        (png(&[ihdr(120, 90), animation, idat]), found(Png, 120, 90, 5)),
        (gif((120, 90), [3, 4, 50, 60]), found(Gif, 120, 90, 1)),
        (webp(b"VP8 ", b"\x10\x02\0\x9d\x01\x2a\x4d\x41\xc9\x40"), found(Webp, 333, 201, 1)),
        (webp(b"VP8L", b"\x2f\x4c\x01\x32\x10"), found(Webp, 333, 201, 1)),
        (webp(b"VP8X", b"\x02\0\0\0\x4c\x01\0\xc8\0\0"), found(Webp, 333, 201, 1)),
        (heic(), found(Heic, 3024, 4032, 1)),
        (avif(), found(Avif, 640, 427, 1)),
        (tiff(), found(Tiff, 1920, 1080, 1)),
        (bmp(40, 77, -33), found(Bmp, 77, 33, 1)),
        (
            b"BM\x46\0\0\0\0\0\0\0\x1a\0\0\0\x0c\0\0\0\x4d\0\x21\0\x01\0\x08\0".to_vec(),
            found(Bmp, 77, 33, 1),
        ),
    ]
}
