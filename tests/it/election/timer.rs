//! The timers use the clock that counts suspended time.

use crate::common::lock::{Lock, NEVER};
use std::fs;

/// The kernel's number of `CLOCK_BOOTTIME`.
const BOOT_TIME: &str = "7";

#[test]
fn every_timer_counts_suspended_time() {
    let lock = Lock::new("leases");
    let elector = lock.start("a", &[NEVER]);
    elector.wait_to_lead();
    let files = fs::read_dir(format!("/proc/{}/fdinfo", elector.pid())).unwrap();
    let texts = files.filter_map(|file| fs::read_to_string(file.unwrap().path()).ok());
    let clock_of = |text: &str| text.lines().find_map(|line| line.strip_prefix("clockid: ").map(str::to_owned));
    let clocks: Vec<String> = texts.filter_map(|text| clock_of(&text)).collect();
    // The timer of the election, and that of the port.
    assert_eq!(clocks, [BOOT_TIME, BOOT_TIME]);
}
