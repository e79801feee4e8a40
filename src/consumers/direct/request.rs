//! What a client asks for when it begins a direct upload.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::consumers::{error::Error, image::ImageType, names::FileName};

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

/// A direct upload as a client asks for it.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NewDirectUpload)]
pub struct Json {
    #[schema(value_type = FileName)]
    file_name: String,
    #[schema(value_type = ImageType)]
    content_type: String,
    /// Bytes.
    #[schema(minimum = 1, maximum = 5_368_709_120_i64, example = 48213)]
    size: u64,
    /// Of the bytes: others are not taken then.
    #[schema(pattern = "^[0-9A-Fa-f]{64}$")]
    sha256: Option<String>,
    /// The name to show, where that is another.
    #[schema(value_type = Option<FileName>)]
    display_name: Option<String>,
    /// Whether the bytes are to be sent by an HTML form, where the store takes those.
    #[serde(default)]
    form: bool,
}

impl Asked {
    /// Reads the request's body.
    ///
    /// # Errors
    /// [`Error::UploadInvalid`], which says what is wrong; [`Error::FileNameInvalid`].
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        // An array could be taken for the members' values, in their order.
        let object = serde_json::from_slice::<Map<_, _>>(json);
        let json = object.and_then(|object| serde_json::from_value(Value::Object(object)));
        let json: Json = json.map_err(|_| {
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
