//! The request in flight; there is never more than one.

use super::{Call, LockRequest, Sight, Write};
use crate::time::Time;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub(super) struct Requests {
    count: u64,
    under_way: Option<UnderWay>,
}

#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct UnderWay {
    number: u64,
    timeout: Duration,
    pub(super) call: Call,
    pub(super) sent: Time,
    pub(super) effect: Effect,
}

/// What the watch has shown of a write before its answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Effect {
    NotSeen,
    /// The write was seen in the lock: the answer is not needed any more.
    Applied,
    /// Another record was seen in its place: even if the answer acknowledges the write, it does not begin or extend a
    /// term (S7).
    Superseded,
}

impl UnderWay {
    fn write(&self) -> Option<&Arc<Write>> {
        match &self.call {
            Call::Read => None,
            Call::Write(write) => Some(write),
        }
    }

    /// When the sender should have given it up already.
    fn hung_at(&self) -> Time {
        self.sent.saturating_add(self.timeout.mul_f64(1.5))
    }
}

impl Requests {
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Whether a write is in flight.
    pub(super) fn is_writing(&self) -> bool {
        self.under_way.as_ref().and_then(UnderWay::write).is_some()
    }

    pub(super) fn hung_at(&self) -> Option<Time> {
        self.under_way.as_ref().map(UnderWay::hung_at)
    }

    pub(super) fn send(&mut self, now: Time, call: Call, timeout: Duration) -> LockRequest {
        self.count += 1;
        let number = self.count;
        self.under_way = Some(UnderWay { number, timeout, call: call.clone(), sent: now, effect: Effect::NotSeen });
        LockRequest { number, timeout, call }
    }

    /// The request with this number has ended; `None` if it had been given up.
    pub(super) fn end(&mut self, number: u64) -> Option<UnderWay> {
        self.under_way.take_if(|it| it.number == number)
    }

    /// Gives up the request in flight, if there is one.
    pub(super) fn give_up(&mut self) -> Option<UnderWay> {
        self.under_way.take()
    }

    /// S7: the write in flight, if an observation shows it for the first time.
    pub(super) fn recognise(&mut self, sight: &Sight) -> Option<Arc<Write>> {
        let under_way = self.under_way.as_mut().filter(|it| it.effect == Effect::NotSeen)?;
        let write = under_way.write().filter(|write| write.made(sight))?.clone();
        under_way.effect = Effect::Applied;
        Some(write)
    }

    /// S7: an observation that does not show the own record. From now on a write in flight counts only if it names the
    /// observed version.
    pub(super) fn supersede(&mut self, sight: &Sight) {
        if let Some(under_way) = &mut self.under_way
            && under_way.write().is_some_and(|write| write.base != sight.version)
        {
            under_way.effect = Effect::Superseded;
        }
    }
}
