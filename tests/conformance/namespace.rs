//! A namespace with one election. Its candidates have a token and the rights of a service account, as pods have.

use crate::common::claim_checker::{Answer, ClaimChecker};
use crate::common::cluster::ServiceAccount;
use crate::common::lock::{holder_of, record_of};
use crate::common::{Elector, leader_and_follower, wait_until};
use controlplane::{Account, Commit, ControlPlane, Request, Token};
use serde_json::Value;
use std::process::Command;

/// All verbs that an elector needs.
pub const ALL: &[&str] = &["get", "create", "update", "watch"];

/// The name of every election here.
pub const NAME: &str = "example";

pub struct ElectionNamespace<'p> {
    pub plane: &'p ControlPlane,
    pub name: String,
    /// The kind of the lock: `endpoints`, `configmaps` or `leases`.
    pub kind: &'static str,
    pub account: Account,
    pub token: Token,
    pub files: ServiceAccount,
}

impl<'p> ElectionNamespace<'p> {
    /// A namespace in which the candidates have all rights that they need.
    pub fn new(plane: &'p ControlPlane, name: &str, kind: &'static str) -> ElectionNamespace<'p> {
        ElectionNamespace::with_rights(plane, name, kind, ALL)
    }

    /// A namespace in which the candidates have the rights for these verbs only.
    pub fn with_rights(
        plane: &'p ControlPlane,
        name: &str,
        kind: &'static str,
        verbs: &'static [&'static str],
    ) -> ElectionNamespace<'p> {
        plane.add_namespace(name);
        let account = plane.add_account(name, "elector");
        let token = plane.token(&account);
        let files = ServiceAccount::new(&token.text, plane.ca_pem());
        let namespace = ElectionNamespace { plane, name: name.to_owned(), kind, account, token, files };
        namespace.allow(verbs);
        namespace
    }

    /// Replaces the allowed verbs.
    pub fn allow(&self, verbs: &[&str]) {
        self.plane.allow(&self.account, self.kind, NAME, verbs);
    }

    /// The elector's command, with the environment of a pod.
    pub fn command(&self) -> Command {
        let mut command = Elector::program();
        command.env("KUBERNETES_SERVICE_HOST", self.plane.address().ip().to_string());
        command.env("KUBERNETES_SERVICE_PORT", self.plane.address().port().to_string());
        command
    }

    /// Starts a candidate, and waits until it serves its port.
    pub fn start(&self, id: &str, more: &[&str]) -> Elector {
        let mut elector = self.spawn(id, more);
        elector.wait_to_serve();
        elector
    }

    /// Starts a candidate without waiting.
    pub fn spawn(&self, id: &str, more: &[&str]) -> Elector {
        let (namespace, lock) = (format!("--election-namespace={}", self.name), format!("--lock={}", self.kind));
        let account = self.files.flag();
        Elector::spawn(self.command(), id, &[&[namespace.as_str(), lock.as_str(), account.as_str()], more].concat())
    }

    /// Starts a leader named a, and a follower b.
    pub fn start_two(&self, more: &[&str]) -> (Elector, Elector) {
        leader_and_follower(|id| self.start(id, more))
    }

    /// The lock object.
    pub fn object(&self) -> Option<Value> {
        self.plane.get(self.kind, &self.name, NAME)
    }

    /// The record in the lock; null if there is none.
    pub fn record(&self) -> Value {
        self.object().map_or(Value::Null, |object| record_of(&object))
    }

    /// The holder of the lock; empty if nobody holds it.
    pub fn holder(&self) -> String {
        holder_of(&self.record())
    }

    /// Changes the lock as another client.
    pub fn edit(&self, change: impl Fn(&mut Value)) -> Value {
        self.plane.edit(self.kind, &self.name, NAME, change)
    }

    /// Waits until the lease has been renewed `count` times from now on.
    pub fn wait_for_renewals(&self, count: usize) {
        for _ in 0..count {
            let before = self.record();
            wait_until("the lease is renewed", || {
                let now = self.record();
                !now.is_null() && now != before
            });
        }
    }

    /// All acknowledged states of the lock, each with its holder.
    pub fn commits(&self) -> Vec<(Commit, String)> {
        let holder = |commit: &Commit| commit.object.as_ref().map_or(String::new(), |it| holder_of(&record_of(it)));
        let commits = self.plane.commits(self.kind, &self.name);
        commits.into_iter().map(|commit| (commit.clone(), holder(&commit))).collect()
    }

    /// The holders of the lock in order; empty for a release.
    pub fn holders(&self) -> Vec<String> {
        let mut holders: Vec<String> = self.commits().into_iter().map(|(_, holder)| holder).collect();
        holders.dedup();
        holders
    }

    /// The candidates' requests that have been answered so far.
    pub fn requests(&self) -> Vec<Request> {
        let user = self.account.user();
        self.plane.requests().into_iter().filter(|request| request.user == user).collect()
    }

    /// Waits until `count` watches have been opened.
    pub fn wait_for_a_watch(&self, count: usize) {
        let watches = |request: &&Request| request.verb == "watch" && request.status == Some(200);
        wait_until("a watch is open", || self.requests().iter().filter(watches).count() >= count);
    }

    /// Panics if an elector named itself although another one, or nobody, held the lock during the whole request. A
    /// state of the lock lasts at most from the start of the request that wrote it to the end of the request that
    /// replaced it.
    pub fn check_claims(&self, checker: ClaimChecker) {
        let commits = self.commits();
        assert!(
            commits.iter().all(|(commit, _)| commit.object.is_some()),
            "the lock was deleted, so claims cannot be checked"
        );
        let last_instant = |index: usize| commits.get(index + 1).map(|(next, _)| next.within.1);
        let is_true = |answer: &Answer| {
            commits.iter().enumerate().any(|(index, (commit, holder))| {
                let over = last_instant(index).is_some_and(|end| end < answer.asked);
                *holder == answer.id && commit.within.0 <= answer.answered && !over
            })
        };
        let answers = checker.answers();
        assert!(answers.iter().any(Answer::names_itself), "no candidate named itself");
        let false_answer = answers.iter().find(|answer| answer.names_itself() && !is_true(answer));
        assert!(false_answer.is_none(), "a candidate named itself while another one held the lock: {false_answer:?}");
    }
}
