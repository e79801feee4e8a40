//! A part's header fields, of which `Content-Disposition` alone matters (RFC 7578 section 4.2).
//!
//! File names are read as clients write them: within quotes `\"` and `\\` are the only escapes
//! (curl's `--form-escape`, Go), any other `\` stands for itself and `%22` stays `%22`
//! (browsers, curl). `filename*` is RFC 8187, UTF-8 only.

use crate::consumers::error::Error;

/// What a part says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disposition {
    /// The field's name.
    pub name: String,
    /// The file's name as sent, if there is one; an empty one counts as none.
    pub file_name: Option<Vec<u8>>,
}

impl Disposition {
    /// Reads a part's header fields, each ending in CRLF.
    ///
    /// # Errors
    /// [`Error::MultipartInvalid`] if they are malformed, [`Error::FileNameInvalid`] for a bad `filename*`.
    pub fn of_fields(fields: &[u8]) -> Result<Self, Error> {
        let mut value = None;
        let mut rest = fields;
        while !rest.is_empty() {
            let end = memchr::memmem::find(rest, b"\r\n")
                .ok_or(Error::MultipartInvalid("A part's header field has no line end."))?;
            let (line, tail) = (&rest[..end], &rest[end + 2..]);
            rest = tail;
            let colon = memchr::memchr(b':', line)
                .filter(|&at| at > 0 && line[..at].iter().copied().all(is_token))
                .ok_or(Error::MultipartInvalid("A part's header field is malformed."))?;
            if memchr::memchr2(b'\r', b'\n', line).is_some() {
                return Err(Error::MultipartInvalid(
                    "A part's header field has a bare CR or LF; lines end with CRLF.",
                ));
            }
            if line[..colon].eq_ignore_ascii_case(b"content-disposition")
                && value.replace(line[colon + 1..].trim_ascii()).is_some()
            {
                return Err(Error::MultipartInvalid("A part has two Content-Disposition fields."));
            }
        }
        let value =
            value.ok_or(Error::MultipartInvalid("A part has no Content-Disposition field."))?;
        Self::of_value(value)
    }

    fn of_value(value: &[u8]) -> Result<Self, Error> {
        let malformed = || Error::MultipartInvalid("A part's Content-Disposition is malformed.");
        let end = memchr::memchr(b';', value).unwrap_or(value.len());
        let (kind, rest) = value.split_at(end);
        if !kind.trim_ascii().eq_ignore_ascii_case(b"form-data") {
            return Err(Error::MultipartInvalid("A part's Content-Disposition is not form-data."));
        }
        let parameters = parameters(rest.get(1..).unwrap_or_default()).ok_or_else(malformed)?;
        let once = |name: &str| {
            let mut values = parameters.iter().filter(|(n, _)| n == name).map(|(_, value)| value);
            match (values.next(), values.next()) {
                (value, None) => Ok(value),
                _ => Err(Error::MultipartInvalid(
                    "A part's Content-Disposition names a parameter twice.",
                )),
            }
        };
        let name = once("name")?.ok_or(Error::MultipartInvalid("A part has no field name."))?;
        let plain = once("filename")?.filter(|name| !name.is_empty());
        let extended = once("filename*")?.map(|value| extended(value)).transpose()?;
        Ok(Self {
            name: String::from_utf8(name.clone()).map_err(|_| malformed())?,
            file_name: extended.or_else(|| plain.cloned()),
        })
    }
}

