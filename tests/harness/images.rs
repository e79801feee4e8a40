//! Images made here: the smallest valid frame of each format with the dimensions and the
//! amount of content that a test asks for. What fills them is no picture, only bytes.

/// `size` bytes that look like compressed data and differ by `seed`. None of them is 0xff or
/// zero, so that they can stand in a JPEG's scan.
pub fn filling(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes().map(|byte| byte.clamp(1, 0xfe)));
    }
    bytes.truncate(size);
    bytes
}

/// A baseline JPEG with `size` bytes of scan.
pub fn jpeg(width: u16, height: u16, size: usize) -> Vec<u8> {
    jpeg_behind(width, height, 0, size)
}

/// A JPEG whose frame header stands behind this many full APP1 segments of 64 KiB.
pub fn jpeg_behind(width: u16, height: u16, segments: usize, size: usize) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xe0, 0, 16];
    bytes.extend(b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    for segment in 0..segments {
        bytes.extend([0xff, 0xe1, 0xff, 0xff]);
        bytes.extend(filling(0xffff - 2, segment as u64));
    }
    bytes.extend([0xff, 0xdb, 0, 67, 0]);
    bytes.extend([1; 64]);
    bytes.extend([0xff, 0xc0, 0, 11, 8]);
    bytes.extend(height.to_be_bytes());
    bytes.extend(width.to_be_bytes());
    bytes.extend([1, 1, 0x11, 0]);
    bytes.extend([0xff, 0xc4, 0, 20, 0]);
    bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0]);
    bytes.extend(filling(size, u64::from(width)));
    bytes.extend([0xff, 0xd9]);
    bytes
}

/// A PNG with `size` bytes in its IDAT.
pub fn png(width: u32, height: u32, size: usize) -> Vec<u8> {
    let idat = filling(size, u64::from(width));
    png_of(&[(b"IHDR", &ihdr(width, height)), (b"IDAT", &idat), (b"IEND", b"")])
}

/// An animated PNG that announces this many frames.
pub fn apng(width: u32, height: u32, frames: u32) -> Vec<u8> {
    let mut control = frames.to_be_bytes().to_vec();
    control.extend([0; 4]);
    let ihdr = ihdr(width, height);
    png_of(&[(b"IHDR", &ihdr), (b"acTL", &control), (b"IDAT", b"abc"), (b"IEND", b"")])
}

/// A PNG of these chunks, each with its checksum.
pub fn png_of(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in chunks {
        bytes.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        let from = bytes.len();
        bytes.extend(*kind);
        bytes.extend(*data);
        let check = crc32(&bytes[from..]);
        bytes.extend(check.to_be_bytes());
    }
    bytes
}

