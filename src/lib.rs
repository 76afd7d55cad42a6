//! Elects one leader among the replicas of an application on Kubernetes, and tells the application over HTTP who leads.
//!
//! This is the library behind the `leader-elector` program; it uses blocking threads, no async runtime and no
//! Kubernetes client library.
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
//! candidate that never saw it can be fooled. Clock readings need not agree. Other implementations keep only their
//! own, weaker guarantee: leader-elector 0.5 names itself for a while after it lost the lock. If the protected resource
//! can check the fencing token ([`election::Claim::fencing_token`]), that covers all of these cases.
//!
//! # How it works
//!
//! What decides does no I/O, and what does I/O decides nothing:
//!
//! ```text
//!   watcher ── messages ──┐                                         ┌──▶ requester ──▶ API server
//!   requester ── reply ───┤    ┌───────────── candidate ──────────┐ │      one request at a time
//!   clock ───── alarm ────┼──▶ │ now → election.step(now, event) ─┼─┤
//!   signals ──── stop ────┘    │       → snapshot → request       │ └──▶ clock: one deadline
//!                              └────────────────┬─────────────────┘
//!                                               ▼
//!   GET ──▶ http: head → route → snapshot, then the clock → reply
//!                 each snapshot, and the end of a lease → an event to each subscriber
//! ```
//!
//! Where is expiry decided, who may write the lock, where is a message? The table "Where to look" in
//! `docs/architecture.md` answers each of these with a file and a function.
//!
//! | module | content |
//! |---|---|
//! | [`election`] | the state machine of one lock: `(moment, event) → request, deadline` |
//! | [`election::lock_set`] | one such machine, or two that depend on each other for a pair of locks |
//! | [`record`], [`lock`] | the record and its codecs; the lock objects and how the record sits in them |
//! | [`candidate`] | the loop, the only code that reads the clock for a decision; a requester and a watcher for each lock |
//! | [`candidate::sole_instance`] | the proof that no other process of the same name runs here |
//! | [`time`] | a reading of the clock |
//! | [`clock`], [`signals`] | one blocking thread each |
//! | [`api`], [`credentials`] | the Kubernetes API client, and its credentials |
//! | [`leader_service`] | the Service that leads to the leader: its EndpointSlices |
//! | [`status`], [`metrics`], [`http`] | the snapshot, the metrics, and the HTTP port |
//! | [`report`], [`logging`] | events and problems for the log; the log itself |
//! | [`cli`], [`run`] | the command line, and the start of all parts |
//! | [`health`] | the health check of the application |
//! | [`command`], [`processes`] | the command that runs only while this candidate leads, and the processes that stop it |
//! | [`check`] | `--check`: asks a running elector whether it leads |
//! | [`duration`], [`rfc3339`], [`random`], `json`, `metadata` | helpers, one job each |
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