/// Decodes an RFC 8187 value, `UTF-8'language'percent-encoded`.
fn extended(value: &[u8]) -> Result<Vec<u8>, Error> {
    let malformed =
        Error::FileNameInvalid("The filename* parameter is not well-formed UTF-8 by RFC 8187.");
    let mut pieces = value.splitn(3, |b| *b == b'\'');
    let (Some(charset), Some(_language), Some(encoded)) =
        (pieces.next(), pieces.next(), pieces.next())
    else {
        return Err(malformed);
    };
    let attr_char = |b: &u8| b.is_ascii_alphanumeric() || b"!#$&+-.^_`|~%".contains(b);
    if !charset.eq_ignore_ascii_case(b"utf-8")
        || encoded.is_empty()
        || !encoded.iter().all(attr_char)
    {
        return Err(malformed);
    }
    let broken = encoded.split(|b| *b == b'%').skip(1).any(|escape| {
        !matches!(escape, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
    });
    let decoded: Vec<u8> = percent_encoding::percent_decode(encoded).collect();
    if broken || std::str::from_utf8(&decoded).is_err() { Err(malformed) } else { Ok(decoded) }
}

/// Reads `; name=value` parameters, names in lower case. None if they are malformed.
pub fn parameters(mut rest: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut parameters = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Some(parameters);
        }
        let name_length = rest.iter().position(|b| !is_token(*b))?;
        let (name, tail) = rest.split_at(name_length);
        let tail = tail.strip_prefix(b"=").filter(|_| !name.is_empty())?;
        let (value, tail) = match tail.strip_prefix(b"\"") {
            Some(quoted) => quoted_string(quoted)?,
            None => {
                let length =
                    tail.iter().position(|b| !is_token(*b) && *b < 0x80).unwrap_or(tail.len());
                let (value, tail) = tail.split_at(length);
                (value.to_vec(), tail)
            }
        };
        parameters.push((String::from_utf8(name.to_ascii_lowercase()).ok()?, value));
        rest = tail.trim_ascii_start();
        if let Some(more) = rest.strip_prefix(b";") {
            rest = more;
        } else if !rest.is_empty() {
            return None;
        }
    }
}

/// Reads up to the closing quote: the value, and what follows. None without a closing quote.
fn quoted_string(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    let mut rest = text;
    loop {
        match rest {
            [b'\\', escaped @ (b'"' | b'\\'), tail @ ..] => {
                value.push(*escaped);
                rest = tail;
            }
            [b'"', tail @ ..] => return Some((value, tail)),
            [byte, tail @ ..] => {
                value.push(*byte);
                rest = tail;
            }
            [] => return None,
        }
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_name(parameters: &str) -> Result<Option<String>, Error> {
        let field = format!("Content-Disposition: form-data; name=\"file\"; {parameters}\r\n");
        let disposition = Disposition::of_fields(field.as_bytes())?;
        Ok(disposition.file_name.map(|name| String::from_utf8(name).unwrap()))
    }

    #[test]
    fn file_names_are_read_as_clients_write_them() {
        for (sent, read) in [
            (r#"filename="a.png""#, "a.png"),
            (r#"filename=a.png"#, "a.png"),
            (r#"filename="a\"b.png""#, "a\"b.png"),
            (r#"filename="a\\b.png""#, "a\\b.png"),
            (r#"filename="C:\dir\a.png""#, "C:\\dir\\a.png"),
            (r#"filename="a%22b.png""#, "a%22b.png"),
            (r#"filename="a;b=c.png""#, "a;b=c.png"),
            (r#"filename*=UTF-8''%e2%98%83.png"#, "☃.png"),
            (r#"filename="x.png"; filename*=utf-8'en'y.png"#, "y.png"),
            (r#"FileName="a.png""#, "a.png"),
        ] {
            assert_eq!(file_name(sent).unwrap().as_deref(), Some(read), "{sent}");
        }
        assert_eq!(file_name(r#"filename="""#).unwrap(), None);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for sent in [
            r#"filename="a"#,
            r#"filename="a\""#,
            r#"filename="a" b"#,
            r#"filename"#,
            r#"="a""#,
            r#"filename="a"; filename="b""#,
            r#"name="again""#,
        ] {
            assert!(matches!(file_name(sent), Err(Error::MultipartInvalid(_))), "{sent}");
        }
        for sent in [
            "filename*=a.png",
            "filename*=latin1''a.png",
            "filename*=UTF-8''%ff",
            "filename*=UTF-8''%e",
            "filename*=UTF-8''",
        ] {
            assert!(matches!(file_name(sent), Err(Error::FileNameInvalid(_))), "{sent}");
        }
    }

    #[test]
    fn header_fields_end_with_crlf_and_have_one_disposition() {
        let fine = b"Content-Type: image/png\r\ncontent-disposition: form-data; name=file\r\n";
        assert_eq!(Disposition::of_fields(fine).unwrap().name, "file");
        for fields in [
            &b""[..],
            b"Content-Type: image/png\r\n",
            b"Content-Disposition: form-data; name=a\nX: y\r\n",
            b"Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b\r\n",
            b"Content-Disposition: form-data; name=a\r\n folded\r\n",
            b"Content-Disposition: attachment; name=a\r\n",
            b"Content-Disposition : form-data; name=a\r\n",
            b"Content-Disposition: form-data\r\n",
        ] {
            let read = Disposition::of_fields(fields);
            assert!(matches!(read, Err(Error::MultipartInvalid(_))), "{fields:?}");
        }
    }
}