/// The content of an IHDR: eight bits, RGB.
pub fn ihdr(width: u32, height: u32) -> Vec<u8> {
    let mut data = width.to_be_bytes().to_vec();
    data.extend(height.to_be_bytes());
    data.extend([8, 2, 0, 0, 0]);
    data
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// A GIF89a of one frame.
pub fn gif(width: u16, height: u16, size: usize) -> Vec<u8> {
    let mut bytes = b"GIF89a".to_vec();
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    bytes.extend([0x80, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff]);
    bytes.extend([0x2c, 0, 0, 0, 0]);
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    bytes.extend([0, 2]);
    for block in filling(size, u64::from(width)).chunks(255) {
        bytes.push(u8::try_from(block.len()).unwrap());
        bytes.extend(block);
    }
    bytes.extend([0, 0x3b]);
    bytes
}

/// A lossy WebP in its simple form: dimensions in the VP8 key frame.
pub fn webp(width: u16, height: u16, size: usize) -> Vec<u8> {
    let mut frame = vec![0x30, 0x01, 0x00, 0x9d, 0x01, 0x2a];
    frame.extend((width & 0x3fff).to_le_bytes());
    frame.extend((height & 0x3fff).to_le_bytes());
    frame.extend(filling(size, u64::from(width)));
    riff(&[(b"VP8 ", frame)])
}

/// A lossless WebP.
pub fn webp_lossless(width: u32, height: u32, size: usize) -> Vec<u8> {
    let mut frame = vec![0x2f];
    frame.extend(((width - 1) | ((height - 1) << 14)).to_le_bytes());
    frame.extend(filling(size, u64::from(width)));
    riff(&[(b"VP8L", frame)])
}

/// A WebP in its extended form: dimensions in the VP8X chunk.
pub fn webp_extended(width: u32, height: u32, size: usize) -> Vec<u8> {
    let mut canvas = vec![0x10, 0, 0, 0];
    canvas.extend(&(width - 1).to_le_bytes()[..3]);
    canvas.extend(&(height - 1).to_le_bytes()[..3]);
    let mut frame = vec![0x2f];
    frame.extend((((width - 1) & 0x3fff) | (((height - 1) & 0x3fff) << 14)).to_le_bytes());
    frame.extend(filling(size, u64::from(width)));
    riff(&[(b"VP8X", canvas), (b"VP8L", frame)])
}

fn riff(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut content = b"WEBP".to_vec();
    for (kind, data) in chunks {
        content.extend(*kind);
        content.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        content.extend(data);
        content.extend(vec![0; data.len() % 2]);
    }
    let mut bytes = b"RIFF".to_vec();
    bytes.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
    bytes.extend(content);
    bytes
}

/// An AVIF of one item.
pub fn avif(width: u32, height: u32, size: usize) -> Vec<u8> {
    heif(b"avif", b"av01", width, height, size)
}

/// A HEIC of one item.
pub fn heic(width: u32, height: u32, size: usize) -> Vec<u8> {
    heif(b"heic", b"hvc1", width, height, size)
}

fn heif(brand: &[u8; 4], codec: &[u8; 4], width: u32, height: u32, size: usize) -> Vec<u8> {
    let ftyp = mp4_box(b"ftyp", &[brand, &[0; 4], b"mif1", brand]);
    let hdlr = mp4_box(b"hdlr", &[&[0; 8], b"pict", &[0; 13]]);
    let pitm = mp4_box(b"pitm", &[&[0; 4], &[0, 1]]);
    let infe = mp4_box(b"infe", &[&[2, 0, 0, 0], &[0, 1, 0, 0], codec, &[0]]);
    let iinf = mp4_box(b"iinf", &[&[0; 4], &[0, 1], &infe]);
    let ispe = mp4_box(b"ispe", &[&[0; 4], &width.to_be_bytes(), &height.to_be_bytes()]);
    let ipco = mp4_box(b"ipco", &[&ispe]);
    let ipma = mp4_box(b"ipma", &[&[0; 4], &[0, 0, 0, 1], &[0, 1, 1, 0x81]]);
    let iprp = mp4_box(b"iprp", &[&ipco, &ipma]);
    // One extent of one item, where mdat's content will stand.
    let iloc_size = 8 + 4 + 2 + 2 + 2 + 2 + 2 + 4 + 4;
    let meta_size = 12 + hdlr.len() + pitm.len() + iloc_size + iinf.len() + iprp.len();
    let offset = u32::try_from(ftyp.len() + meta_size + 8).unwrap().to_be_bytes();
    let length = u32::try_from(size).unwrap().to_be_bytes();
    let iloc = mp4_box(
        b"iloc",
        &[&[0; 4], &[0x44, 0], &[0, 1], &[0, 1], &[0, 0], &[0, 1], &offset, &length],
    );
    let meta = mp4_box(b"meta", &[&[0; 4], &hdlr, &pitm, &iloc, &iinf, &iprp]);
    let mdat = mp4_box(b"mdat", &[&filling(size, u64::from(width))]);
    [ftyp, meta, mdat].concat()
}

fn mp4_box(kind: &[u8; 4], content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let size = u32::try_from(content.len() + 8).unwrap().to_be_bytes();
    [size.as_slice(), kind, &content].concat()
}

/// A BMP with a BITMAPINFOHEADER.
pub fn bmp(width: i32, height: i32, size: usize) -> Vec<u8> {
    let mut bytes = b"BM".to_vec();
    bytes.extend(u32::try_from(54 + size).unwrap().to_le_bytes());
    bytes.extend([0, 0, 0, 0, 54, 0, 0, 0, 40, 0, 0, 0]);
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    bytes.extend([1, 0, 24, 0, 0, 0, 0, 0]);
    bytes.extend(u32::try_from(size).unwrap().to_le_bytes());
    bytes.extend([0; 16]);
    bytes.extend(filling(size, 1));
    bytes
}

/// A little-endian TIFF whose directory stands at its beginning.
pub fn tiff(width: u32, height: u32, size: usize) -> Vec<u8> {
    let mut bytes = b"II*\0\x08\0\0\0".to_vec();
    let strip = u32::try_from(size).unwrap();
    let tags = [
        (256u16, width),
        (257, height),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 8 + 2 + 8 * 12 + 4),
        (278, height),
        (279, strip),
    ];
    bytes.extend(u16::try_from(tags.len()).unwrap().to_le_bytes());
    for (tag, value) in tags {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(4u16.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0; 4]);
    bytes.extend(filling(size, 2));
    bytes
}
