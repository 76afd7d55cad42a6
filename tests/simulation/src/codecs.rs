//! For schedules that include the codecs: messages as the program writes and reads them.

use crate::network::Message;
use crate::server::{State, record};
use crate::wire::{AlreadyRead, Read, Shown};
use crate::world::World;
use leader_elector::election::{Answer, Call, Event, Sight, Version};
use leader_elector::lock::Object;
use leader_elector::record::{Content, Stamp};
use std::rc::Rc;

impl World {
    /// The body of a write, as the program writes it.
    pub fn body(&self, node: usize, lock: usize, call: &Call) -> Result<Option<Vec<u8>>, String> {
        match (self.plan.wire, call) {
            (Some(wire), Call::Write(write)) => {
                let in_hand = self.nodes[node].workers[lock].json.as_deref();
                wire.body(lock, write, in_hand).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What is wrong with the body of a write, if anything is.
    pub fn misread(&self, message: usize) -> Option<String> {
        let Message { lock, ref request, ref body, ref fields, .. } = self.network.messages[message];
        let (Some(wire), Call::Write(write), Some(body)) = (self.plan.wire, &request.call, body) else { return None };
        wire.check(lock, write, fields, body).err()
    }

    /// An answer as the program reads it, and the object that the program keeps.
    pub fn read_answer(
        &mut self,
        lock: usize,
        answer: Answer,
        state: Option<usize>,
    ) -> Result<(Answer, Option<Rc<Object>>), String> {
        match (self.plan.wire, &answer, state) {
            (Some(wire), Answer::Seen(sight), Some(state)) if sight.version.is_some() => {
                let read = already_read(&mut self.network.read[lock], state);
                let Read { object, sight } = wire.answer(lock, &self.server.objects[lock].history[state], read)?;
                Ok((Answer::Seen(sight), Some(object)))
            }
            _ => Ok((answer, None)),
        }
    }

    /// The line of a watch for this state, as the program reads it.
    pub fn read_line(&mut self, lock: usize, state: usize) -> Option<Result<Shown, String>> {
        let wire = self.plan.wire?;
        let history = &self.server.objects[lock].history;
        let read = already_read(&mut self.network.read[lock], state);
        Some(wire.line(lock, &history[state], &history[state - 1], read))
    }

    /// An answer with an object of another name, as the program reads it. It must not be a clear answer.
    pub fn answer_of_another(&mut self, lock: usize) -> Answer {
        let state = self.state_of_another(lock);
        let read = self.plan.wire.map(|wire| wire.answer_of_another(lock, &state));
        match read {
            Some(Ok(read)) => Answer::Seen(read.sight),
            Some(Err(_)) | None => Answer::Unknown,
        }
    }

    /// The event that the program makes of an object of another name, if it wrongly makes one.
    pub fn event_of_another(&mut self, lock: usize) -> Option<Event> {
        let state = self.state_of_another(lock);
        let deleted = self.random.happens(0.3);
        match self.plan.wire?.line_of_another(lock, &state, deleted) {
            Ok(Shown::Object(read)) => {
                Some(Event::Watched { resource_version: state.resource_version, sight: read.sight })
            }
            Ok(Shown::Deleted { resource_version }) => Some(Event::Watched { resource_version, sight: Sight::MISSING }),
            Ok(Shown::Ignored) | Err(_) => None,
        }
    }

    /// The state of another object, newer than all states of the lock.
    fn state_of_another(&mut self, lock: usize) -> State {
        let resource_version = self.server.objects[lock].present().resource_version + 1;
        let version = Some(Version { uid: "uid-0".into(), resource_version });
        let stamp = Stamp::Micros(self.now as i64);
        let content = match self.random.below(3) {
            0 => Content::Nothing,
            1 => record("", 1, stamp.clone(), stamp, 3),
            _ => record("stranger", 10, stamp.clone(), stamp, 3),
        };
        State { resource_version, sight: Sight { version, content, mark: None, step_down: None }, foreign_fields: 0 }
    }
}

fn already_read(states: &mut Vec<AlreadyRead>, state: usize) -> &mut AlreadyRead {
    if states.len() <= state {
        states.resize(state + 1, AlreadyRead::default());
    }
    &mut states[state]
}
