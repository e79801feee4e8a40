//! A request's head as bytes: where it ends, how its body is framed, and what actix would let pass
//! that HTTP forbids (RFC 9112) or that a balancer in front may read in another way.
//!
//! What this refuses need not be complete: actix parses behind it, and what both accept they
//! have to read alike. Knows only bytes.

use memchr::{memchr, memchr_iter, memchr2};

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
    has_host: bool,
    length: Option<u64>,
    chunked: bool,
}

/// The request target's form (RFC 9112, section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A path, or `*`.
    Origin,
    /// A URI, with the place of its authority.
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
        let from = self.searched;
        for found in memchr_iter(b'\n', &bytes[from..]) {
            let (at, end) = (self.line_at, from + found);
            let line = bytes[at..end].strip_suffix(b"\r").ok_or(Refused)?;
            self.line_at = end + 1;
            match (self.form, line) {
                // Empty lines in front are to be forgiven (section 2.2).
                (None, []) => {}
                (None, _) => self.form = Some(form(line, at)?),
                (Some(form), []) => return Ok(Some((end + 1, self.body(form)?))),
                (Some(form), _) => self.field(line, form, bytes)?,
            }
        }
        self.searched = bytes.len();
        Ok(None)
    }

    /// Looks at a field. Most are of no interest, which their first letter tells.
    fn field(&mut self, line: &[u8], form: Form, bytes: &[u8]) -> Result<(), Refused> {
        if line.len() > MAX_NAME {
            memchr(b':', &line[..=MAX_NAME]).ok_or(Refused)?;
        }
        match line[0] | 0x20 {
            b'h' => {
                if let Some(host) = value(line, b"host") {
                    // A client has to send the same in both places (section 3.2.2).
                    let differs =
                        |(from, to): (usize, usize)| !bytes[from..to].eq_ignore_ascii_case(host);
                    let authority = match form {
                        Form::Absolute(from, to) => Some((from, to)),
                        _ => None,
                    };
                    if self.has_host || !is_host(host) || authority.is_some_and(differs) {
                        return Err(Refused);
                    }
                    self.has_host = true;
                }
            }
            b'c' => {
                if let Some(length) = value(line, b"content-length") {
                    if self.length.is_some() {
                        return Err(Refused);
                    }
                    self.length = Some(number(length)?);
                }
            }
            b't' => {
                if let Some(coding) = value(line, b"transfer-encoding") {
                    if self.chunked || !coding.eq_ignore_ascii_case(b"chunked") {
                        return Err(Refused);
                    }
                    self.chunked = true;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What follows the head, which is whole. `Upgrade` changes nothing: what follows in another
    /// protocol is kept back until the upgrade takes it.
    fn body(&self, form: Form) -> Result<Body, Refused> {
        if matches!(form, Form::Absolute(..)) && !self.has_host {
            return Err(Refused);
        }
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(Refused),
            (true, None) => Ok(Body::Chunked),
            (false, None | Some(0)) if form == Form::Connect => Ok(Body::Rest),
            (false, length) => Ok(Body::Length(length.unwrap_or(0))),
        }
    }
}

/// The value of a line that is the field of this name, without the blanks around it.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    let raw = rest.strip_prefix(b":")?;
    start.eq_ignore_ascii_case(name).then(|| raw.trim_ascii())
}

/// The form of a request line's target; the line begins `at` this place.
fn form(line: &[u8], at: usize) -> Result<Form, Refused> {
    let blank = memchr(b' ', line).ok_or(Refused)?;
    let (method, rest) = (&line[..blank], &line[blank + 1..]);
    let target = &rest[..memchr(b' ', rest).ok_or(Refused)?];
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
    let length = memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    let from = at + blank + 1 + (target.len() - rest.len());
    if length == 0 { Err(Refused) } else { Ok(Form::Absolute(from, from + length)) }
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
