//! The leader Service: what its thread writes for a term, and that an older term's address never replaces a newer
//! one's, whatever happens to requests.

mod failures;
mod order_of_terms;
mod terms;

use crate::common::PATIENCE;
use apiserver::{RequestSeen, Server};
use leader_elector::api::Api;
use leader_elector::clock;
use leader_elector::credentials::Credentials;
use leader_elector::leader_service::{Addresses, LeaderService, Pod, Port, ServiceReport, ServiceSpec, SliceName};
use leader_elector::leadership::Leadership;
use leader_elector::time::Time;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const SLICES: &str = "endpointslices";
const V4: &str = "web-leader";
const V6: &str = "web-leader-ipv6";

/// Longer than a request takes.
const LONG: Duration = Duration::from_secs(60);

/// The thread of one candidate, and its reports.
struct Candidate {
    service: LeaderService,
    reports: Receiver<ServiceReport>,
}

impl Candidate {
    /// A candidate whose pod has these addresses.
    fn start(server: &Server, identity: &str, addresses: &[&str]) -> Candidate {
        Candidate::with_timeout(server, identity, addresses, LONG)
    }

    fn with_timeout(server: &Server, identity: &str, addresses: &[&str], timeout: Duration) -> Candidate {
        let (report, reports) = channel();
        let tell = move |it| {
            let _ = report.send(it);
        };
        let service =
            LeaderService::start(spec(identity, addresses), client(server), timeout, tell, |_, _| ()).unwrap();
        Candidate { service, reports }
    }

    fn leads(&self, fencing_token: u64, until: Time) {
        self.service.tell(Leadership::Leading { fencing_token, until });
    }

    fn ends(&self, fencing_token: u64, until: Time) {
        self.service.tell(Leadership::Ended { fencing_token, until });
    }

    /// Begins a term, and waits until the slices are written.
    fn is_routed(&self, fencing_token: u64) {
        self.leads(fencing_token, never());
        self.wait_for(ServiceReport::Routed { fencing_token });
    }

    /// Ends its term, and waits until the address is withdrawn.
    fn withdraws(&self, fencing_token: u64) {
        self.ends(fencing_token, never());
        self.wait_for(ServiceReport::Withdrawn { fencing_token });
    }

    /// Waits for this report, skipping others.
    fn wait_for(&self, report: ServiceReport) {
        while self.next() != report {}
    }

    /// Waits for the next report.
    fn next(&self) -> ServiceReport {
        self.reports.recv_timeout(PATIENCE).expect("there is a report")
    }
}

/// A moment after the end of all tests.
fn never() -> Time {
    clock::now().saturating_add(Duration::from_secs(3600))
}

fn after(time: Duration) -> Time {
    clock::now().saturating_add(time)
}

fn spec(identity: &str, addresses: &[&str]) -> ServiceSpec {
    let mut found = Addresses::default();
    for address in addresses {
        match address.parse().unwrap() {
            IpAddr::V4(address) => found.v4 = Some(address),
            IpAddr::V6(address) => found.v6 = Some(address),
        }
    }
    ServiceSpec {
        service: "web".to_owned(),
        namespace: "default".to_owned(),
        ports: vec![Port { name: "http".to_owned(), number: 8080 }],
        addresses: found,
        pod: Pod {
            name: identity.to_owned(),
            uid: Some(format!("uid-of-{identity}")),
            node: Some("node-0".to_owned()),
        },
        election: "example".to_owned(),
        identity: identity.to_owned(),
    }
}

fn client(server: &Server) -> Api {
    Api::new(Arc::new(Credentials::server(&server.url(), None).unwrap()), LONG)
}

fn name(slice: &str) -> SliceName {
    SliceName { namespace: "default".to_owned(), name: slice.to_owned() }
}

fn slice(server: &Server, name: &str) -> Value {
    server.get(SLICES, "default", name).unwrap_or_default()
}

/// The addresses in a slice.
fn addresses(slice: &Value) -> Vec<String> {
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    let addresses = endpoints.flat_map(|endpoint| endpoint["addresses"].as_array().into_iter().flatten());
    addresses.map(|address| address.as_str().unwrap().to_owned()).collect()
}

fn token(slice: &Value) -> u64 {
    slice["metadata"]["annotations"]["leader-elector/fencing-token"].as_str().map_or(0, |text| text.parse().unwrap())
}

/// The verbs of the requests for a slice so far.
fn verbs(server: &Server, slice: &str) -> Vec<&'static str> {
    let requests = server.requests();
    let of_slice = |it: &&RequestSeen| of(it, slice);
    requests.iter().filter(of_slice).map(|request| request.verb).collect()
}

/// Whether a request is for this slice; a create names it in its body.
fn of(request: &RequestSeen, slice: &str) -> bool {
    let named = || request.json().is_some_and(|object| object["metadata"]["name"] == slice);
    request.resource == SLICES && (request.name == slice || request.verb == "create" && named())
}

/// A matcher for faults: requests with this verb for the slice.
fn on(verb: &'static str, slice: &'static str) -> impl Fn(&RequestSeen) -> bool + Send + Sync + 'static {
    move |request| request.verb == verb && of(request, slice)
}
