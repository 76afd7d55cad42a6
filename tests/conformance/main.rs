//! The program against a real kube-apiserver with etcd, if `KUBEBUILDER_ASSETS` names a directory with both, and
//! otherwise against the in-memory API server of the other tests. If a scenario passes with one and fails with the
//! other, the in-memory API server is wrong.
//!
//! It has its own `main`, because all scenarios share one server, which must be stopped at the end, and because it
//! prints a table. Each argument is a word; only scenarios whose names contain one of the words run.

#[path = "../common/mod.rs"]
mod common;

mod acting;
mod elections;
mod namespace;
mod outages;
mod readme;
mod rights;
mod third_parties;
mod tokens;
mod watches;

use common::scenarios::{self, ScenarioReport, Selection, print_totals};
pub use common::scenarios::{ScenarioResult, Skipped};
use controlplane::ControlPlane;
use std::collections::VecDeque;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

/// How many scenarios run at the same time, each in a namespace of its own. They mostly wait, so they need little CPU.
const PARALLEL: usize = 3;

struct Scenario {
    name: &'static str,
    run: fn(&ControlPlane) -> ScenarioResult,
}

macro_rules! scenarios {
    ($($module:ident :: $name:ident,)*) => {
        &[$(Scenario { name: stringify!($name), run: $module::$name }),*]
    };
}

const SCENARIOS: &[Scenario] = scenarios![
    elections::three_candidates_elect_one_leader,
    elections::of_many_candidates_without_a_lock_one_leads_and_none_exits,
    elections::a_leader_that_gets_sigterm_hands_over_at_once,
    elections::a_killed_leader_keeps_the_lock_for_its_lease,
    elections::a_paused_leader_never_names_itself_again,
    elections::a_restarted_candidate_leads_at_once,
    elections::normal_operation_logs_no_warning,
    watches::a_missing_lock_is_watched,
    rights::get_and_update_are_enough_for_an_existing_lock,
    rights::create_is_enough_for_a_missing_lock,
    rights::a_right_to_watch_that_is_granted_later_is_used,
    rights::a_candidate_without_rights_logs_them_and_leads_when_they_are_granted,
    rights::the_rules_in_the_log_are_sufficient,
    tokens::a_new_token_does_not_end_the_leadership,
    tokens::a_leader_with_a_revoked_token_stops_in_time,
    third_parties::other_fields_of_the_object_are_kept,
    third_parties::fields_that_others_apply_are_kept,
    third_parties::a_leader_writes_a_deleted_lock_again,
    third_parties::a_leader_that_sees_another_holder_stops_at_once,
    third_parties::a_lock_that_is_deleted_while_candidates_start_gets_one_leader,
    acting::the_service_routes_to_the_leader,
    acting::a_slice_with_a_greater_token_or_another_owner_is_not_written,
    acting::a_missing_right_on_the_slices_does_not_end_the_leadership,
    acting::kubectl_asks_a_leader_to_step_down,
    readme::kubectl_shows_who_leads,
    readme::kubectl_proxy_is_enough_for_a_server,
    readme::the_manifests_are_valid,
    readme::the_rights_of_the_manifest_are_enough,
];

/// These scenarios stop the server, so they run one at a time after the others.
const SERIAL: &[Scenario] = scenarios![
    watches::a_watch_from_a_version_that_is_no_longer_kept_starts_again,
    outages::a_restart_of_the_api_server_does_not_end_the_leadership,
    outages::a_leader_without_an_api_server_stops_in_time,
    outages::a_short_pause_of_etcd_does_not_end_the_leadership,
    outages::a_leader_without_etcd_stops_in_time,
];

fn main() -> ExitCode {
    let selection = Selection::from_command_line();
    let is_selected = |it: &&Scenario| selection.selects(it.name);
    let (parallel, serial): (Vec<_>, Vec<_>) =
        (SCENARIOS.iter().filter(is_selected).collect(), SERIAL.iter().filter(is_selected).collect());
    if selection.list_only {
        parallel.iter().chain(&serial).for_each(|it| println!("{}: test", it.name));
        return ExitCode::SUCCESS;
    }
    let reports = match parallel.len() + serial.len() {
        0 => Vec::new(),
        _ => run_all(parallel, serial),
    };
    print_totals(&reports)
}

fn run_all(parallel: Vec<&'static Scenario>, serial: Vec<&'static Scenario>) -> Vec<ScenarioReport> {
    let plane = ControlPlane::start(Path::new(env!("CARGO_TARGET_TMPDIR")));
    let plane = plane.unwrap_or_else(|error| panic!("cannot start a control plane: {error}"));
    println!("\nagainst {}\n", plane.name());
    let run = |scenario: &'static Scenario| scenarios::run(scenario.name, || (scenario.run)(&plane));
    let (queue, reports) = (Mutex::new(VecDeque::from(parallel)), Mutex::new(Vec::new()));
    let next = || queue.lock().expect("no thread panics while it holds the lock").pop_front();
    let add = |report: ScenarioReport| {
        report.print();
        reports.lock().expect("no thread panics while it holds the lock").push(report);
    };
    thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                while let Some(scenario) = next() {
                    add(run(scenario));
                }
            });
        }
    });
    let mut all_passed = true;
    for scenario in serial {
        let reason = "an earlier scenario failed, and may have left the server stopped";
        let report = if all_passed { run(scenario) } else { ScenarioReport::skipped(scenario.name, reason) };
        all_passed &= !report.has_failed();
        add(report);
    }
    reports.into_inner().expect("no thread panics while it holds the lock")
}
