//! The time from the start of a process until it leads, and the size of the binary and the image.

use crate::Bench;
use crate::common::candidate::Candidate;
use crate::common::wait_until;
use crate::report::{Measurement, Report};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// From the start of a process until its own `/` names it: with a Lease that nobody holds, as in a rolling update, and
/// without a Lease.
pub fn start(bench: &Bench, report: &mut Report) {
    let none = || vec![Vec::new(); bench.programs.len()];
    let (mut free, mut missing) = (none(), none());
    for round in 0..10 * bench.rounds {
        for (number, program) in bench.programs.iter().enumerate() {
            let election = format!("start-{number}-{round}");
            let flags = [bench.server.flags("start"), vec![format!("--election={election}"), "--ttl=15s".to_owned()]];
            for times in [&mut missing, &mut free] {
                let begin = Instant::now();
                let mut candidate = Candidate::spawn(program, "a", &flags.concat());
                wait_until("the candidate leads", Duration::from_micros(200), || candidate.leads());
                times[number].push(begin.elapsed().as_secs_f64() * 1000.0);
                candidate.signal(rustix::process::Signal::TERM);
                candidate.wait_to_end();
            }
        }
    }
    report.add_samples("start", "process start, until it leads, with a free Lease", "ms", free);
    report.add_samples("start missing", "process start, until it leads, without a Lease", "ms", missing);
}

/// The size of each executable, and of leader-elector's image if it was built. The polling elector has no size, because it
/// is part of the benchmark.
pub fn size(bench: &Bench, report: &mut Report) {
    let megabytes = |path: &Path| fs::metadata(path).ok().map(|file| Measurement::Single(file.len() as f64 / 1e6));
    let binaries = bench.programs.iter().enumerate();
    let binaries = binaries.map(|(number, program)| megabytes(&program.path()).filter(|_| number != 1)).collect();
    report.add("binary", "the binary", "MB", binaries);
    let mut image = vec![None; bench.programs.len()];
    image[0] = megabytes(Path::new("target/image/image.tar"));
    report.add("image", "the image, as an archive that is not compressed", "MB", image);
}
