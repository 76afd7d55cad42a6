//! Requests and answers in flight, and their faults.

use crate::clock::MILLI;
use crate::node::{Input, believes};
use crate::oracle::{Sent, Via, Writer};
use crate::server::{OtherFields, Verdict};
use crate::wire::AlreadyRead;
use crate::world::{Occurrence, World};
use leader_elector::election::{Answer, Call, Event, LockRequest, Purpose, Sight};
use std::time::Duration;

/// A request, with its sender and the time of sending.
#[derive(Clone, Debug)]
pub struct Message {
    pub node: usize,
    pub process: usize,
    pub lock: usize,
    pub request: LockRequest,
    sent: u64,
    /// For a write: the other fields of the object that it was based on.
    pub fields: OtherFields,
    answered: bool,
    /// The answer was not changed on the way.
    sound: bool,
    /// The write as JSON, if the codecs are included.
    pub body: Option<Vec<u8>>,
}

/// How the API server is unreachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Requests hang until they time out.
    Silent,
    /// They fail at once.
    Refusing,
}

#[derive(Clone, Debug, Default)]
pub struct Network {
    pub messages: Vec<Message>,
    answers: Vec<(Answer, Option<usize>)>,
    /// Copies of creates that are delayed until the object does not exist.
    late_creations: Vec<usize>,
    pub outage: Option<(Outage, u64)>,
    /// The parsed states of each lock, if the codecs are included.
    pub read: [Vec<AlreadyRead>; 2],
    /// Requests that each node has sent.
    pub requests: Vec<u32>,
}

/// Without faults: the longest time that a message takes, and the longest delay of a watch event.
pub const LONGEST_WAY: u64 = 5 * MILLI;
pub const WATCH_LAG: u64 = 2 * MILLI;

impl Network {
    /// When a message was sent.
    pub fn sent(&self, message: usize) -> u64 {
        self.messages[message].sent
    }
}

impl World {
    pub fn send(&mut self, node: usize, lock: usize, request: LockRequest) {
        let it = &self.nodes[node];
        let mut fields = OtherFields::default();
        if let Call::Write(write) = &request.call {
            let base = write.base.as_ref().map(|base| (base.resource_version, !base.uid.is_empty()));
            self.oracle.sends(it.process, lock, self.now, base, purpose_of(write.purpose));
            match (&it.workers[lock].object, &write.base) {
                (Some((in_hand, there)), Some(base))
                    if *in_hand == base.resource_version || base.resource_version == 0 =>
                {
                    fields = there.clone().after(write);
                }
                (_, Some(_)) => {
                    return self
                        .fail("object", format!("{} has not the object that it is to replace", self.name(node)));
                }
                (_, None) => {}
            }
        }
        let body = match self.body(node, lock, &request.call) {
            Ok(body) => body,
            Err(what) => return self.fail("codecs", what),
        };
        let it = &self.nodes[node];
        let timeout = it.clock.lasts(request.timeout.as_nanos() as u64);
        let message = self.network.messages.len();
        let it = &mut self.nodes[node];
        if it.workers[lock].outstanding.replace(message).is_some() {
            it.sound_since = self.now;
        }
        let (process, sent) = (it.process, self.now);
        self.network.requests.resize(self.nodes.len(), 0);
        self.network.requests[node] += 1;
        self.network.messages.push(Message {
            node,
            process,
            lock,
            request,
            sent,
            fields,
            answered: false,
            sound: true,
            body,
        });
        let fault_rates = &self.plan.fault_rates;
        let (hung, lost, twice) = (fault_rates.hung, fault_rates.request_lost, fault_rates.sent_twice);
        if !self.fault(hung) {
            self.schedule(self.now + timeout, Occurrence::TimesOut { message });
        }
        if self.outage() == Some(Outage::Refusing) {
            self.network.messages[message].sound = false;
            let way = self.way();
            let answer = self.new_answer(Answer::Unknown, None);
            return self.schedule(self.now + way, Occurrence::Returns { message, answer });
        }
        if self.outage().is_some() || self.fault(lost) {
            return;
        }
        let way = self.way();
        self.schedule(self.now + way, Occurrence::Arrives { message });
        let creates =
            matches!(&self.network.messages[message].request.call, Call::Write(write) if write.base.is_none());
        if creates && twice > 0.0 {
            self.network.late_creations.push(message);
        }
        if self.fault(twice) {
            let again = self.way();
            self.schedule(self.now + way + again, Occurrence::Arrives { message });
        }
    }

