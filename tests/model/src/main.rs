use model::rules::Rules;
use model::state::Budget;
use model::world::{Deed, World};
use stateright::{Checker, Model, report::WriteReporter};

fn main() {
    let a: Vec<u8> = std::env::args().skip(1).map(|s| s.parse().unwrap()).collect();
    let world: World<2, 1> = World {
        rules: Rules { lease: a[0], renew_deadline: a[1], release_delay: 1, names: &[0, 1], weakened: None },
        steady: (a[2] > 0).then_some(a[2]),
        gap: a[3],
        slow_reads: a[4] & 1 > 0,
        symmetric: a[4] & 2 > 0,
        deeds: &[Deed::Touch, Deed::Delete, Deed::Strip, Deed::Corrupt, Deed::Free],
        budget: Budget { crashes: a[5], stops: a[6], strangers: a[7], doubts: a[8], resignations: 0 },
    };
    world
        .checker()
        .threads(if a[9] > 0 { 1 } else { 2 })
        .finish_when(if a[9] > 0 { stateright::HasDiscoveries::AnyFailures } else { stateright::HasDiscoveries::All })
        .spawn_bfs()
        .report(&mut WriteReporter::new(&mut std::io::stdout()));
}
