//! Elects one leader among the replicas of an application on Kubernetes, and tells the application over HTTP who leads.
//!
//! This is the library behind the `leader-elector` program; it uses blocking threads, no async runtime and no
//! Kubernetes client library.
//!
//! # What is guaranteed
//!
//! **At any moment at most one candidate says that it leads.** A leader claims to lead only until F: the moment before
//! it sent its last acknowledged write, plus the renew deadline D. Another candidate takes the lock only after the
//! record in it has not changed for the lease duration L > D. F is compared with the clock on every request, and the
//! clock also counts time during which the machine was suspended. Every write names the uid and the resourceVersion
//! that it replaces.
//!
//! This includes the command of run mode: it has ended by F, and the lock is not released before it has ([`command`]).
//!
//! # What is not guaranteed
//!
//! The guarantee rests on assumptions:
//!
//! - All candidates are of this program and have the same lease duration. Other implementations keep only their own,
//!   weaker guarantee: leader-elector 0.5 names itself for a while after it lost the lock.
//! - Clock *rates* differ by less than L/D. Clock readings need not agree. A virtual machine that is paused or migrated
//!   may stop even the boot-time clock; that is not covered.
//! - etcd is not restored to an older state.
//! - Nobody else deletes the lock or edits its record. A candidate that never saw the record could be misled.
//!
//! If the protected resource can check the fencing token ([`election::Claim::fencing_token`]), it is protected in all
//! of these cases too.
//!
//! # How it works
//!
//! The code that decides does no I/O, and the code that does I/O decides nothing:
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
//! The table "Where to look" in `docs/architecture.md` names the file and the function for questions such as: where is
//! expiry decided, who may write the lock, where is the message on 403, where do I add a flag?
//!
//! | module | content |
//! |---|---|
//! | [`election`] | the state machine of one lock: `(moment, event) → request, deadline` |
//! | [`election::lock_set`] | one such machine, or two that depend on each other for a pair of locks |
//! | [`record`], [`lock`] | the record and its codecs; the lock objects and how the record is stored in them |
//! | [`candidate`] | the main loop, the only code that reads the clock for a decision; a requester and a watcher for each lock |
//! | [`candidate::sole_instance`] | the proof that no other process of the same name runs here |
//! | [`time`] | a reading of the clock |
//! | [`clock`], [`signals`] | one blocking thread each |
//! | [`api`], [`credentials`] | the Kubernetes API client, and its credentials |
//! | [`leader_service`] | the EndpointSlices of the Service that routes to the leader |
//! | [`status`], [`metrics`], [`http`] | the snapshot, the metrics, and the HTTP port |
//! | [`report`], [`logging`] | events and problems for the log; the log itself |
//! | [`cli`], [`run`] | the command line, and the start of all parts |
//! | [`health`] | the health check of the application |
//! | [`leadership`] | what the command and the leader Service are told about the leadership |
//! | [`command`], [`processes`] | the command that runs only while this candidate leads, and the processes that stop it |
//! | [`check`] | `--check`: asks a running elector whether it leads |
//! | [`duration`], [`rfc3339`], [`random`], [`threads`], `json`, `metadata` | helpers |
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
pub mod threads;
pub mod time;
