//! The clients of `/events`: events and heartbeats.

use super::{EventLoop, wake};
use crate::metrics::Eviction;
use crate::status::Snapshot;
use crate::time::Time;
use log::warn;
use std::cmp::Reverse;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

impl<Ask: Fn() -> (Arc<Snapshot>, Time)> EventLoop<'_, Ask> {
    pub(super) fn notify_subscribers(&mut self, now: Time) {
        let beat = self.next_heartbeat <= now;
        for index in 0..self.peers.len() {
            let Some(peer) = self.peers[index].as_mut().filter(|peer| peer.subscription.is_some()) else { continue };
            if beat {
                peer.push_heartbeat(now);
            }
            self.turn(index, now);
        }
        if beat {
            self.next_heartbeat = now.saturating_add(self.limits.heartbeat);
        }
    }

    /// Setting the timer also clears its expiration.
    pub(super) fn set_timer(&self) -> io::Result<()> {
        let anybody = self.peers.iter().flatten().any(|peer| peer.subscription.is_some());
        self.has_subscribers.store(anybody, Ordering::SeqCst);
        // The snapshot is fetched after the store, and whoever publishes looks after the snapshot is there: one of both
        // sees what the other did.
        fence(Ordering::SeqCst);
        let (snapshot, now) = (self.ask)();
        let lapse = snapshot.leadership(now).map_or(Time::MAX, |(_, until)| until);
        self.timer.set(if anybody { lapse.min(self.next_heartbeat) } else { Time::MAX })
    }

    /// The client at `newest` has subscribed. This may evict another subscriber.
    pub(super) fn subscribed(&mut self, newest: usize, now: Time) {
        if self.next_heartbeat <= now {
            self.next_heartbeat = now.saturating_add(self.limits.heartbeat);
        }
        if let Some(index) = self.subscriber_too_many(newest) {
            self.evict(index, Eviction::Subscribers);
        }
        // What was published since this client got its first event has not woken this thread.
        wake(&self.published);
        if let Err(error) = self.set_timer() {
            warn!("cannot set the timer of /events: {error}; its clients receive changes late");
        }
    }

    /// The oldest subscriber from the address with the most subscribers. To evict others, an attacker thus needs many
    /// addresses. An evicted client reconnects and gets the state at once; a refused one might give up.
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
