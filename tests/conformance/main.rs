//! The program against an API server as it is: the same scenarios against a real kube-apiserver with its etcd, where
//! `KUBEBUILDER_ASSETS` names a folder with both, and else against the stand-in of the other tests. Whatever holds here
//! for the one and not for the other is a fault of the stand-in.
//!
//! It has a `main` of its own, because all scenarios share one server, which must end with them, and because it
//! prints a table. Words on the command line choose the scenarios whose names contain one of them.

#[path = "../common/mod.rs"]
mod common;

mod acting;
mod elections;
mod outages;
mod readme;
mod rights;
mod stage;
mod third_parties;
mod tokens;
mod watches;

use common::scenarios::{Asked, Row, play, print_sum};
pub use common::scenarios::{Skipped, Verdict};
use controlplane::ControlPlane;
use std::collections::VecDeque;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

/// Each has a namespace of its own; so many are played at a time, for most of the time they wait.
const AT_ONCE: usize = 3;

struct Scenario {
    name: &'static str,
    play: fn(&ControlPlane) -> Verdict,
}

macro_rules! scenarios {
    ($($module:ident :: $name:ident,)*) => {
        &[$(Scenario { name: stringify!($name), play: $module::$name }),*]
    };
}

const SCENARIOS: &[Scenario] = scenarios![
    elections::three_candidates_elect_one_leader,
    elections::of_many_that_find_no_lock_one_leads_and_none_exits,
    elections::a_leader_told_to_leave_hands_over_at_once,
    elections::a_leader_that_was_killed_is_waited_for,
    elections::a_leader_that_stood_still_never_names_itself_again,
    elections::who_comes_back_under_its_own_name_leads_at_once,
    elections::an_ordinary_life_is_no_reason_for_a_warning,
    watches::a_lock_that_is_missing_is_watched_for,
    rights::get_and_update_are_enough_for_a_lock_that_is_there,
    rights::create_is_enough_for_a_lock_that_is_missing,
    rights::a_right_to_watch_that_comes_later_is_found,
    rights::who_may_do_nothing_says_so_and_leads_when_it_may,
    rights::the_rules_that_the_log_names_are_all_that_is_missing,
    tokens::a_new_token_costs_no_leadership,
    tokens::a_leader_whose_token_was_taken_back_stops_in_time,
    third_parties::what_others_write_beside_the_record_stays,
    third_parties::what_others_apply_stays,
    third_parties::a_deleted_lock_is_written_anew_by_its_leader,
    third_parties::a_leader_that_sees_another_holder_stops_at_once,
    third_parties::a_lock_that_is_deleted_while_candidates_start_has_one_leader_in_the_end,
    acting::a_service_leads_to_the_leader,
    acting::a_slice_of_a_greater_token_or_of_somebody_else_stays,
    acting::a_missing_right_on_the_slices_costs_no_leadership,
    acting::kubectl_asks_a_leader_to_step_down,
    readme::kubectl_shows_who_leads,
    readme::kubectl_proxy_is_enough_for_a_server,
    readme::the_manifests_are_valid,
    readme::the_rights_of_the_manifest_are_enough,
];

/// These take the server away from all the others.
const ALONE: &[Scenario] = scenarios![
    watches::a_watch_from_a_version_that_is_no_longer_kept_begins_anew,
    outages::a_server_that_is_killed_and_comes_back_costs_no_leadership,
    outages::a_leader_without_a_server_stops_in_time,
    outages::a_storage_that_stands_still_for_a_while_costs_no_leadership,
    outages::a_leader_without_a_storage_stops_in_time,
];

fn main() -> ExitCode {
    let asked = Asked::of_command_line();
    let is_chosen = |it: &&Scenario| asked.chooses(it.name);
    let (together, alone): (Vec<_>, Vec<_>) =
        (SCENARIOS.iter().filter(is_chosen).collect(), ALONE.iter().filter(is_chosen).collect());
    if asked.list {
        together.iter().chain(&alone).for_each(|it| println!("{}: test", it.name));
        return ExitCode::SUCCESS;
    }
    let rows = match together.len() + alone.len() {
        0 => Vec::new(),
        _ => play_all(together, alone),
    };
    print_sum(&rows)
}

fn play_all(together: Vec<&'static Scenario>, alone: Vec<&'static Scenario>) -> Vec<Row> {
    let plane = ControlPlane::start(Path::new(env!("CARGO_TARGET_TMPDIR")));
    let plane = plane.unwrap_or_else(|error| panic!("there is no control plane: {error}"));
    println!("\nagainst {}\n", plane.name());
    let play = |scenario: &'static Scenario| play(scenario.name, || (scenario.play)(&plane));
    let (waiting, rows) = (Mutex::new(VecDeque::from(together)), Mutex::new(Vec::new()));
    let next = || waiting.lock().expect("nobody panics with it").pop_front();
    let add = |row: Row| {
        row.print();
        rows.lock().expect("nobody panics with it").push(row);
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(scenario) = next() {
                    add(play(scenario));
                }
            });
        }
    });
    let mut is_sound = true;
    for scenario in alone {
        let left_behind = "the server is as a scenario that failed has left it";
        let row = if is_sound { play(scenario) } else { Row::skipped(scenario.name, left_behind) };
        is_sound &= !row.has_failed();
        add(row);
    }
    rows.into_inner().expect("nobody panics with it")
}
