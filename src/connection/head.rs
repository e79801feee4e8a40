//! A request's head as bytes: where it ends, how its body is framed, and what actix would let pass
//! that HTTP forbids (RFC 9112) or that a balancer in front may read in another way.
//!
//! What this refuses need not be complete: actix parses behind it, and what both accept they
//! have to read alike. Knows only bytes.

use memchr::memchr;

/// What a head may be long. actix answers a longer one with 431.
pub(super) const MAX_HEAD: usize = 128 * 1024;

/// actix panics on a name of 64 KiB.
const MAX_NAME: usize = 32 * 1024;

/// Bytes that no server may take for a request, or for which two servers might disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused;

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// This many bytes; none without a framing field.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Everything: the connection becomes something else.
    Rest,
}

/// A head, read as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Where the current line begins.
    line_at: usize,
    /// Up to where its end was looked for.
    searched: usize,
    form: Option<Form>,
    /// The place of Host's value.
    host: Option<(usize, usize)>,
    length: Option<u64>,
    chunked: bool,
    wants_websocket: bool,
    may_upgrade: bool,
}

/// The request target's form (RFC 9112, section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A path, or `*`.
    Origin,
    /// A URI; the place of its authority.
    Absolute(usize, usize),
    /// The target of `CONNECT`, whatever it is.
    Connect,
}

impl Head {
    /// Reads on in `bytes`, which hold all that has come of the head: where it ends and what
    /// follows, once that is known.
    ///
    /// # Errors
    /// When it cannot become a request.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Option<(usize, Body)>, Refused> {
        while let Some(found) = memchr(b'\n', &bytes[self.searched..]) {
            let end = self.searched + found;
            let line = bytes[self.line_at..end].strip_suffix(b"\r").ok_or(Refused)?;
            let at = std::mem::replace(&mut self.line_at, end + 1);
            self.searched = self.line_at;
            match (self.form, line) {
                // Empty lines in front are to be forgiven (section 2.2).
                (None, []) => {}
                (None, _) => self.form = Some(form(line, at)?),
                (Some(form), []) => return Ok(Some((self.line_at, self.body(form, bytes)?))),
                (Some(_), _) => self.field(line, at)?,
            }
        }
        self.searched = bytes.len();
        Ok(None)
    }

    fn field(&mut self, line: &[u8], at: usize) -> Result<(), Refused> {
        // Most fields are of no interest, which their first letter tells.
        if !matches!(line[0] | 0x20, b'c' | b'h' | b't' | b'u') && line.len() <= MAX_NAME {
            return Ok(());
        }
        let colon = memchr(b':', line).filter(|colon| *colon <= MAX_NAME).ok_or(Refused)?;
        let (name, raw) = (&line[..colon], &line[colon + 1..]);
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match name.len() {
            4 if is(b"host") => {
                let value = trim(raw);
                let start = at + colon + 1 + (raw.len() - raw.trim_ascii_start().len());
                if self.host.is_some() || !is_host(value) {
                    return Err(Refused);
                }
                self.host = Some((start, start + value.len()));
            }
            14 if is(b"content-length") => {
                if self.length.is_some() {
                    return Err(Refused);
                }
                self.length = Some(number(trim(raw))?);
            }
            17 if is(b"transfer-encoding") => {
                if self.chunked || !trim(raw).eq_ignore_ascii_case(b"chunked") {
                    return Err(Refused);
                }
                self.chunked = true;
            }
            7 if is(b"upgrade") => {
                self.wants_websocket |= trim(raw).eq_ignore_ascii_case(b"websocket");
            }
            10 if is(b"connection") => {
                let mut options = raw.split(|b| *b == b',').map(trim);
                self.may_upgrade |= options.any(|option| option.eq_ignore_ascii_case(b"upgrade"));
            }
            _ => {}
        }
        Ok(())
    }

    /// What follows the head, which is whole.
    fn body(&self, form: Form, bytes: &[u8]) -> Result<Body, Refused> {
        if let Form::Absolute(from, to) = form {
            // A client has to send the same in both places (section 3.2.2).
            let (start, end) = self.host.ok_or(Refused)?;
            if !bytes[from..to].eq_ignore_ascii_case(&bytes[start..end]) {
                return Err(Refused);
            }
        }
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(Refused),
            // For actix this field makes everything that follows the body, whatever else is said.
            (false, None) if self.wants_websocket && self.may_upgrade => Ok(Body::Rest),
            _ if self.wants_websocket => Err(Refused),
            (true, None) => Ok(Body::Chunked),
            (false, None | Some(0)) if form == Form::Connect => Ok(Body::Rest),
            (false, length) => Ok(Body::Length(length.unwrap_or(0))),
        }
    }
}

/// The form of a request line's target; the line begins `at` this place.
fn form(line: &[u8], at: usize) -> Result<Form, Refused> {
    let mut words = line.split(|b| *b == b' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(Refused);
    };
    // A fragment is never sent (RFC 9110, section 7.1); actix would drop it.
    if memchr(b'#', target).is_some() {
        return Err(Refused);
    }
    if method == b"CONNECT" {
        return Ok(Form::Connect);
    }
    if target.first() == Some(&b'/') || (target == b"*" && method == b"OPTIONS") {
        return Ok(Form::Origin);
    }
    let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    let rest = &target[scheme.ok_or(Refused)?.len()..];
    let authority = rest.split(|b| matches!(b, b'/' | b'?')).next().unwrap_or_default();
    if authority.is_empty() {
        return Err(Refused);
    }
    let from = at + method.len() + 1 + (target.len() - rest.len());
    Ok(Form::Absolute(from, from + authority.len()))
}

/// Whether a value is a host and perhaps a port (RFC 9110, section 7.2), of what host names are
/// really made of. It may be empty.
fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value.iter().rposition(|b| matches!(b, b':' | b']')) {
        Some(colon) if value[colon] == b':' => (&value[..colon], &value[colon + 1..]),
        _ => (value, &b""[..]),
    };
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    let is_address = |b: &u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
    let right = match host {
        [b'[', address @ .., b']'] => !address.is_empty() && address.iter().all(is_address),
        [] => value.is_empty(),
        _ => host.iter().all(is_name),
    };
    right && port.iter().all(u8::is_ascii_digit)
}

/// A length: digits and nothing else.
fn number(digits: &[u8]) -> Result<u64, Refused> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Refused);
    }
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or(Refused)
}

/// A value without the blanks around it (RFC 9110, section 5.5).
fn trim(value: &[u8]) -> &[u8] {
    value.trim_ascii()
}