    /// Whether a fault of this probability happens now.
    pub fn fault(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.faulty() && self.random.happens(probability)
    }

    pub fn outage(&self) -> Option<Outage> {
        self.network.outage.filter(|(_, until)| self.now < *until).map(|(outage, _)| outage)
    }

    /// How long a message takes. All delayed messages arrive before the faults end.
    fn way(&mut self) -> u64 {
        let usual = self.random.below(LONGEST_WAY - MILLI / 10) + MILLI / 10;
        if self.fault(self.plan.fault_rates.delayed) {
            let longest = self.random.one_of(&[self.plan.longest_lease / 8, 3 * self.plan.longest_lease]);
            let late = self.random.below(longest);
            return late.min(self.plan.faults_until - self.now).max(usual);
        }
        usual
    }

    /// The object is gone: delayed creates may arrive now.
    pub fn deliver_late_creations(&mut self) {
        for message in std::mem::take(&mut self.network.late_creations) {
            if self.random.happens(0.5) {
                let way = self.way();
                self.schedule(self.now + way, Occurrence::Arrives { message });
            }
        }
    }

    fn new_answer(&mut self, answer: Answer, state: Option<usize>) -> usize {
        self.network.answers.push((answer, state));
        self.network.answers.len() - 1
    }

    pub fn arrives(&mut self, message: usize) {
        let it = &self.network.messages[message];
        let (node, lock, reading) = (it.node, it.lock, it.request.call == Call::Read);
        let refused = self.fault(self.plan.fault_rates.refused);
        let (answer, state) = if refused { (self.refusal(reading), None) } else { self.handle_request(message) };
        self.say(|world| {
            let call = &world.network.messages[message].request.call;
            format!("server: {} lock {lock} {call:?}\n    -> {answer:?}", world.name(node))
        });
        if self.outage().is_some() || self.fault(self.plan.fault_rates.answer_lost) {
            return;
        }
        let wrong = self.fault(self.plan.fault_rates.wrong_answer);
        let (answer, state) = if wrong { self.wrong_answer(lock, reading) } else { (answer, state) };
        let absent = self.fault(self.plan.fault_rates.false_absence);
        let (answer, state) = if absent { (absence(reading), None) } else { (answer, state) };
        if refused || wrong || absent {
            self.network.messages[message].sound = false;
        }
        let way = self.way();
        let answer = self.new_answer(answer, state);
        self.schedule(self.now + way, Occurrence::Returns { message, answer });
    }

    fn refusal(&mut self, reading: bool) -> Answer {
        match self.random.below(6) {
            0 => Answer::Denied,
            1 => Answer::Busy(Some(Duration::from_nanos(self.random.below(self.plan.longest_lease)))),
            2 => Answer::Busy(None),
            3 if !reading => Answer::Conflict,
            4 if !reading => Answer::Absent,
            _ => Answer::Unknown,
        }
    }

    /// A proxy replaces the answer of the server by another 2xx. Not for reads: no candidate can detect a wrong answer
    /// to a read.
    fn wrong_answer(&mut self, lock: usize, reading: bool) -> (Answer, Option<usize>) {
        if reading {
            return (Answer::Unknown, None);
        }
        let history = &self.server.objects[lock].history;
        let index = self.random.below(history.len() as u64) as usize;
        let sight = &history[index].sight;
        if sight.version.is_some() { (Answer::Seen(sight.clone()), Some(index)) } else { (Answer::Unknown, None) }
    }

    fn handle_request(&mut self, message: usize) -> (Answer, Option<usize>) {
        if let Some(what) = self.misread(message) {
            self.fail("codecs", what);
        }
        let Message { process, lock, ref request, sent, ref fields, .. } = self.network.messages[message];
        if let Call::Write(write) = &request.call {
            let before = self.server.objects[lock].history.len();
            match self.server.write(lock, write, fields) {
                Verdict::Done => {}
                Verdict::NotFound => return (Answer::Absent, None),
                Verdict::Conflict => return (Answer::Conflict, None),
            }
            if self.server.objects[lock].history.len() > before {
                self.changed(lock, Writer::Candidate { process, sent });
            }
        }
        let history = &self.server.objects[lock].history;
        (Answer::Seen(self.server.objects[lock].present().sight.clone()), Some(history.len() - 1))
    }

