//! The protocol's header fields.

use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use aws_lc_rs::digest;
use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};

use super::Asked;
use crate::consumers::{error::Error, names::FileName};

/// The version that is spoken.
pub const VERSION: &str = "1.0.0";
/// The extensions that are.
pub const EXTENSIONS: &str =
    "creation,creation-with-upload,creation-defer-length,expiration,termination,checksum";
/// What checksums can be of.
pub const ALGORITHMS: &str = "sha1,sha256";
/// The media type of an upload's bytes.
pub const OFFSET_BYTES: &str = "application/offset+octet-stream";

/// The longest metadata.
const LONGEST_METADATA: usize = 8 * 1024;

/// A field's text, if it is there once.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Error> {
    let mut values = headers.get_all(name);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text.trim())),
            Err(_) => {
                Err(Error::UploadInvalid("A field of the upload has a character that is no ASCII."))
            }
        },
        (Some(_), Some(_)) => Err(Error::UploadInvalid("A field of the upload is there twice.")),
    }
}

/// A number of bytes.
fn bytes(headers: &HeaderMap, name: &str, wrong: &'static str) -> Result<Option<u64>, Error> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits).ok_or(Error::UploadInvalid(wrong))
    };
    text(headers, name)?.map(number).transpose()
}

/// Whether the request speaks this version.
pub fn is_spoken(headers: &HeaderMap) -> bool {
    matches!(text(headers, "tus-resumable"), Ok(Some(VERSION)))
}

/// Whether the body is an upload's bytes.
pub fn has_bytes(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|found| found.trim().eq_ignore_ascii_case(OFFSET_BYTES))
}

/// `Upload-Offset`.
///
/// # Errors
/// When it is missing or no number.
pub fn offset(headers: &HeaderMap) -> Result<u64, Error> {
    const WRONG: &str = "Send Upload-Offset once: the bytes that the upload has.";
    bytes(headers, "upload-offset", WRONG)?.ok_or(Error::UploadInvalid(WRONG))
}

/// `Upload-Length`, where it is told.
///
/// # Errors
/// When it is no number.
pub fn length(headers: &HeaderMap) -> Result<Option<u64>, Error> {
    bytes(headers, "upload-length", "Send Upload-Length once, in bytes.")
}

/// What the request that begins an upload asks for.
///
/// # Errors
/// What is missing or wrong.
pub fn asked(headers: &HeaderMap) -> Result<Asked, Error> {
    let length = length(headers)?;
    let deferred = match text(headers, "upload-defer-length")? {
        None => false,
        Some("1") => true,
        Some(_) => return Err(Error::UploadInvalid("Upload-Defer-Length can only be 1.")),
    };
    if length.is_some() == deferred {
        return Err(Error::UploadInvalid(
            "Send Upload-Length in bytes, or Upload-Defer-Length: 1 to tell it later.",
        ));
    }
    if headers.contains_key("upload-concat") {
        return Err(Error::UploadInvalid("Uploads cannot be put together of others here."));
    }
    let metadata = text(headers, "upload-metadata")?.unwrap_or_default();
    if metadata.len() > LONGEST_METADATA {
        return Err(Error::UploadInvalid("The Upload-Metadata is over 8 KiB."));
    }
    let file_name = value(metadata, &["filename", "name"])?.ok_or(Error::FileNameInvalid(
        "Send the file's name in Upload-Metadata, as filename and its base64.",
    ))?;
    let display_name = value(metadata, &["displayName", "fileName"])?.map(|name| {
        FileName::parse(&name)
            .ok_or(Error::FileNameInvalid("The displayName is no valid file name."))
    });
    let metadata = metadata.to_owned();
    Ok(Asked { file_name, display_name: display_name.transpose()?, length, metadata })
}

/// The value of the first of these keys that is there.
fn value(metadata: &str, keys: &[&str]) -> Result<Option<Vec<u8>>, Error> {
    const WRONG: Error = Error::UploadInvalid(
        "The Upload-Metadata is no list of keys, each with a value in base64.",
    );
    let pairs = metadata.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let pairs: Vec<_> = pairs.map(|pair| pair.split_once(' ').unwrap_or((pair, ""))).collect();
    let found = keys.iter().find_map(|key| pairs.iter().find(|(name, _)| name == key));
    found.map(|(_, value)| BASE64.decode(value.trim()).map_err(|_| WRONG)).transpose()
}

/// `Upload-Checksum` on its way.
pub struct Checksum {
    hash: digest::Context,
    expected: Vec<u8>,
}

impl Checksum {
    /// The checksum that a request's bytes must have, if it says so.
    ///
    /// # Errors
    /// When it is of an unknown kind, or broken.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, Error> {
        const WRONG: Error = Error::UploadInvalid(
            "Send Upload-Checksum as sha1 or sha256, a space, and the digest in base64.",
        );
        let Some(text) = text(headers, "upload-checksum")? else { return Ok(None) };
        let (name, value) = text.split_once(' ').ok_or(WRONG)?;
        let algorithm = match name {
            "sha1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            "sha256" => &digest::SHA256,
            _ => return Err(WRONG),
        };
        let expected = BASE64.decode(value.trim()).map_err(|_| WRONG)?;
        Ok(Some(Self { hash: digest::Context::new(algorithm), expected }))
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    /// Whether all bytes have it.
    pub fn holds(self) -> bool {
        self.hash.finish().as_ref() == self.expected
    }
}
