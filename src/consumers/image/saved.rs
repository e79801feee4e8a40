//! An inspection that goes on in another process: what of the file has mattered so far is enough
//! to come to the same state again, since nothing else was looked at.

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD as BASE64};
use serde::{Deserialize, Serialize};

use super::{Dimensions, Error, ImageType, Inspector, Magic, State, Walk};

/// An inspection as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Saved(Inner);

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
enum Inner {
    Known {
        content_type: String,
        width: u32,
        height: u32,
        frames: u32,
    },
    /// The file's first bytes and those that its head asked for, both in base64.
    Seen {
        position: u64,
        magic: String,
        read: String,
    },
}

impl Inspector {
    /// One that can be saved. In return it refuses files of which more than 256 KiB matter.
    pub fn resumable() -> Self {
        Self { traced: true, ..Self::new() }
    }

    /// How it is taken up again; none once it has failed.
    pub fn save(&self) -> Option<Saved> {
        let seen = |position: u64, magic: &Magic, read: &[u8]| Inner::Seen {
            position,
            magic: BASE64.encode(magic.prefix()),
            read: BASE64.encode(read),
        };
        Some(Saved(match &self.state {
            State::Beginning(magic) => seen(magic.prefix().len() as u64, magic, &[]),
            State::Head(magic, walk) => seen(walk.position(), magic, &walk.seen()),
            State::Known(Dimensions { width, height, frames }) => Inner::Known {
                content_type: self.image_type?.content_type().to_owned(),
                width: *width,
                height: *height,
                frames: *frames,
            },
            State::Failed(_) => return None,
        }))
    }

    /// Takes an inspection up again.
    ///
    /// # Errors
    /// When it was not written by [`save`](Self::save).
    pub fn restore(saved: &Saved) -> Result<Self, Error> {
        const BROKEN: Error = Error::Invalid("The inspection cannot be taken up again.");
        let decoded = |text: &str| BASE64.decode(text).map_err(|_| BROKEN);
        match &saved.0 {
            Inner::Known { content_type, width, height, frames } => {
                let image_type = ImageType::from_content_type(content_type).ok_or(BROKEN)?;
                let dimensions = Dimensions { width: *width, height: *height, frames: *frames };
                let state = State::Known(dimensions);
                Ok(Self { image_type: Some(image_type), state, traced: true })
            }
            Inner::Seen { position, magic: prefix, read } => {
                let mut magic = Magic::default();
                let Some(head) = magic.feed(&decoded(prefix)?)? else {
                    return Ok(Self {
                        image_type: None,
                        state: State::Beginning(magic),
                        traced: true,
                    });
                };
                let walk = Walk::again(head(), *position, &decoded(read)?)?;
                let image_type = walk.image_type();
                Ok(Self { image_type, state: State::Head(magic, walk), traced: true })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::all;
    use super::*;

    #[test]
    fn an_inspection_goes_on_wherever_it_was_saved() {
        for (bytes, expected) in all() {
            for cut in 0..=bytes.len() {
                let mut inspector = Inspector::resumable();
                inspector.push(&bytes[..cut]).unwrap();
                let saved = serde_json::to_string(&inspector.save().unwrap()).unwrap();
                let mut again = Inspector::restore(&serde_json::from_str(&saved).unwrap()).unwrap();
                assert_eq!(again.image_type(), inspector.image_type());
                assert_eq!(again.dimensions(), inspector.dimensions());
                assert_eq!(serde_json::to_string(&again.save().unwrap()).unwrap(), saved);
                again.push(&bytes[cut..]).unwrap();
                assert_eq!(again.finish(), expected, "cut at {cut}");
            }
        }
    }

    #[test]
    fn only_what_is_wanted_need_be_read() {
        for (bytes, expected) in all() {
            let mut inspector = Inspector::new();
            let mut read = 0;
            while let Some(from) = inspector.wanted().map(|from| from as usize)
                && from < bytes.len()
            {
                inspector.skip();
                let to = (from + 16).min(bytes.len());
                inspector.push(&bytes[from..to]).unwrap();
                read += to - from;
            }
            assert_eq!(inspector.finish(), expected);
            assert!(read <= bytes.len() + 16);
        }
    }

    #[test]
    fn a_head_without_end_is_refused_rather_than_kept() {
        let mut inspector = Inspector::resumable();
        inspector.push(b"\xff\xd8").unwrap();
        let mut pushed = Ok(());
        for _ in 0..100_000 {
            pushed = inspector.push(b"\xff\xe0\0\x02");
            if pushed.is_err() {
                break;
            }
        }
        assert!(matches!(pushed, Err(Error::Invalid(_))));
    }
}
