//! What each candidate was shown of a lock, and what follows from that for when it may take it.

use super::{Content, Life, LifeId, Oracle, State, Writer};

/// How a state of a lock reached a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Watch,
    Read,
    /// The answer to the write that was sent at this moment.
    Write {
        sent: u64,
    },
}

/// What one life did to, and was shown of, one lock.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub(super) struct View {
    /// The state that it was shown last, and believes.
    pub(super) shown: usize,
    /// A watch shows nothing new up to this state. That there is no object, as a read shows, has no resourceVersion.
    pub(super) floor: usize,
    /// The newest state shown that bore a record which is not its own.
    pub(super) foreign: usize,
    /// The newest committed write of a record of its own: its state, and when the latest such was sent.
    pub(super) own: usize,
    pub(super) own_sent: u64,
    /// The newest state that was shown while it claimed, and that did not end the claim.
    pub(super) kept: usize,
    /// When anything new was last shown.
    pub(super) news_at: u64,
    /// The L of the last held record shown, or its own for one that cannot be read; local.
    pub(super) last_lease: Option<u64>,
    /// The longest L of any record shown.
    pub(super) longest_lease: u64,
    pub(super) removed: Option<Removal>,
    /// Since when the content shown has been the same, whatever came and went in between that was not shown.
    pub(super) same_since: u64,
    /// Since when nothing at all has come in between but changes of other fields.
    pub(super) sure_since: u64,
    /// Somebody in between has told it that there is no object, though there is.
    pub(super) misled: bool,
}

/// When a candidate was shown that a holder's record had been taken away, and how long it must wait from then on, local.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Removal {
    pub(super) at: u64,
    pub(super) wait: u64,
}

impl Oracle {
    /// A state of the lock reached a candidate, and it has taken it in. What answers a write is believed only if it shows
    /// that write.
    pub fn shown(&mut self, life: LifeId, lock: usize, now: u64, index: usize, via: Via) {
        let Some(state) = self.locks[lock].get(index) else { return };
        if let Via::Write { sent } = via
            && state.commit.writer != (Writer::Candidate { life, sent })
        {
            return;
        }
        let own_lease = self.lives[life].facts.lease;
        let removal_wait = self.removal_wait(life, lock, now, state);
        let view = &mut self.lives[life].locks[lock];
        let misled = view.misled;
        let again = via == Via::Read && index == view.floor;
        if index <= view.floor && !again {
            return;
        }
        view.misled = false;
        if via != Via::Read || state.commit.object != 0 {
            view.floor = index;
        }
        let states = &self.locks[lock];
        let before = &states[view.shown];
        if state.commit.content != before.commit.content {
            view.same_since = now;
        }
        // The writer of each change in between is known, but not what the candidate made of it.
        let only_touched = (view.shown..index).all(|n| states[n + 1].commit.touches(&states[n].commit));
        if misled || index < view.shown || !only_touched {
            view.sure_since = now;
        }
        if let Some(wait) = removal_wait {
            view.removed = Some(Removal { at: now, wait });
        }
        if index != view.shown || misled {
            view.news_at = now;
        }
        view.shown = index;
        match state.commit.content {
            Content::Record { holder, lease, .. } => {
                if state.author != Some(life) {
                    view.foreign = view.foreign.max(index);
                }
                if holder != 0 {
                    view.last_lease = Some(lease);
                    view.longest_lease = view.longest_lease.max(lease);
                }
            }
            Content::Unreadable => view.last_lease = view.last_lease.or(Some(own_lease)),
            Content::Nothing => {}
        }
        self.was_shown_own(life, lock, now);
    }

    /// S3: how long the candidate must wait from now on because this shows that somebody took a holder's record away.
    fn removal_wait(&self, life: LifeId, lock: usize, now: u64, state: &State) -> Option<u64> {
        let Life { facts, locks, .. } = &self.lives[life];
        let view = &locks[lock];
        let before = &self.locks[lock][view.shown];
        let unreadable = before.commit.content == Content::Unreadable;
        let held = before.commit.content.is_held_record() && before.author != Some(life);
        let gone = before.commit.object != state.commit.object || state.commit.content == Content::Nothing;
        let removed = held && gone || unreadable && (gone || state.commit.content.is_free_record());
        // What was taken away before may have to be waited for even longer.
        let left = view.removed.map_or(0, |it| it.wait.saturating_sub(self.elapsed(life, it.at, now)));
        let last_lease = view.last_lease.filter(|_| removed && !view.misled)?;
        Some(last_lease.max(facts.lease).max(left))
    }

    /// Somebody in between told the candidate that there is no object, though there is one.
    pub fn misled(&mut self, life: LifeId, lock: usize) {
        self.lives[life].locks[lock].misled = true;
    }
}