    pub fn returns(&mut self, message: usize, answer: usize) {
        let (answer, state) = std::mem::replace(&mut self.network.answers[answer], (Answer::Unknown, None));
        self.deliver(message, answer, state);
    }

    pub fn times_out(&mut self, message: usize) {
        if !self.network.messages[message].answered {
            self.network.messages[message].sound = false;
            self.deliver(message, Answer::Unknown, None);
        }
    }

    /// The first answer counts. An answer to a request that was given up, or of another process, is dropped.
    fn deliver(&mut self, message: usize, answer: Answer, state: Option<usize>) {
        let it = &mut self.network.messages[message];
        if std::mem::replace(&mut it.answered, true) {
            return;
        }
        let (node, process) = (it.node, it.process);
        if self.nodes[node].process == process {
            self.give(node, Input::Answered { message, answer: Box::new(answer), state });
        }
    }

    pub fn answered(&mut self, node: usize, message: usize, answer: Answer, state: Option<usize>) {
        let (lock, number) = (self.network.messages[message].lock, self.network.messages[message].request.number);
        let it = &mut self.nodes[node];
        if it.workers[lock].outstanding.take_if(|outstanding| *outstanding == message).is_none() {
            return;
        }
        let (answer, json) = match self.read_answer(lock, answer, state) {
            Ok(read) => read,
            Err(what) => return self.fail("codecs", what),
        };
        let of_another = self.plan.wire.is_some() && self.fault(self.plan.fault_rates.other_object);
        let (answer, state, json) = if of_another {
            self.network.messages[message].sound = false;
            (self.answer_of_another(lock), None, None)
        } else {
            (answer, state, json)
        };
        let shown = match &answer {
            Answer::Seen(sight) => sight.version.as_ref().map(|version| version.resource_version),
            _ => None,
        };
        let Message { sent, sound, .. } = self.network.messages[message];
        if !sound || self.now > sent + 2 * LONGEST_WAY {
            self.nodes[node].sound_since = self.now;
        }
        let missing = answer == Answer::Seen(Sight::MISSING);
        let outcome = self.step_machine(node, lock, Event::Answered { request: number, answer });
        let history = &self.server.objects[lock].history;
        let nothing_known = OtherFields { foreign_fields: u64::MAX, ..OtherFields::default() };
        let fields = state.map_or(nothing_known, |state| history[state].other_fields());
        let it = &mut self.nodes[node];
        it.keep(it.machine_of(lock), shown, fields, json);
        let process = it.process;
        let via = match self.network.messages[message].request.call {
            Call::Read => Via::Read,
            Call::Write(_) => Via::Write { sent },
        };
        // A false report of absence may have become true in the meantime.
        let present = self.server.objects[lock].history.len() - 1;
        let state = state.or((missing && self.present(lock).version.is_none()).then_some(present));
        let it = &self.nodes[node];
        let took = it.clock.at(self.now).since(it.clock.at(sent));
        let request = &self.network.messages[message].request;
        // When it gives up the lock, it also gives up its request.
        let gave_up = it.stopped_at.is_some() || it.not_standing_at.is_some_and(|at| at >= sent);
        let believed = believes(&it.lock_set, it.machine_of(lock), request, took, gave_up, shown);
        match state.filter(|_| believed) {
            Some(state) => self.oracle.shown(process, lock, self.now, state, via),
            None if missing => self.oracle.misled(process, lock),
            None => {}
        }
        self.follow(node, outcome);
    }

    /// The present state of the lock.
    pub fn present(&self, lock: usize) -> &Sight {
        &self.server.objects[lock].present().sight
    }
}

/// The purpose of a write, in the oracle's terms.
pub fn purpose_of(purpose: Purpose) -> Sent {
    match purpose {
        Purpose::Acquire => Sent::Acquisition,
        Purpose::Renew { .. } | Purpose::Keep => Sent::Renewal,
        Purpose::Release => Sent::Release,
    }
}

/// The answer that says that there is no object.
fn absence(reading: bool) -> Answer {
    if reading { Answer::Seen(Sight::MISSING) } else { Answer::Absent }
}
