//! What is found out about a store by trying it, a finding for each thing that was tried.

use std::fmt;

use uuid::Uuid;

use super::{Error, ErrorKind, ObjectKey, Result};

/// What was tried of a store, and what came of it. Displays as one line.
#[derive(Clone, Debug)]
pub struct Finding {
    tried: String,
    verdict: Verdict,
}

#[derive(Clone, Debug)]
enum Verdict {
    Fine,
    /// It works, and could be better.
    Advice(String),
    /// It does not work: why, and what to do.
    Missing(String),
}

impl Finding {
    pub(super) fn fine(tried: impl Into<String>) -> Self {
        Self { tried: tried.into(), verdict: Verdict::Fine }
    }

    pub(super) fn advice(tried: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { tried: tried.into(), verdict: Verdict::Advice(advice.into()) }
    }

    pub(super) fn missing(tried: impl Into<String>, why: impl Into<String>) -> Self {
        Self { tried: tried.into(), verdict: Verdict::Missing(why.into()) }
    }

    /// Whether something has to be done about it.
    pub fn is_missing(&self) -> bool {
        matches!(self.verdict, Verdict::Missing(_))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = match &self.verdict {
            Verdict::Fine => format!("ok: {}", self.tried),
            Verdict::Advice(advice) => format!("advice: {}: {advice}", self.tried),
            Verdict::Missing(why) => format!("missing: {}: {why}", self.tried),
        };
        // A store's own words may have anything in them.
        f.write_str(&line.replace(char::is_control, " "))
    }
}

/// Keys below `staging` for what is tried, which no other diagnosis has. They look like those of
/// staged uploads, so that what one that is killed leaves is cleared away as theirs is.
///
/// # Errors
/// [`ErrorKind::Internal`] when `staging` is no key's beginning.
pub(super) fn keys<const N: usize>(staging: &str) -> Result<[ObjectKey; N]> {
    let wrong = |cause| Error::new(ErrorKind::Internal, "diagnose").because(cause);
    let folder = ObjectKey::from_segments(&[staging, "gatehouse-check"]).map_err(wrong)?;
    let key = |_| ObjectKey::parse(&format!("{folder}/{}", Uuid::now_v7())).map_err(wrong);
    let keys = (0..N).map(key).collect::<Result<Vec<_>>>()?;
    let wrong = |_| Error::new(ErrorKind::Internal, "diagnose");
    keys.try_into().map_err(wrong)
}
