//! Those who are told events: a change at once, and signs of life in between.

use super::EventLoop;
use crate::metrics::Eviction;
use crate::status::Snapshot;
use crate::time::Time;
use log::warn;
use std::cmp::Reverse;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

impl<Ask: Fn() -> (Arc<Snapshot>, Time)> EventLoop<'_, Ask> {
    pub(super) fn tell_subscribers(&mut self, now: Time) {
        let beat = self.next_heartbeat <= now;
        for index in 0..self.peers.len() {
            let Some(peer) = self.peers[index].as_mut().filter(|peer| peer.subscription.is_some()) else { continue };
            if beat {
                peer.beat(now);
            }
            self.turn(index, now);
        }
        if beat {
            self.next_heartbeat = now.saturating_add(self.limits.heartbeat);
        }
    }

    /// Also puts out a timer that has rung, which is one that is set to a moment to come.
    pub(super) fn set_timer(&self) -> io::Result<()> {
        let (snapshot, now) = (self.ask)();
        let lapse = snapshot.leadership(now).map_or(Time::MAX, |(_, until)| until);
        let anybody = self.peers.iter().flatten().any(|peer| peer.subscription.is_some());
        self.timer.set(if anybody { lapse.min(self.next_heartbeat) } else { Time::MAX })
    }

    /// Another client is told events from now on; one of them may have to go.
    pub(super) fn subscribed(&mut self, newest: usize, now: Time) {
        if self.next_heartbeat <= now {
            self.next_heartbeat = now.saturating_add(self.limits.heartbeat);
        }
        if let Some(index) = self.subscriber_too_many(newest) {
            self.evict(index, Eviction::Subscribers);
        }
        if let Err(error) = self.set_timer() {
            warn!("cannot set the timer of the clients of /events, who are told changes late: {error}");
        }
    }

    /// One whose address has most subscriptions, so that nobody can drive others out but by taking many addresses, and
    /// of those the eldest: it comes back and learns the state at once, where a refusal might be taken for good.
    fn subscriber_too_many(&self, newest: usize) -> Option<usize> {
        let all = || {
            let places = self.peers.iter().enumerate();
            places.filter_map(|(index, peer)| Some((index, peer.as_ref()?.subscription.as_ref()?)))
        };
        if all().count() <= self.limits.subscribers {
            return None;
        }
        let from = |address: Option<IpAddr>| all().filter(|(_, subscription)| subscription.address == address).count();
        let others = all().filter(|(index, _)| *index != newest);
        others.max_by_key(|(_, it)| (from(it.address), Reverse(it.since))).map(|(index, _)| index)
    }
}
