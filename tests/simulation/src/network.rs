//! Requests and answers on their way, the watches, and what goes wrong with them.

use crate::clock::MILLI;
use crate::node::{Input, believes};
use crate::oracle::{Via, Writer};
use crate::server::{State, Verdict, record};
use crate::wire::{AlreadyRead, Read, Shown};
use crate::world::{What, World};
use leader_elector::election::{Answer, Call, Event, Purpose, Request, Sight, Version};
use leader_elector::lock::Object;
use leader_elector::record::{Content, Stamp};
use std::rc::Rc;
use std::time::Duration;

/// A request, and who sent it when.
#[derive(Clone, Debug)]
pub struct Message {
    pub node: usize,
    pub life: usize,
    pub lock: usize,
    request: Request,
    sent: u64,
    /// The fields of the object it was made from.
    foreign_fields: u64,
    answered: bool,
    /// Nobody in between has had a hand in its answer.
    sound: bool,
    /// A write as JSON, where the codecs are part of the world.
    body: Option<Vec<u8>>,
}

/// How the API server is out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Requests hang until they time out.
    Silent,
    /// They fail at once.
    Refusing,
}

#[derive(Clone, Debug, Default)]
pub struct Network {
    messages: Vec<Message>,
    answers: Vec<(Answer, Option<usize>)>,
    /// Copies of creations that are held up until the object they create is not there.
    late_creations: Vec<usize>,
    pub outage: Option<(Outage, u64)>,
    /// What has been read of each state of each lock, where the codecs are part of the world.
    read: [Vec<AlreadyRead>; 2],
    /// Requests that each node has sent.
    pub requests: Vec<u32>,
}

/// The longest way in a network without faults, and the longest that a watch takes to show something there.
pub const LONGEST_WAY: u64 = 5 * MILLI;
pub const WATCH_LAG: u64 = 2 * MILLI;

impl Network {
    /// When a message was sent.
    pub fn sent(&self, message: usize) -> u64 {
        self.messages[message].sent
    }
}

impl World {
    // ---- Requests -------------------------------------------------------------------------------------

