//! A model of the API server: one object with compare-and-swap, and the history that watches replay.

use leader_elector::election::{Answer, Call, Sight, Version, Write};

pub struct Server {
    pub object: Sight,
    pub resource_version: u64,
    uids: u64,
    /// Every state the object has had, with its resourceVersion; a deletion has one as well.
    pub history: Vec<(u64, Sight)>,
}

impl Server {
    pub fn new() -> Server {
        Server { object: Sight::MISSING, resource_version: 100, uids: 0, history: Vec::new() }
    }

    pub fn handle(&mut self, call: &Call) -> Answer {
        match call {
            Call::Read => Answer::Seen(self.object.clone()),
            Call::Write(write) => self.write(write),
        }
    }

    fn write(&mut self, write: &Write) -> Answer {
        let uid = match (&write.base, &self.object.version) {
            (None, None) => {
                self.uids += 1;
                format!("uid-{}", self.uids).into()
            }
            (Some(base), Some(version)) if base == version => version.uid.clone(),
            _ => return Answer::Conflict,
        };
        let content = leader_elector::record::Content::Record(write.record.clone());
        self.commit(Some(uid), Sight { version: None, content, mark: Some(write.mark.clone()) });
        Answer::Seen(self.object.clone())
    }

    /// Somebody writes a field that is not the record.
    pub fn touch(&mut self) {
        if let Some(version) = self.object.version.clone() {
            self.commit(Some(version.uid), self.object.clone());
        }
    }

    pub fn delete(&mut self) {
        if self.object.version.is_some() {
            self.commit(None, Sight::MISSING);
        }
    }

    fn commit(&mut self, uid: Option<std::sync::Arc<str>>, sight: Sight) {
        self.resource_version += 1;
        let version = uid.map(|uid| Version { uid, resource_version: self.resource_version });
        self.object = Sight { version, ..sight };
        self.history.push((self.resource_version, self.object.clone()));
    }
}
