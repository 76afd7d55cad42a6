//! Disruptions of candidates and of the lock: pauses, crashes, stops, outages, edits by others.

use crate::clock::{MILLI, SECOND};
use crate::network::Outage;
use crate::node::Input;
use crate::oracle::{self, Edit, Writer};
use crate::plan::{Disruption, LockChoice};
use crate::server::{content_of, record};
use crate::world::{Occurrence, World};
use leader_elector::election::Sight;
use leader_elector::record::{Content, Mark, Record};

impl World {
    pub fn disrupt(&mut self) {
        if !self.faulty() {
            return;
        }
        let every = self.plan.disruption_every;
        // Sometimes one disruption directly follows another.
        let burst = self.random.happens(0.3);
        let wait = if burst { self.random.below(every / 16) } else { every / 2 + self.random.below(every) };
        self.schedule(self.now + wait, Occurrence::Disruption);
        let node = self.random.below(self.nodes.len() as u64) as usize;
        let lock = self.random.below(2) as usize;
        let lock = if self.nodes[node].locks.contains(&lock) { lock } else { self.nodes[node].locks[0] };
        let kinds = std::mem::take(&mut self.plan.disruptions);
        let kind = self.random.one_of(&kinds);
        self.plan.disruptions = kinds;
        match kind {
            Disruption::Pause => self.pauses(node),
            Disruption::Crash if self.nodes[node].running => {
                let wait = self.random.below(2 * self.plan.longest_lease);
                let wait = if self.random.happens(0.3) { self.random.below(SECOND / 10) } else { wait };
                self.ends(node, self.now + wait);
            }
            Disruption::Stop => self.give(node, Input::Stop),
            Disruption::Outage => {
                let kind = self.random.one_of(&[Outage::Silent, Outage::Refusing]);
                let until = self.now + self.random.below(2 * self.plan.longest_lease);
                self.say(|_| format!("the API server is out of reach, {kind:?}, until {until}"));
                self.network.outage = Some((kind, until.min(self.plan.faults_until)));
                self.cut_watches(&[0, 1]);
            }
            Disruption::Touch => {
                if self.present(lock).version.is_some() {
                    self.server.touch(lock);
                    self.changed(lock, Writer::Foreign);
                }
            }
            Disruption::Delete => self.edits(lock, None, false),
            Disruption::Replace => self.replaces(lock),
            Disruption::Edit => self.edits_now(lock),
            Disruption::Roll => self.rolls(node),
            Disruption::Health => self.change_health(node, lock),
            Disruption::StepDown => self.asks_to_step_down(lock),
            Disruption::StandBack => self.give(node, Input::StandBack),
            Disruption::Crash => {}
        }
    }

    /// The process is paused, or its machine suspended.
    fn pauses(&mut self, node: usize) {
        let longest = if self.random.happens(0.5) { 5 * self.plan.longest_lease } else { self.plan.longest_lease / 3 };
        let pause = self.random.below(longest).min(self.plan.faults_until - self.now);
        let it = &mut self.nodes[node];
        if !it.running || self.now < it.paused_until {
            return;
        }
        it.paused_until = self.now + pause;
        let until = it.paused_until;
        self.say(|world| format!("{} is paused until {:.6} s", world.name(node), until as f64 / 1e9));
        self.schedule(until, Occurrence::Resume { node });
    }

    /// Somebody asks the holder to step down, or a candidate that does not hold the lock.
    pub fn asks_to_step_down(&mut self, lock: usize) {
        if !self.faulty() {
            return;
        }
        let somebody = self.random.below(self.nodes.len() as u64) as usize;
        let somebody = [self.nodes[somebody].member.identity];
        let somebody = std::str::from_utf8(&somebody).expect("a letter").into();
        let Sight { version, content, step_down, .. } = self.present(lock);
        let holder = match content {
            Content::Record(record) if !record.is_free() => Some(record.holder.clone()),
            _ => None,
        };
        let (there, asked) = (version.is_some(), step_down.clone());
        let named = holder.filter(|_| self.random.happens(0.8)).unwrap_or(somebody);
        if there && asked.as_ref() != Some(&named) {
            self.server.ask_to_step_down(lock, named);
            self.changed(lock, Writer::Foreign);
        }
    }

    /// An earlier state of the lock, which somebody puts back.
    fn earlier(&mut self, lock: usize) -> (Content, Option<Mark>) {
        let history = &self.server.objects[lock].history;
        let Sight { content, mark, .. } = &history[self.random.below(history.len() as u64) as usize].sight;
        (content.clone(), mark.clone())
    }

    /// What somebody writes into the lock by hand. The mark of the present record may stay beside it.
    fn edit(&mut self, lock: usize) -> (Content, Option<Mark>) {
        let content = self.edited(lock);
        (content, self.mark_that_stays(lock))
    }

    fn mark_that_stays(&mut self, lock: usize) -> Option<Mark> {
        self.present(lock).mark.clone().filter(|_| self.random.happens(0.5))
    }

