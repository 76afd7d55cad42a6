//! Scenarios that run the program in pods of a real cluster, the one of the current kubeconfig.
//!
//! Each scenario has a namespace of its own, which enforces the Pod Security Standard `restricted`. Most of the
//! measurements come from `/status` of the pods, which a sampler polls through the API server's proxy. Each argument is
//! a word; only scenarios whose names contain one of the words run. `docs/operations.md` says how to run them.

#[path = "../common/mod.rs"]
mod common;

mod application;
mod cluster;
mod handovers;
mod leader_service;
mod logs;
mod manifests;
mod migration;
mod namespace;
mod out_of_memory;
mod outages;
mod probes;
mod rights;
mod sampler;
mod sidecars;
mod timeline;
mod tokens;

use cluster::Cluster;
use common::scenarios::{self, ScenarioReport, ScenarioResult, Selection, Skipped, print_totals};
use std::process::ExitCode;

struct Scenario {
    name: &'static str,
    run: fn(&Cluster) -> ScenarioResult<String>,
}

macro_rules! scenarios {
    ($($module:ident :: $name:ident,)*) => {
        &[$(Scenario { name: stringify!($name), run: $module::$name }),*]
    };
}

const SCENARIOS: &[Scenario] = scenarios![
    manifests::the_manifests_run_unchanged,
    manifests::the_manifests_with_a_plain_sidecar_run,
    manifests::the_commands_of_the_readme_work,
    manifests::the_example_of_the_operations_guide_works,
    handovers::a_deleted_leader_hands_over,
    handovers::a_leader_deleted_by_force_hands_over,
    handovers::a_rollout_restart_hands_over,
    handovers::scaling_down_and_up_keeps_a_leader,
    handovers::an_evicted_leader_hands_over,
    handovers::a_leader_asked_to_step_down_hands_over,
    migration::candidates_of_0_5_move_to_leases_by_rolling_updates,
    handovers::a_leader_whose_process_is_killed_is_replaced,
    sidecars::a_native_sidecar_outlives_its_application,
    sidecars::a_plain_sidecar_with_a_release_delay_outlives_its_application,
    sidecars::a_command_runs_in_one_pod_at_a_time,
    timeline::a_handover_has_a_timeline,
    leader_service::the_service_routes_to_the_leader,
    leader_service::the_service_stops_routing_to_a_killed_leader,
    outages::a_drained_node_has_one_leader_or_none,
    outages::a_restart_of_the_api_server_does_not_end_the_leadership,
    outages::an_outage_of_etcd_shorter_than_f_does_not_end_the_leadership,
    outages::an_outage_of_etcd_longer_than_f_ends_the_leadership,
    out_of_memory::an_oom_killed_application_does_not_end_the_leadership,
    out_of_memory::after_an_oom_kill_one_command_runs_at_a_time,
    rights::revoked_rights_end_the_leadership_and_granted_rights_restore_it,
    probes::kubectl_and_exec_probes_query_the_elector,
    tokens::an_expired_token_does_not_end_the_leadership,
];

fn main() -> ExitCode {
    let selection = Selection::from_command_line();
    let selected: Vec<&Scenario> = SCENARIOS.iter().filter(|it| selection.selects(it.name)).collect();
    if selection.list_only {
        selected.iter().for_each(|it| println!("{}: test", it.name));
        return ExitCode::SUCCESS;
    }
    let mut reports = Vec::new();
    match Cluster::connect() {
        Err(Skipped(reason)) => {
            println!("\nskipped: {reason}");
            reports.extend(selected.iter().map(|it| ScenarioReport::skipped(it.name, reason)));
        }
        Ok(cluster) => {
            println!("\nagainst {}\n", cluster.description());
            for scenario in selected {
                let report = scenarios::run(scenario.name, || (scenario.run)(&cluster));
                report.print();
                reports.push(report);
            }
            cluster.clean_up();
        }
    }
    print_totals(&reports)
}
