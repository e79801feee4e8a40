//! What a client asks for when it begins a direct upload.

use serde::Deserialize;

use crate::consumers::{error::Error, names::FileName};

/// An upload as it was asked for.
pub struct Asked {
    /// The file's name as the client gave it.
    pub file_name: Vec<u8>,
    /// The name to show.
    pub display_name: Option<FileName>,
    /// What the client says that the bytes are, in small letters.
    pub content_type: String,
    /// Bytes.
    pub size: u64,
    /// Their SHA-256 in small hexadecimal digits, as the client says.
    pub sha256: Option<String>,
    /// Whether they are to be sent by an HTML form.
    pub form: bool,
}

impl Asked {
    /// Reads the request's body.
    ///
    /// # Errors
    /// [`Error::UploadInvalid`], which says what is wrong; [`Error::FileNameInvalid`].
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Json {
            file_name: String,
            content_type: String,
            size: u64,
            sha256: Option<String>,
            display_name: Option<String>,
            #[serde(default)]
            form: bool,
        }
        let json: Json = serde_json::from_slice(json).map_err(|_| {
            Error::UploadInvalid(
                "Send a JSON object with fileName, contentType and size, and sha256, displayName or form where wanted.",
            )
        })?;
        if json.size == 0 {
            return Err(Error::UploadInvalid("The size is 0; an image has at least one byte."));
        }
        let is_hash =
            |text: &String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if json.sha256.as_ref().is_some_and(|text| !is_hash(text)) {
            return Err(Error::UploadInvalid("The sha256 is not 64 hexadecimal digits."));
        }
        let display_name = json.display_name.map(|name| {
            let broken = Error::FileNameInvalid("The displayName is no valid file name.");
            FileName::parse(name.as_bytes()).ok_or(broken)
        });
        Ok(Self {
            file_name: json.file_name.into_bytes(),
            display_name: display_name.transpose()?,
            content_type: json.content_type.to_ascii_lowercase(),
            size: json.size,
            sha256: json.sha256.map(|text| text.to_ascii_lowercase()),
            form: json.form,
        })
    }
}
