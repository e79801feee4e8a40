//! What a test's clients asked for and what they were told, so that it can be said afterwards
//! what the server may have and what it must have.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::http::Response;
use super::text::sha256;

/// What stands under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// An image with these bytes.
    Image { sha256: String, size: u64 },
    /// No image.
    Absent,
}

impl Content {
    /// An image of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::Image { sha256: sha256(bytes), size: bytes.len() as u64 }
    }
}

/// All that was asked for, in the order of one clock. Cheap to clone.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Acts>>);

#[derive(Default)]
struct Acts {
    clock: u64,
    names: BTreeMap<String, Vec<Act>>,
}

/// A change that a client asked for.
#[derive(Clone, Debug)]
struct Act {
    content: Content,
    began: u64,
    /// When it was acknowledged; what never was may come about at any time until it is settled.
    acknowledged: Option<u64>,
    /// The record's id, where the client was told.
    id: Option<String>,
    refused: bool,
}

/// A change that is under way. Dropped, nobody was told what became of it.
pub struct UnderWay {
    journal: Journal,
    key: String,
    at: usize,
}

impl Journal {
    /// A client begins to upload these bytes to this key.
    pub fn upload(&self, key: &str, bytes: &[u8]) -> UnderWay {
        self.begin(key, Content::of(bytes))
    }

    /// A client begins to delete what has this key.
    pub fn delete(&self, key: &str) -> UnderWay {
        self.begin(key, Content::Absent)
    }

    fn begin(&self, key: &str, content: Content) -> UnderWay {
        let mut acts = self.acts();
        let began = acts.tick();
        let history = acts.names.entry(key.to_owned()).or_default();
        history.push(Act { content, began, acknowledged: None, id: None, refused: false });
        UnderWay { journal: self.clone(), key: key.to_owned(), at: history.len() - 1 }
    }

    /// All keys that anything was asked for.
    pub fn keys(&self) -> Vec<String> {
        self.acts().names.keys().cloned().collect()
    }

    /// What may stand under a key, each with the record's id where it is known: what was asked
    /// for and no acknowledged change that began later has replaced.
    pub fn possible(&self, key: &str) -> Vec<(Content, Option<String>)> {
        let acts = self.acts();
        let history = acts.names.get(key).map(Vec::as_slice).unwrap_or_default();
        let replaced =
            |ended: u64| history.iter().any(|a| a.acknowledged.is_some() && a.began > ended);
        let last = history.iter().filter(|act| !act.refused);
        let last = last.filter(|act| act.acknowledged.is_none_or(|ended| !replaced(ended)));
        let mut possible: Vec<_> = last.map(|act| (act.content.clone(), act.id.clone())).collect();
        if !replaced(0) {
            possible.push((Content::Absent, None));
        }
        possible
    }

    /// Whether anybody asked for these bytes to stand under this key, since it was last settled.
    pub fn has(&self, key: &str, bytes: &[u8]) -> bool {
        let (acts, content) = (self.acts(), Content::of(bytes));
        let mut history = acts.names.get(key).into_iter().flatten();
        history.any(|act| act.content == content && !act.refused)
    }

    /// Everything is settled and this is what stands under a key: nothing that was begun
    /// before can change it any more.
    pub fn settle(&self, key: &str, content: Content, id: Option<String>) {
        let mut acts = self.acts();
        let (began, ended) = (acts.tick(), acts.tick());
        let settled = Act { content, began, acknowledged: Some(ended), id, refused: false };
        acts.names.insert(key.to_owned(), vec![settled]);
    }

    fn acts(&self) -> MutexGuard<'_, Acts> {
        self.0.lock().unwrap()
    }
}

impl Acts {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

impl UnderWay {
    /// The client was told that it is done; an upload's answer has the record's id.
    pub fn acknowledged(self, id: Option<&str>) {
        let mut acts = self.journal.acts();
        let ended = acts.tick();
        let act = &mut acts.names.get_mut(&self.key).expect("a key of the journal")[self.at];
        (act.acknowledged, act.id) = (Some(ended), id.map(str::to_owned));
    }

    /// The client was told that nothing was done.
    pub fn refused(self) {
        let mut acts = self.journal.acts();
        acts.names.get_mut(&self.key).expect("a key of the journal")[self.at].refused = true;
    }

    /// The client got this answer, or none.
    pub fn answered(self, response: Option<&Response>) {
        match response.map(|response| (response.status, response)) {
            Some((201, response)) => {
                let body = response.json();
                assert_eq!(body["storedName"], self.key.as_str());
                self.acknowledged(Some(body["id"].as_str().expect("id")));
            }
            Some((204, _)) => self.acknowledged(None),
            Some((400..500 | 507, _)) => self.refused(),
            // What a server that failed has done, nobody knows.
            Some((500.., _)) | None => {}
            Some((status, response)) => panic!("{status} {}", response.text()),
        }
    }
}

#[test]
fn what_may_stand_under_a_name_follows_from_what_was_told() {
    let journal = Journal::default();
    let possible = |name: &str| {
        journal.possible(name).into_iter().map(|(content, _)| content).collect::<Vec<_>>()
    };
    assert_eq!(possible("a"), [Content::Absent]);
    // Never acknowledged: there, or not.
    drop(journal.upload("a", b"1"));
    assert_eq!(possible("a"), [Content::of(b"1"), Content::Absent]);
    // Of two at once either may be the last; what began and was told before is not.
    let (two, three) = (journal.upload("a", b"2"), journal.upload("a", b"3"));
    two.acknowledged(Some("id"));
    three.acknowledged(Some("id"));
    assert_eq!(possible("a"), [Content::of(b"1"), Content::of(b"2"), Content::of(b"3")]);
    let four = journal.upload("a", b"4");
    four.refused();
    journal.delete("a").acknowledged(None);
    assert_eq!(possible("a"), [Content::of(b"1"), Content::Absent]);
    journal.settle("a", Content::Absent, None);
    assert_eq!(possible("a"), [Content::Absent]);
    journal.upload("a", b"5").acknowledged(Some("id"));
    assert_eq!(journal.possible("a"), [(Content::of(b"5"), Some("id".into()))]);
    assert!(journal.has("a", b"5") && !journal.has("a", b"3"));
}
