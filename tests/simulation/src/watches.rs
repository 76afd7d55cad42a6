//! The watches: streams of the states of a lock, and their faults.

use crate::clock::MILLI;
use crate::network::WATCH_LAG;
use crate::node::Input;
use crate::oracle::Via;
use crate::wire::{Read, Shown};
use crate::world::{Occurrence, World};
use leader_elector::election::{Event, Sight};

impl World {
    /// Opens a new stream, starting after the last state that was shown, or with the present object.
    pub fn opens_watch(&mut self, node: usize, lock: usize, generation: u64) {
        let it = &self.nodes[node];
        if !it.running || it.workers[lock].watch.generation != generation || it.workers[lock].watch.open {
            return;
        }
        if self.outage().is_some() {
            let wait = self.random.below(self.nodes[node].member.retry_period);
            return self.schedule(self.now + MILLI + wait, Occurrence::OpensWatch { node, lock, generation });
        }
        let present = self.server.objects[lock].history.len() - 1;
        // The server's watch cache may be slightly stale.
        let stale = self.fault(self.plan.fault_rates.watch_stale);
        let first = if stale { present.saturating_sub(self.random.below(4) as usize) } else { present };
        let resumes = self.random.happens(0.5);
        let silent = self.fault(self.plan.fault_rates.watch_silent);
        let watch = &mut self.nodes[node].workers[lock].watch;
        if !resumes || watch.shown == 0 {
            // A stream from the start begins with the object, if it exists.
            let there = self.server.objects[lock].history[first].sight.version.is_some();
            watch.shown = if there { first } else { first + 1 };
        }
        (watch.open, watch.silent) = (true, silent);
        watch.busy_until = watch.busy_until.max(self.now);
        let behind = watch.shown < present + 1;
        self.give(node, Input::WatchOpened { lock, generation });
        if behind {
            self.schedule(self.now + WATCH_LAG, Occurrence::Shows { node, lock, generation });
        }
    }

    /// The state machine requests a new stream from the start.
    pub fn reopens_watch(&mut self, node: usize, lock: usize) {
        let watch = &mut self.nodes[node].workers[lock].watch;
        watch.shown = 0;
        watch.open = false;
        watch.generation += 1;
        let generation = watch.generation;
        self.schedule(self.now + 1, Occurrence::WatchEnds { node, lock, generation });
        self.schedule(self.now + MILLI, Occurrence::OpensWatch { node, lock, generation });
    }

    pub fn cut_watch(&mut self, node: usize, lock: usize, wait: u64) {
        let watch = &mut self.nodes[node].workers[lock].watch;
        watch.open = false;
        watch.generation += 1;
        let generation = watch.generation;
        self.give(node, Input::WatchClosed { lock, generation });
        self.schedule(self.now + MILLI + wait, Occurrence::OpensWatch { node, lock, generation });
    }

    /// All open streams of these locks end, and are opened again at once.
    pub fn cut_watches(&mut self, locks: &[usize]) {
        for node in 0..self.nodes.len() {
            for lock in self.nodes[node].locks.iter().filter(|lock| locks.contains(lock)) {
                if self.nodes[node].workers[*lock].watch.open {
                    self.cut_watch(node, *lock, 0);
                }
            }
        }
    }

    /// Schedules the change in all streams.
    pub fn show_to_all(&mut self, lock: usize) {
        for node in 0..self.nodes.len() {
            if !self.nodes[node].workers[lock].watch.open {
                continue;
            }
            let late = self.fault(self.plan.fault_rates.watch_late);
            let lag = if late { self.random.below(2 * self.plan.longest_lease) } else { WATCH_LAG };
            let lag = if self.faulty() { lag.min(self.plan.faults_until - self.now) } else { lag };
            let now = self.now;
            let watch = &mut self.nodes[node].workers[lock].watch;
            watch.busy_until = watch.busy_until.max(now + lag);
            let (at, generation) = (watch.busy_until, watch.generation);
            self.schedule(at, Occurrence::Shows { node, lock, generation });
        }
    }

    pub fn shows(&mut self, node: usize, lock: usize, generation: u64) {
        let watch = &self.nodes[node].workers[lock].watch;
        if !watch.open || watch.generation != generation || watch.silent {
            return;
        }
        if self.fault(self.plan.fault_rates.watch_cut) {
            let wait = self.random.below(self.plan.longest_lease);
            let wait = wait.min(self.plan.faults_until - self.now);
            return self.cut_watch(node, lock, wait);
        }
        let present = self.server.objects[lock].history.len();
        let first = self.nodes[node].workers[lock].watch.shown;
        // A stream may repeat a state.
        let first = if first > 1 && self.fault(self.plan.fault_rates.watch_stale / 8.0) { first - 1 } else { first };
        let process = self.nodes[node].process;
        for state in first..present {
            let it = &mut self.nodes[node];
            if it.process != process || !it.workers[lock].watch.open || it.workers[lock].watch.generation != generation
            {
                return;
            }
            it.workers[lock].watch.shown = state + 1;
            self.give(node, Input::Shown { lock, generation, state });
        }
    }

    pub fn shown(&mut self, node: usize, lock: usize, state: usize) {
        let it = &self.server.objects[lock].history[state];
        let (resource_version, sight, fields) = (it.resource_version, it.sight.clone(), it.other_fields());
        if self.plan.wire.is_some()
            && self.fault(self.plan.fault_rates.other_object)
            && let Some(event) = self.event_of_another(lock)
        {
            self.step(node, lock, event);
        }
        if resource_version == 0 {
            return; // a stream does not show the initial state, in which the object does not exist
        }
        let (resource_version, sight, json) = match self.read_line(lock, state) {
            None => (resource_version, sight, None),
            Some(Ok(Shown::Object(read))) => {
                let Read { object, sight } = *read;
                (object.version().resource_version, sight, Some(object))
            }
            Some(Ok(Shown::Deleted { resource_version })) => (resource_version, Sight::MISSING, None),
            Some(Ok(Shown::Ignored)) => return,
            Some(Err(what)) => return self.fail("codecs", what),
        };
        let shown = sight.version.as_ref().map(|version| version.resource_version);
        let event = Event::Watched { resource_version, sight };
        let outcome = self.step_machine(node, lock, event);
        let it = &mut self.nodes[node];
        it.keep(it.machine_of(lock), shown, fields, json);
        self.oracle.shown(self.nodes[node].process, lock, self.now, state, Via::Watch);
        self.follow(node, outcome);
    }
}