    pub fn send(&mut self, node: usize, lock: usize, request: Request) {
        let it = &self.nodes[node];
        let mut foreign_fields = 0;
        if let Call::Write(write) = &request.call {
            let base = write.base.as_ref().map(|base| (base.resource_version, !base.uid.is_empty()));
            self.oracle.sends(it.life, self.now, base, write.purpose == Purpose::Release);
            match (it.lanes[lock].object, &write.base) {
                (Some((in_hand, fields)), Some(base))
                    if in_hand == base.resource_version || base.resource_version == 0 =>
                {
                    foreign_fields = fields
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
        if it.lanes[lock].outstanding.replace(message).is_some() {
            it.sound_since = self.now;
        }
        let (life, sent) = (it.life, self.now);
        self.network.requests.resize(self.nodes.len(), 0);
        self.network.requests[node] += 1;
        self.network.messages.push(Message {
            node,
            life,
            lock,
            request,
            sent,
            foreign_fields,
            answered: false,
            sound: true,
            body,
        });
        let chances = &self.plan.chances;
        let (hung, lost, twice) = (chances.hung, chances.request_lost, chances.sent_twice);
        if !self.fault(hung) {
            self.schedule(self.now + timeout, What::TimesOut { message });
        }
        if self.outage() == Some(Outage::Refusing) {
            self.network.messages[message].sound = false;
            let way = self.way();
            let answer = self.new_answer(Answer::Unknown, None);
            return self.schedule(self.now + way, What::Returns { message, answer });
        }
        if self.outage().is_some() || self.fault(lost) {
            return;
        }
        let way = self.way();
        self.schedule(self.now + way, What::Arrives { message });
        let creates =
            matches!(&self.network.messages[message].request.call, Call::Write(write) if write.base.is_none());
        if creates && twice > 0.0 {
            self.network.late_creations.push(message);
        }
        if self.fault(twice) {
            let again = self.way();
            self.schedule(self.now + way + again, What::Arrives { message });
        }
    }

    /// Whether a fault of this probability happens now.
    fn fault(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.faulty() && self.random.happens(probability)
    }

    fn outage(&self) -> Option<Outage> {
        self.network.outage.filter(|(_, until)| self.now < *until).map(|(outage, _)| outage)
    }

    /// How long something takes on its way. All that was late has come when the faults end.
    fn way(&mut self) -> u64 {
        let usual = self.random.below(LONGEST_WAY - MILLI / 10) + MILLI / 10;
        if self.fault(self.plan.chances.delayed) {
            let longest = self.random.one_of(&[self.plan.longest_lease / 8, 3 * self.plan.longest_lease]);
            let late = self.random.below(longest);
            return late.min(self.plan.faults_until - self.now).max(usual);
        }
        usual
    }

    /// The object is gone: what was to create it earlier, and was held up, may come now.
    pub fn deliver_late_creations(&mut self) {
        for message in std::mem::take(&mut self.network.late_creations) {
            if self.random.happens(0.5) {
                let way = self.way();
                self.schedule(self.now + way, What::Arrives { message });
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
        let refused = self.fault(self.plan.chances.refused);
        let (answer, state) = if refused { (self.refusal(reading), None) } else { self.handle_request(message) };
        self.say(|world| {
            let call = &world.network.messages[message].request.call;
            format!("server: {} lock {lock} {call:?}\n    -> {answer:?}", world.name(node))
        });
        if self.outage().is_some() || self.fault(self.plan.chances.answer_lost) {
            return;
        }
        let wrong = self.fault(self.plan.chances.wrong_answer);
        let (answer, state) = if wrong { self.wrong_answer(lock, reading) } else { (answer, state) };
        let absent = self.fault(self.plan.chances.false_absence);
        let (answer, state) = if absent { (absence(reading), None) } else { (answer, state) };
        if refused || wrong || absent {
            self.network.messages[message].sound = false;
        }
        let way = self.way();
        let answer = self.new_answer(answer, state);
        self.schedule(self.now + way, What::Returns { message, answer });
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

    /// Somebody in between answers 2xx with another thing than came from the server. To a read that would be a lie about
    /// the lock, which nobody can withstand.
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
        let Message { life, lock, ref request, sent, foreign_fields, .. } = self.network.messages[message];
        if let Call::Write(write) = &request.call {
            let before = self.server.objects[lock].history.len();
            match self.server.write(lock, write, foreign_fields) {
                Verdict::Done => {}
                Verdict::NotFound => return (Answer::Absent, None),
                Verdict::Conflict => return (Answer::Conflict, None),
            }
            if self.server.objects[lock].history.len() > before {
                self.changed(lock, Writer::Candidate { life, sent });
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

    /// The first answer counts; one that is given up, or another life's, reaches nobody.
    fn deliver(&mut self, message: usize, answer: Answer, state: Option<usize>) {
        let it = &mut self.network.messages[message];
        if std::mem::replace(&mut it.answered, true) {
            return;
        }
        let (node, life) = (it.node, it.life);
        if self.nodes[node].life == life {
            self.give(node, Input::Answered { message, answer, state });
        }
    }

    pub fn answered(&mut self, node: usize, message: usize, answer: Answer, state: Option<usize>) {
        let (lock, number) = (self.network.messages[message].lock, self.network.messages[message].request.number);
        let it = &mut self.nodes[node];
        if it.lanes[lock].outstanding.take_if(|outstanding| *outstanding == message).is_none() {
            return;
        }
        let (answer, json) = match self.read_answer(lock, answer, state) {
            Ok(read) => read,
            Err(what) => return self.fail("codecs", what),
        };
        let of_another = self.plan.wire.is_some() && self.fault(self.plan.chances.other_object);
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
        let fields = state.map_or(u64::MAX, |state| history[state].foreign_fields);
        let it = &mut self.nodes[node];
        it.keep(it.machine_of(lock), shown, fields, json);
        let life = it.life;
        let via = match self.network.messages[message].request.call {
            Call::Read => Via::Read,
            Call::Write(_) => Via::Write { sent },
        };
        // A lie about absence may have become true on its way.
        let present = self.server.objects[lock].history.len() - 1;
        let state = state.or((missing && self.present(lock).version.is_none()).then_some(present));
        let it = &self.nodes[node];
        let took = it.clock.at(self.now) - it.clock.at(sent);
        let request = &self.network.messages[message].request;
        let believed = believes(&it.lock_set, it.machine_of(lock), request, took, it.stopped, shown);
        match state.filter(|_| believed) {
            Some(state) => self.oracle.shown(life, lock, self.now, state, via),
            None if missing => self.oracle.misled(life, lock),
            None => {}
        }
        self.tell_oracle(node);
        self.obey(node, outcome);
    }

    // ---- Codecs ---------------------------------------------------------------------------------------

    /// The body of a write, as the program writes it.
    fn body(&self, node: usize, lock: usize, call: &Call) -> Result<Option<Vec<u8>>, String> {
        match (self.plan.wire, call) {
            (Some(wire), Call::Write(write)) => {
                let in_hand = self.nodes[node].lanes[lock].json.as_deref();
                wire.body(lock, write, in_hand).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What is wrong with the body of a write.
    fn misread(&self, message: usize) -> Option<String> {
        let Message { lock, ref request, ref body, foreign_fields, .. } = self.network.messages[message];
        let (Some(wire), Call::Write(write), Some(body)) = (self.plan.wire, &request.call, body) else { return None };
        wire.check(lock, write, foreign_fields, body).err()
    }

    /// An answer as the program reads it, and the object that it keeps.
    fn read_answer(
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

    /// An answer that shows an object of another name, as the program reads it: no clear answer.
    fn answer_of_another(&mut self, lock: usize) -> Answer {
        let state = self.state_of_another(lock);
        let read = self.plan.wire.map(|wire| wire.answer_of_another(lock, &state));
        match read {
            Some(Ok(read)) => Answer::Seen(read.sight),
            Some(Err(_)) | None => Answer::Unknown,
        }
    }

    /// An event of an object of another name, if the program takes it for one of the lock.
    fn event_of_another(&mut self, lock: usize) -> Option<Event> {
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

    /// What another object holds, newer than all that has been seen of the lock.
    fn state_of_another(&mut self, lock: usize) -> State {
        let resource_version = self.server.objects[lock].present().resource_version + 1;
        let version = Some(Version { uid: "uid-0".into(), resource_version });
        let stamp = Stamp::Micros(self.now as i64);
        let content = match self.random.below(3) {
            0 => Content::Nothing,
            1 => record("", 1, stamp.clone(), stamp, 3),
            _ => record("stranger", 10, stamp.clone(), stamp, 3),
        };
        State { resource_version, sight: Sight { version, content, mark: None }, foreign_fields: 0 }
    }

    // ---- Watches --------------------------------------------------------------------------------------

    /// A new stream, from what was shown last or from the object as it is.
    pub fn opens_watch(&mut self, node: usize, lock: usize, generation: u64) {
        let it = &self.nodes[node];
        if !it.running || it.lanes[lock].watch.generation != generation || it.lanes[lock].watch.open {
            return;
        }
        if self.outage().is_some() {
            let wait = self.random.below(self.nodes[node].member.retry_period);
            return self.schedule(self.now + MILLI + wait, What::OpensWatch { node, lock, generation });
        }
        let present = self.server.objects[lock].history.len() - 1;
        // What the server keeps in memory may be a little old.
        let stale = self.fault(self.plan.chances.watch_stale);
        let first = if stale { present.saturating_sub(self.random.below(4) as usize) } else { present };
        let resumes = self.random.happens(0.5);
        let silent = self.fault(self.plan.chances.watch_silent);
        let watch = &mut self.nodes[node].lanes[lock].watch;
        if !resumes || watch.shown == 0 {
            // A stream from the start begins with the object, if it is there.
            let there = self.server.objects[lock].history[first].sight.version.is_some();
            watch.shown = if there { first } else { first + 1 };
        }
        (watch.open, watch.silent) = (true, silent);
        watch.busy_until = watch.busy_until.max(self.now);
        let behind = watch.shown < present + 1;
        self.give(node, Input::WatchOpened { lock, generation });
        if behind {
            self.schedule(self.now + WATCH_LAG, What::Shows { node, lock, generation });
        }
    }

    /// The machine wants a new stream, from the start.
    pub fn reopens_watch(&mut self, node: usize, lock: usize) {
        let watch = &mut self.nodes[node].lanes[lock].watch;
        watch.shown = 0;
        watch.open = false;
        watch.generation += 1;
        let generation = watch.generation;
        self.schedule(self.now + 1, What::WatchEnds { node, lock, generation });
        self.schedule(self.now + MILLI, What::OpensWatch { node, lock, generation });
    }

    pub fn cut_watch(&mut self, node: usize, lock: usize, wait: u64) {
        let watch = &mut self.nodes[node].lanes[lock].watch;
        watch.open = false;
        watch.generation += 1;
        let generation = watch.generation;
        self.give(node, Input::WatchClosed { lock, generation });
        self.schedule(self.now + MILLI + wait, What::OpensWatch { node, lock, generation });
    }

    /// Every open stream of these locks ends, and is opened again at once.
    pub fn cut_watches(&mut self, locks: &[usize]) {
        for node in 0..self.nodes.len() {
            for lock in self.nodes[node].locks.iter().filter(|lock| locks.contains(lock)) {
                if self.nodes[node].lanes[*lock].watch.open {
                    self.cut_watch(node, *lock, 0);
                }
            }
        }
    }

    /// Every stream will show the change, sooner or later.
    pub fn show_to_all(&mut self, lock: usize) {
        for node in 0..self.nodes.len() {
            if !self.nodes[node].lanes[lock].watch.open {
                continue;
            }
            let late = self.fault(self.plan.chances.watch_late);
            let lag = if late { self.random.below(2 * self.plan.longest_lease) } else { WATCH_LAG };
            let lag = if self.faulty() { lag.min(self.plan.faults_until - self.now) } else { lag };
            let now = self.now;
            let watch = &mut self.nodes[node].lanes[lock].watch;
            watch.busy_until = watch.busy_until.max(now + lag);
            let (at, generation) = (watch.busy_until, watch.generation);
            self.schedule(at, What::Shows { node, lock, generation });
        }
    }

    pub fn shows(&mut self, node: usize, lock: usize, generation: u64) {
        let watch = &self.nodes[node].lanes[lock].watch;
        if !watch.open || watch.generation != generation || watch.silent {
            return;
        }
        if self.fault(self.plan.chances.watch_cut) {
            let wait = self.random.below(self.plan.longest_lease);
            let wait = wait.min(self.plan.faults_until - self.now);
            return self.cut_watch(node, lock, wait);
        }
        let present = self.server.objects[lock].history.len();
        let first = self.nodes[node].lanes[lock].watch.shown;
        // A stream may show again what it has shown.
        let first = if first > 1 && self.fault(self.plan.chances.watch_stale / 8.0) { first - 1 } else { first };
        let life = self.nodes[node].life;
        for state in first..present {
            let it = &mut self.nodes[node];
            if it.life != life || !it.lanes[lock].watch.open || it.lanes[lock].watch.generation != generation {
                return;
            }
            it.lanes[lock].watch.shown = state + 1;
            self.give(node, Input::Shown { lock, generation, state });
        }
    }

    pub fn shown(&mut self, node: usize, lock: usize, state: usize) {
        let it = &self.server.objects[lock].history[state];
        let (resource_version, sight, fields) = (it.resource_version, it.sight.clone(), it.foreign_fields);
        if self.plan.wire.is_some()
            && self.fault(self.plan.chances.other_object)
            && let Some(event) = self.event_of_another(lock)
        {
            self.step(node, lock, event);
        }
        if resource_version == 0 {
            return; // that it never existed is nothing that a stream shows
        }
        let (resource_version, sight, json) = match self.plan.wire {
            None => (resource_version, sight, None),
            Some(wire) => {
                let history = &self.server.objects[lock].history;
                let read = already_read(&mut self.network.read[lock], state);
                match wire.line(lock, &history[state], &history[state - 1], read) {
                    Ok(Shown::Object(Read { object, sight })) => {
                        (object.version().resource_version, sight, Some(object))
                    }
                    Ok(Shown::Deleted { resource_version }) => (resource_version, Sight::MISSING, None),
                    Ok(Shown::Ignored) => return,
                    Err(what) => return self.fail("codecs", what),
                }
            }
        };
        let shown = sight.version.as_ref().map(|version| version.resource_version);
        let event = Event::Watched { resource_version, sight };
        let outcome = self.step_machine(node, lock, event);
        let it = &mut self.nodes[node];
        it.keep(it.machine_of(lock), shown, fields, json);
        self.oracle.shown(self.nodes[node].life, lock, self.now, state, Via::Watch);
        self.tell_oracle(node);
        self.obey(node, outcome);
    }

    /// For whoever looks at the lock without a fault in between.
    pub fn present(&self, lock: usize) -> &Sight {
        &self.server.objects[lock].present().sight
    }
}

fn already_read(states: &mut Vec<AlreadyRead>, state: usize) -> &mut AlreadyRead {
    if states.len() <= state {
        states.resize(state + 1, AlreadyRead::default());
    }
    &mut states[state]
}

/// What says that there is no object.
fn absence(reading: bool) -> Answer {
    if reading { Answer::Seen(Sight::MISSING) } else { Answer::Absent }
}
