//! The candidate waits by the clock that goes on while the machine sleeps.

use crate::common::lock::{Lock, NEVER};
use std::fs;

/// `CLOCK_BOOTTIME`, as the kernel numbers clocks.
const BOOT_TIME: &str = "7";

#[test]
fn every_timer_goes_on_while_the_machine_sleeps() {
    let lock = Lock::new("leases");
    let elector = lock.start("a", &[NEVER]);
    elector.wait_to_lead();
    let files = fs::read_dir(format!("/proc/{}/fdinfo", elector.pid())).unwrap();
    let texts = files.filter_map(|file| fs::read_to_string(file.unwrap().path()).ok());
    let clock_of = |text: &str| text.lines().find_map(|line| line.strip_prefix("clockid: ").map(str::to_owned));
    let clocks: Vec<String> = texts.filter_map(|text| clock_of(&text)).collect();
    // The election's, and that of the port.
    assert_eq!(clocks, [BOOT_TIME, BOOT_TIME]);
}
