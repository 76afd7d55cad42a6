//! How soon does a program lead after its start, and how large is it?

use crate::Bench;
use crate::common::candidate::Candidate;
use crate::common::wait_until;
use crate::report::{Report, Value};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// From the start of a process to its own `/` naming it: where the Lease is there and free, as after a rolling update, and
/// where there is none.
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
                wait_until("it leads", Duration::from_micros(200), || candidate.leads());
                times[number].push(begin.elapsed().as_secs_f64() * 1000.0);
                candidate.signal(rustix::process::Signal::TERM);
                candidate.wait_to_end();
            }
        }
    }
    report.add_spreads("start", "process start, until it leads, with a free Lease", "ms", free);
    report.add_spreads("start missing", "process start, until it leads, without a Lease", "ms", missing);
}

/// Of the file that is executed, and of our image if it was built. The polling elector is a part of the benchmark.
pub fn size(bench: &Bench, report: &mut Report) {
    let megabytes = |path: &Path| fs::metadata(path).ok().map(|file| Value::Once(file.len() as f64 / 1e6));
    let binaries = bench.programs.iter().enumerate();
    let binaries = binaries.map(|(number, program)| megabytes(&program.path()).filter(|_| number != 1)).collect();
    report.add("binary", "the binary", "MB", binaries);
    let mut image = vec![None; bench.programs.len()];
    image[0] = megabytes(Path::new("target/image/image.tar"));
    report.add("image", "the image, as an archive that is not compressed", "MB", image);
}