    fn edited(&mut self, lock: usize) -> Content {
        let stamp = self.server.foreign_stamp();
        let lease_seconds = (self.plan.longest_lease.div_ceil(SECOND) + self.random.below(3)) as u32;
        let present = self.present(lock).content.clone();
        let somebody = self.random.below(self.nodes.len() as u64) as usize;
        let name = self.nodes[somebody].member.identity;
        let name = std::str::from_utf8(&[name]).expect("a letter").to_owned();
        match (self.random.below(6), present) {
            (0, _) => Content::Nothing,
            (1, _) => Content::Unreadable { text: stamp.text().into(), why: "a test" },
            (2, _) => record("stranger", lease_seconds, stamp.clone(), stamp, 3),
            (3, _) => record(&name, lease_seconds, stamp.clone(), stamp, 3),
            // By hand, so that the other fields stay as they are.
            (4, Content::Record(present)) => Content::Record(Record { holder: name.into(), ..present }),
            (5, Content::Record(present)) => Content::Record(Record { lease_seconds, ..present }),
            _ => record("", 1, stamp.clone(), stamp, 3),
        }
    }

    /// Deletes the object, replaces its record, or replaces the object. Does so only if no candidate that never saw the
    /// lock can take it too early because of that, unless the schedule may break assumptions.
    fn edits(&mut self, lock: usize, edit: Option<(Content, Option<Mark>)>, replace: bool) {
        let (content, mark) = edit.unzip();
        let mark = mark.flatten();
        let is_put_back = mark.is_some() && mark != self.present(lock).mark;
        let there = self.present(lock).version.is_some();
        let edit = Edit {
            content: content.as_ref().map_or(oracle::Content::Nothing, content_of),
            mark: mark.as_ref().map(|mark| (mark.process, mark.write)),
            in_new_object: replace || !there,
        };
        let lease_ends = self.oracle.last_lease_ends(self.now);
        let claimed = self.oracle.leaders(self.now).next().is_some() || self.oracle.any_work();
        // Other implementations take a lock without a readable record at once, and client-go takes one without a holder
        // at once.
        let misleads_peers = match &content {
            Some(Content::Record(record)) => record.is_free() && claimed || self.misleads_peer(record),
            Some(Content::Unreadable { .. } | Content::Nothing) | None => true,
        };
        if self.oracle.breaks_assumption(lock, edit) || misleads_peers && lock == 0 && self.any_peer() {
            if !self.plan.breaks_assumptions {
                return;
            }
            // A candidate may have to wait for the lease of a record that somebody else wrote earlier.
            let longest = self.server.longest_lease(lock).max(self.plan.longest_lease);
            self.oracle.exempt(lease_ends + longest * 3);
        }
        // A candidate that starts now sees only the edit, and waits for the lease in it, or for its own; but not if an
        // earlier process of its own wrote the record.
        let same_lease = self.plan.members.iter().all(|member| member.lease == self.plan.longest_lease);
        let held = match &content {
            Some(Content::Record(record)) => !record.is_free() && !is_put_back,
            Some(Content::Unreadable { .. }) => same_lease,
            Some(Content::Nothing) | None => false,
        };
        if !held {
            self.no_starts_until = self.no_starts_until.max(lease_ends);
        }
        if self.random.happens(0.3) {
            // A watch that is opened later shows the edit, but not the state before it.
            self.cut_watches(&[lock]);
        }
        self.say(|_| format!("somebody puts {content:?} into lock {lock}, in place of the object: {replace}"));
        if there && (replace || content.is_none()) {
            self.server.delete(lock);
            self.changed(lock, Writer::Foreign);
        }
        match content {
            Some(content) if self.present(lock).content == content && !replace => {}
            Some(content) => {
                self.recovery.put_back |= is_put_back;
                self.server.put(lock, content, mark);
                self.changed(lock, Writer::Foreign);
            }
            None if there => self.deliver_late_creations(),
            None => {}
        }
    }

    /// Somebody deletes the object and creates another one in its place: a copy, or something else.
    fn replaces(&mut self, lock: usize) {
        let edit = if self.random.happens(0.4) {
            (self.present(lock).content.clone(), self.mark_that_stays(lock))
        } else {
            self.edit(lock)
        };
        self.edits(lock, Some(edit), true);
    }

    /// Somebody edits the lock right after a candidate has written it.
    pub fn edits_soon(&mut self, lock: usize) {
        if self.faulty() && self.plan.disruptions.contains(&Disruption::Edit) && self.random.happens(0.02) {
            self.schedule(self.now + MILLI / 2, Occurrence::Edits { lock });
        }
    }

    pub fn edits_now(&mut self, lock: usize) {
        let edit = if self.random.happens(0.2) { self.earlier(lock) } else { self.edit(lock) };
        self.edits(lock, Some(edit), false);
    }

    /// A rolling update replaces one replica by one with the next locks: `endpoints`, both, `leases`. An update starts
    /// when the one before it is complete.
    fn rolls(&mut self, node: usize) {
        let order = |locks| match locks {
            LockChoice::First => 0,
            LockChoice::Both => 1,
            LockChoice::Second => 2,
        };
        // Replicas that run count, not those that will start.
        let stages = self.nodes.iter().map(|node| order(node.member.locks));
        let (least, most) = stages.fold((2, 0), |(least, most), stage| (least.min(stage), most.max(stage)));
        let own = order(self.nodes[node].member.locks);
        // A candidate that was killed may still be considered the leader for one lease.
        if own == most && self.now < self.oracle.last_lease_ends(self.stage_ended) {
            return;
        }
        if own == 2 || own > least || most > least + 1 || !self.nodes[node].running {
            return;
        }
        self.nodes[node].next_locks = if own == 0 { LockChoice::Both } else { LockChoice::Second };
        let wait = self.random.below(self.plan.longest_lease);
        if self.random.happens(0.5) {
            self.ends(node, self.now + wait);
        } else {
            // It stops, and its successor has the other locks.
            self.give(node, Input::Stop);
        }
    }
}
