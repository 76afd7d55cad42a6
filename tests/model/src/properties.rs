//! The properties that must hold in all states, and those that must hold in some.

use crate::state::{After, Broken, Candidate, Sight, State};
use crate::world::World;
use stateright::Property;

pub const ONE_LEADER: &str = "at most one candidate leads";
pub const GAP: &str = "nobody else leads within the gap after a claim";
pub const TOKENS: &str = "fencing tokens grow";
pub const RELEASES: &str = "a release replaces the own last write";
pub const STALE_EVENT: &str = "a stale watch event ends no claim";
pub const OWN_RECORD: &str = "nobody claims who sees a record that is not its own";

impl<const C: usize, const K: usize> World<C, K> {
    pub(crate) fn all_properties(&self) -> Vec<Property<World<C, K>>> {
        let mut properties = vec![
            Property::always(ONE_LEADER, |_, state: &State<C, K>| {
                state.candidates.iter().filter(|candidate| candidate.claims).count() <= 1
            }),
            Property::always(GAP, |_, state: &State<C, K>| {
                let claims = |except: usize| (0..C).any(|number| number != except && state.candidates[number].claims);
                (0..C).all(|number| state.history.protected[number] == 0 || !claims(number))
            }),
            Property::always(TOKENS, |_, state: &State<C, K>| state.history.broken != Some(Broken::Token)),
            Property::always(RELEASES, |_, state: &State<C, K>| state.history.broken != Some(Broken::Release)),
            Property::always(STALE_EVENT, |_, state: &State<C, K>| state.history.broken != Some(Broken::OldNews)),
            Property::always(OWN_RECORD, |_, state: &State<C, K>| {
                let foreign = |candidate: &Candidate<K>| {
                    let is_foreign = |sight: Sight| sight.record().is_some();
                    candidate
                        .elections
                        .iter()
                        .any(|election| !election.own && election.observed.is_some_and(is_foreign))
                };
                !state.candidates.iter().any(|candidate| candidate.claims && foreign(candidate))
            }),
            Property::sometimes("somebody leads", |_, state: &State<C, K>| {
                state.candidates.iter().any(|candidate| candidate.claims)
            }),
        ];
        if self.budget.stops > 0 {
            properties.push(Property::sometimes("somebody leads after a release", |_, state: &State<C, K>| {
                leads_after(state, After::Release)
            }));
        }
        if self.budget.crashes > 0 {
            properties.push(Property::sometimes("somebody leads after a crash", |_, state: &State<C, K>| {
                leads_after(state, After::Crash)
            }));
        }
        properties
    }
}

fn leads_after<const C: usize, const K: usize>(state: &State<C, K>, after: After) -> bool {
    let began = |candidate: &Candidate<K>| {
        candidate.elections.iter().all(|election| election.term.is_some_and(|term| term.after == after))
    };
    state.candidates.iter().any(|candidate| candidate.claims && began(candidate))
}
