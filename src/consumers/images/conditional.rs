//! Conditional requests, RFC 9110 section 13: whether a request is to be carried out, given the
//! validators that the image has now.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::http::header::{
    self, HeaderMap, HeaderName, HeaderValue, HttpDate, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, IF_UNMODIFIED_SINCE,
};

/// What tells one version of an image from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validators {
    /// The entity tag, a strong one, without its quotes.
    pub etag: String,
    /// When the version came to be.
    pub modified: SystemTime,
    /// Whether there was no other version within the same second, so that the date is a strong
    /// validator too (section 8.8.2.2).
    pub only_one_that_second: bool,
}

/// What kind of request is made conditional.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// GET and HEAD.
    Read,
    /// Everything else.
    Write,
}

/// What becomes of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is carried out.
    Proceed,
    /// 304: the client has this version.
    NotModified,
    /// 412.
    Failed,
}

/// The conditions that a request has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
    if_modified_since: Option<SystemTime>,
    if_unmodified_since: Option<SystemTime>,
    if_range: Option<IfRange>,
}

/// A list of entity tags, or `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tags {
    any: bool,
    tags: Vec<Tag>,
    /// Whether there was anything that is no entity tag.
    malformed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tag {
    weak: bool,
    /// What stands between the quotes; it need not be UTF-8.
    opaque: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum IfRange {
    Tag(Tag),
    Date(SystemTime),
    Malformed,
}

impl Validators {
    /// The `ETag` field (section 8.8.3).
    pub fn etag_value(&self) -> String {
        format!("\"{}\"", self.etag)
    }

    /// The `Last-Modified` field (section 8.8.2).
    pub fn last_modified(&self) -> HttpDate {
        HttpDate::from(whole_seconds(self.modified))
    }

    fn is_strongly(&self, tag: &Tag) -> bool {
        !tag.weak && self.is_weakly(tag)
    }

    fn is_weakly(&self, tag: &Tag) -> bool {
        tag.opaque == self.etag.as_bytes()
    }
}

impl Conditions {
    /// The conditions of a request with these fields. Dates that are none are no condition
    /// (sections 13.1.3 and 13.1.4).
    pub fn of(headers: &HeaderMap) -> Self {
        Self {
            if_match: Tags::of(headers, &IF_MATCH),
            if_none_match: Tags::of(headers, &IF_NONE_MATCH),
            if_modified_since: date(headers, &IF_MODIFIED_SINCE),
            if_unmodified_since: date(headers, &IF_UNMODIFIED_SINCE),
            if_range: only(headers, &IF_RANGE).map(IfRange::parse),
        }
    }

    /// Whether the outcome can be anything but to proceed.
    pub fn is_empty(&self) -> bool {
        let Self { if_match, if_none_match, if_modified_since, if_unmodified_since, .. } = self;
        if_match.is_none()
            && if_none_match.is_none()
            && if_modified_since.is_none()
            && if_unmodified_since.is_none()
    }

    /// What becomes of the request, in the order of section 13.2.2. `current` is the image as it
    /// is now, none if there is none.
    pub fn evaluate(&self, access: Access, current: Option<&Validators>) -> Outcome {
        if let Some(wanted) = &self.if_match {
            if !current.is_some_and(|now| wanted.any || wanted.has(|t| now.is_strongly(t))) {
                return Outcome::Failed;
            }
        } else if let (Some(since), Some(now)) = (self.if_unmodified_since, current)
            && whole_seconds(now.modified) > since
        {
            return Outcome::Failed;
        }
        if let Some(unwanted) = &self.if_none_match {
            let there =
                current.is_some_and(|now| unwanted.any || unwanted.has(|t| now.is_weakly(t)));
            // What a writer meant to exclude cannot be told; a reader gets the image.
            let unclear = unwanted.malformed && access == Access::Write;
            return match access {
                _ if !there && !unclear => Outcome::Proceed,
                Access::Read => Outcome::NotModified,
                Access::Write => Outcome::Failed,
            };
        }
        match (access, self.if_modified_since, current) {
            (Access::Read, Some(since), Some(now)) if whole_seconds(now.modified) <= since => {
                Outcome::NotModified
            }
            _ => Outcome::Proceed,
        }
    }

    /// Whether a `Range` is to be honoured, by `If-Range` (section 13.1.5): compared strongly,
    /// since the client puts the bytes beside those that it has.
    pub fn range_holds(&self, current: &Validators) -> bool {
        match &self.if_range {
            None => true,
            Some(IfRange::Tag(tag)) => current.is_strongly(tag),
            Some(IfRange::Date(date)) => {
                current.only_one_that_second && *date == whole_seconds(current.modified)
            }
            Some(IfRange::Malformed) => false,
        }
    }
}

impl Tags {
    /// The tags of a field, on however many lines.
    fn of(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let mut lines = headers.get_all(name).peekable();
        lines.peek()?;
        let mut tags = Self::default();
        lines.for_each(|line| tags.parse(line.as_bytes()));
        Some(tags)
    }

    /// `*`, or entity tags with commas between them. Empty elements are none (section 5.6.1).
    fn parse(&mut self, line: &[u8]) {
        if line.trim_ascii() == b"*" {
            self.any = true;
            return;
        }
        let mut rest = line;
        loop {
            rest = rest.trim_ascii_start();
            match rest.first() {
                None => return,
                Some(b',') => rest = &rest[1..],
                Some(_) => match Tag::take(rest) {
                    Some((tag, after)) if is_end(after) => {
                        self.tags.push(tag);
                        rest = after;
                    }
                    // Where the next element would begin is anybody's guess.
                    _ => {
                        self.malformed = true;
                        return;
                    }
                },
            }
        }
    }

    fn has(&self, is: impl Fn(&Tag) -> bool) -> bool {
        self.tags.iter().any(is)
    }
}

fn is_end(rest: &[u8]) -> bool {
    matches!(rest.trim_ascii_start().first(), None | Some(b','))
}

impl Tag {
    /// The tag at the beginning of `text`, and what follows it (section 8.8.3).
    fn take(text: &[u8]) -> Option<(Self, &[u8])> {
        let (weak, quoted) = match text.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, text),
        };
        let inner = quoted.strip_prefix(b"\"")?;
        let end = inner.iter().position(|b| *b == b'"')?;
        let opaque = &inner[..end];
        let valid = opaque.iter().all(|b| matches!(b, 0x21 | 0x23..=0x7e | 0x80..));
        valid.then(|| (Self { weak, opaque: opaque.to_vec() }, &inner[end + 1..]))
    }
}

impl IfRange {
    fn parse(value: Option<&HeaderValue>) -> Self {
        let Some(value) = value else {
            return Self::Malformed;
        };
        match Tag::take(value.as_bytes()) {
            Some((tag, [])) => Self::Tag(tag),
            _ => parse_date(value).map_or(Self::Malformed, Self::Date),
        }
    }
}

/// A field that is there once: its value. One that is repeated has none.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<Option<&'h HeaderValue>> {
    let mut values = headers.get_all(name);
    let first = values.next()?;
    Some(values.next().is_none().then_some(first))
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    only(headers, name).flatten().and_then(parse_date)
}

/// A date in any of the three formats of section 5.6.7.
fn parse_date(value: &header::HeaderValue) -> Option<SystemTime> {
    value.to_str().ok()?.parse::<HttpDate>().ok().map(SystemTime::from)
}

/// A time as HTTP tells it.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

#[cfg(test)]
mod tests;
