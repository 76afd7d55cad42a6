//! The applications beside the candidates, and the checks of their health.

use crate::node::Input;
use crate::oracle::LifeId;
use crate::world::{What, World};

/// How often an application that is not well passes a check all the same.
const FLAPS: f64 = 0.15;

impl World {
    pub fn begin_checks(&mut self, node: usize) {
        let it = &self.nodes[node];
        if let Some(checks) = it.member.health {
            let life = it.life;
            let wait = self.random.below(checks.interval);
            self.schedule(self.now + wait, What::HealthCheck { node, life });
        }
    }

    pub fn health_check(&mut self, node: usize, life: LifeId) {
        let it = &self.nodes[node];
        let Some(checks) = it.member.health.filter(|_| it.life == life) else { return };
        let healthy = it.healthy || self.random.happens(FLAPS);
        self.schedule(self.now + checks.interval, What::HealthCheck { node, life });
        self.give(node, Input::Checked { healthy });
    }

    /// An application falls ill, or is well again.
    pub fn changes_health(&mut self, node: usize) {
        let healthy = !self.nodes[node].healthy;
        self.nodes[node].healthy = healthy;
        self.say(|world| format!("the application of {} is well: {healthy}", world.name(node)));
    }

    pub fn all_are_well(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.healthy = true);
    }

    /// The longest time, local, for which an application must be well after the faults before its candidate stands: as long as
    /// its failures took, of which each may have been noticed late, and until a check shows it.
    pub fn longest_recovery(&self) -> u64 {
        let pause = 5 * self.plan.longest_lease;
        let longest = |node: &crate::node::Node| {
            let member = &node.member;
            member.health.map_or(0, |checks| pause.max(member.retry_period) + 4 * checks.interval)
        };
        self.nodes.iter().map(longest).max().unwrap_or(0)
    }
}
