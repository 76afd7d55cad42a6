//! The applications of the candidates, and their health checks.

use crate::node::Input;
use crate::oracle::ProcessId;
use crate::plan::Disruption;
use crate::world::{Occurrence, World};

/// The probability that a check of an unhealthy application succeeds.
const FLAPS: f64 = 0.15;

impl World {
    pub fn begin_checks(&mut self, node: usize) {
        let it = &self.nodes[node];
        if let Some(checks) = it.member.health {
            let process = it.process;
            let wait = self.random.below(checks.interval);
            self.schedule(self.now + wait, Occurrence::HealthCheck { node, process });
        }
    }

    pub fn health_check(&mut self, node: usize, process: ProcessId) {
        let it = &self.nodes[node];
        let Some(checks) = it.member.health.filter(|_| it.process == process) else { return };
        let healthy = it.healthy || self.random.happens(FLAPS);
        self.schedule(self.now + checks.interval, Occurrence::HealthCheck { node, process });
        self.give(node, Input::Checked { healthy });
    }

    /// An application becomes unhealthy, or healthy again. Sometimes it soon recovers, and somebody asks for its
    /// candidate to step down in the meantime.
    pub fn change_health(&mut self, node: usize, lock: usize) {
        let healthy = !self.nodes[node].healthy;
        self.set_health(node, healthy);
        if healthy {
            return;
        }
        let lease = self.nodes[node].member.lease;
        if self.random.happens(0.5) {
            let wait = self.random.below(lease / 2);
            self.schedule(self.now + wait, Occurrence::Recovers { node });
        }
        if self.plan.disruptions.contains(&Disruption::StepDown) && self.random.happens(0.5) {
            let wait = self.random.below(lease);
            self.schedule(self.now + wait, Occurrence::AsksToStepDown { lock });
        }
    }

    pub fn set_health(&mut self, node: usize, healthy: bool) {
        self.nodes[node].healthy = healthy;
        self.say(|world| format!("the application of {} is well: {healthy}", world.name(node)));
    }

    pub fn all_recover(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.healthy = true);
    }

    /// The longest local time for which an application must be healthy after the faults before its candidate stands: as
    /// long as its failures took, each of which may have been noticed late, and until a check succeeds.
    pub fn longest_recovery(&self) -> u64 {
        let pause = 5 * self.plan.longest_lease;
        let longest = |node: &crate::node::Node| {
            let member = &node.member;
            member.health.map_or(0, |checks| pause.max(member.retry_period) + 4 * checks.interval)
        };
        self.nodes.iter().map(longest).max().unwrap_or(0)
    }
}
