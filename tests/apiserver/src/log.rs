//! Records the requests, for tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::Value;

use crate::activity::Activity;
use crate::lock;

/// A received request, with its answer.
#[derive(Clone, Debug)]
pub struct RequestSeen {
    /// When it had been read completely.
    pub when: Instant,
    /// When its answer, or the head of it, was sent; none if it was not answered.
    pub answered: Option<Instant>,
    /// `GET`, `PUT` and so on.
    pub method: String,
    /// The path with its query, as sent.
    pub path: String,
    /// `get`, `create`, `update`, `patch`, `delete`, `list` or `watch`; for a path without a
    /// resource the method in lower case.
    pub verb: &'static str,
    /// `endpoints`, `configmaps`, `leases` or `endpointslices`; empty for other paths.
    pub resource: &'static str,
    /// The namespace in the path, or empty.
    pub namespace: String,
    /// The name in the path, or in the field selector of a list or a watch, or empty.
    pub name: String,
    /// The user of the certificate or the token; `system:anonymous` without both; none if the token is unknown.
    pub user: Option<String>,
    /// The groups in the certificate.
    pub groups: Vec<String>,
    /// The `User-Agent` header, or empty.
    pub user_agent: String,
    /// The body, as sent.
    pub body: Arc<[u8]>,
    /// The status of its answer; none before the answer, or without a normal one.
    pub status: Option<u16>,
    /// The number of its connection, counted from 1 in the order of acceptance.
    pub connection: u64,
}

impl RequestSeen {
    /// The body as JSON; none if it is not.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// The latest requests, in the order in which they were received.
pub(crate) struct RequestLog {
    inner: Mutex<Inner>,
    keep: usize,
    activity: Arc<Activity>,
}

#[derive(Default)]
struct Inner {
    requests: VecDeque<RequestSeen>,
    /// The number of the first request kept.
    first: u64,
}

impl RequestLog {
    pub(crate) fn new(keep: usize, activity: Arc<Activity>) -> RequestLog {
        RequestLog { inner: Mutex::default(), keep, activity }
    }

    /// Records a request and returns its number.
    pub(crate) fn add(&self, request: RequestSeen) -> u64 {
        let mut inner = lock(&self.inner);
        inner.requests.push_back(request);
        if inner.requests.len() > self.keep {
            inner.requests.pop_front();
            inner.first += 1;
        }
        let number = inner.first + inner.requests.len() as u64 - 1;
        drop(inner);
        self.activity.happened();
        number
    }

    /// Records the answer to a request, if the request is still kept.
    pub(crate) fn answered(&self, number: u64, status: u16) {
        let mut inner = lock(&self.inner);
        let index = number.checked_sub(inner.first).and_then(|i| usize::try_from(i).ok());
        if let Some(request) = index.and_then(|i| inner.requests.get_mut(i)) {
            request.answered = Some(Instant::now());
            request.status = Some(status);
        }
        drop(inner);
        self.activity.happened();
    }

    pub(crate) fn all(&self) -> Vec<RequestSeen> {
        lock(&self.inner).requests.iter().cloned().collect()
    }

    pub(crate) fn clear(&self) {
        let mut inner = lock(&self.inner);
        inner.first += inner.requests.len() as u64;
        inner.requests.clear();
    }
}
