//! The program in the pods of a real cluster: whichever the kubeconfig names, with an image that its nodes have.
//!
//! Each scenario has a namespace of its own, where only pods run that keep to the strictest of the standards for pods.
//! What is measured is said by the pods themselves, asked all the time through the API server's proxy. Words on the
//! command line choose the scenarios whose names contain one of them; `docs/operations.md` says how to run it.

#[path = "../common/mod.rs"]
mod common;

mod application;
mod cluster;
mod handovers;
mod logs;
mod manifests;
mod migration;
mod outages;
mod sampler;
mod sidecars;
mod stage;
mod timeline;
mod tokens;
mod traffic;
mod troubles;

use cluster::Cluster;
use common::scenarios::{Asked, Row, Skipped, Verdict, play, print_sum};
use std::process::ExitCode;

struct Scenario {
    name: &'static str,
    play: fn(&Cluster) -> Verdict<String>,
}

macro_rules! scenarios {
    ($($module:ident :: $name:ident,)*) => {
        &[$(Scenario { name: stringify!($name), play: $module::$name }),*]
    };
}

const SCENARIOS: &[Scenario] = scenarios![
    manifests::the_manifests_run_as_they_are,
    manifests::the_manifests_with_a_plain_sidecar_run,
    manifests::the_walk_of_the_readme_works,
    manifests::the_first_look_of_the_operations_works,
    handovers::a_deleted_leader_hands_over,
    handovers::a_leader_deleted_by_force_hands_over,
    handovers::a_rollout_restart_hands_over,
    handovers::scaling_down_and_up_keeps_a_leader,
    handovers::an_evicted_leader_hands_over,
    handovers::a_leader_asked_to_step_down_hands_over,
    migration::a_fleet_of_0_5_moves_to_leases_by_rolling_updates,
    handovers::a_leader_whose_process_is_killed_is_replaced,
    sidecars::a_native_sidecar_outlives_its_application,
    sidecars::a_plain_sidecar_with_a_release_delay_outlives_its_application,
    sidecars::a_command_runs_in_one_pod_at_a_time,
    timeline::a_timeline_of_a_handover,
    traffic::a_service_leads_to_the_leader,
    traffic::a_service_leads_away_from_a_killed_leader,
    outages::a_drained_node_has_one_leader_or_none,
    outages::an_api_server_that_is_restarted_costs_no_leadership,
    outages::an_etcd_that_is_away_for_less_than_f_costs_no_leadership,
    outages::an_etcd_that_is_away_for_more_than_f_ends_the_leadership,
    troubles::an_application_that_is_killed_for_its_memory_costs_no_leadership,
    troubles::a_command_that_is_killed_for_its_memory_is_followed_by_one_at_a_time,
    troubles::rights_taken_away_end_the_leadership_and_given_back_restore_it,
    troubles::kubectl_and_exec_probes_ask_the_elector,
    tokens::a_token_that_expires_costs_no_leadership,
];

fn main() -> ExitCode {
    let asked = Asked::of_command_line();
    let chosen: Vec<&Scenario> = SCENARIOS.iter().filter(|it| asked.chooses(it.name)).collect();
    if asked.list {
        chosen.iter().for_each(|it| println!("{}: test", it.name));
        return ExitCode::SUCCESS;
    }
    let mut rows = Vec::new();
    match Cluster::connect() {
        Err(Skipped(why)) => {
            println!("\nskipped: {why}");
            rows.extend(chosen.iter().map(|it| Row::skipped(it.name, why)));
        }
        Ok(cluster) => {
            println!("\nagainst {}\n", cluster.name());
            for scenario in chosen {
                let row = play(scenario.name, || (scenario.play)(&cluster));
                row.print();
                rows.push(row);
            }
            cluster.clean_up();
        }
    }
    print_sum(&rows)
}
