//! Elects one leader among the replicas of an application on Kubernetes, and tells the application over HTTP who leads.
//!
//! This is the library behind the `leader-elector` program; it is blocking, thread-based, and knows no runtime and
//! no Kubernetes client library.
//!
//! # What is guaranteed
//!
//! **At any moment at most one candidate says that it leads.** A leader claims to lead only until F: the moment before it
//! sent its last acknowledged write, plus the renew deadline D. Another candidate takes the lock only after its
//! record has not changed for the lease duration L > D. F is compared with the clock whenever somebody asks, and the
//! clock counts the time that the machine slept. Every write names the uid and the resourceVersion that it replaces.
//!
//! What a leader starts is part of that: the command of run mode is gone by F, and the lock is not released before
//! ([`command`]).
//!
//! # What is not
//!
//! It holds among candidates of this program with one lease duration, while clock *rates* differ by less than L/D (a virtual
//! machine that is paused or migrated may stop even the boot-time clock), while the API server keeps one history
//! (no restore of etcd to an older state), and while nobody else deletes the lock or edits its record where a
//! candidate that never saw it can be fooled. Clock readings never matter. With peers of another make the rule is
//! theirs too: leader-elector 0.5 names itself for a while after it lost. Where the guarded thing can check it, the
//! fencing token ([`election::Claim::fencing_token`]) is the answer to all of these.
//!
//! # How it works
//!
//! What decides does no I/O, and what does I/O decides nothing:
//!
//! ```text
//!   watcher ──── News ────┐                                         ┌──▶ requester ──▶ API server
//!   requester ── Reply ───┤    ┌───────────── candidate ──────────┐ │      one request at a time
//!   clock ────── Rang ────┼──▶ │ now → election.step(now, event) ─┼─┤
//!   signals ──── Stop ────┘    │       → snapshot → request       │ └──▶ clock: one deadline
//!                              └────────────────┬─────────────────┘
//!                                               ▼
//!   GET ──▶ http: head → route → snapshot, then the clock → reply
//!                 each snapshot, and what changes by time alone → an event to whoever listens
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`election`] | the state machine of one lock: `(moment, event) → request, deadline` |
//! | [`election::lock_set`] | one such machine, or two for a pair of locks, and what binds them together |
//! | [`record`], [`lock`] | the record and its codecs; the lock objects and how the record sits in them |
//! | [`candidate`] | the loop, the only code that reads the clock for a decision; a requester and a watcher for each lock |
//! | [`candidate::sole_instance`] | the proof that no other process of the same name runs here |
//! | [`time`] | a reading of the clock |
//! | [`clock`], [`signals`] | one blocking thread each |
//! | [`api`], [`credentials`] | the REST client, and where the server and the token come from |
//! | [`leader_service`] | the Service that leads to the leader: its EndpointSlices |
//! | [`status`], [`metrics`], [`http`] | what the rest may know, what is counted, and who asks |
//! | [`report`], [`logging`] | what people are told |
//! | [`cli`], [`run`] | the command line, and putting the parts together |
//! | [`health`] | the health check: asks the application whether it is well |
//! | [`command`], [`processes`] | what runs only while this candidate leads: a command, and who stops it in time |
//! | [`check`] | `--check`: the question to an elector that runs |
//! | [`duration`], [`rfc3339`], [`random`], `json`, `metadata` | one thing each |
#![forbid(unsafe_code)]

pub mod api;
pub mod candidate;
pub mod check;
pub mod cli;
pub mod clock;
pub mod command;
pub mod credentials;
pub mod duration;
pub mod election;
pub mod health;
pub mod http;
mod json;
pub mod leader_service;
pub mod leadership;
pub mod lock;
pub mod logging;
mod metadata;
pub mod metrics;
pub mod processes;
pub mod random;
pub mod record;
pub mod report;
pub mod rfc3339;
pub mod run;
pub mod signals;
pub mod status;
pub mod time;
