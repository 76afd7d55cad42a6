//! An elector stays within the memory limit in `deploy/`, whatever the lock object contains.

use crate::common::cluster::{lines, renews, wait_for};
use crate::common::lock::Lock;
use crate::common::{Elector, wait_until};
use serde_json::{Value, json};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The limit in `deploy/`.
const LIMIT_KB: u64 = 32 * 1024;

/// The largest request that an API server accepts, and so the largest object that can be written back.
const LARGEST: usize = 3 * 1024 * 1024;

/// Frequent renewals, and a lease that is longer than the test.
const FLAGS: [&str; 3] = ["--ttl=10m", "--renew-deadline=8m", "--retry-period=1s"];

/// For two renewals on a busy machine.
const SLOW: Duration = Duration::from_secs(180);

/// One of these tests at a time: a write of such an object keeps a processor busy for half a second.
static ALONE: Mutex<()> = Mutex::new(());

/// Space for the fields that the API server and the elector add.
const SPARE: usize = 4 * 1024;

/// JSON of this length with as many values as possible: two bytes for each.
fn junk(length: usize) -> String {
    format!("[{}0]", "0,".repeat(length / 2 - 1))
}

/// The binary that ships is linked with musl, which returns large blocks of memory at once. glibc, with which tests are
/// linked, does so only with this setting.
fn start(lock: &Lock, id: &str, flags: &[&str]) -> Elector {
    let mut command = Elector::program();
    command.env("MALLOC_MMAP_THRESHOLD_", "131072");
    Elector::start_as(command, id, &lock.flags(flags))
}

fn stays_within_the_limit(elector: &Elector) {
    let peak = elector.memory_kb("VmHWM");
    println!("{}: {peak} kB at most", elector.id);
    assert!(peak > 0 && peak < LIMIT_KB, "{} took {peak} kB", elector.id);
}

fn length(lock: &Lock) -> usize {
    lock.object().unwrap().to_string().len()
}

/// One candidate leads and another one follows, while other clients write to the object too.
fn is_led_within_the_limit(kind: &'static str, object: Value) {
    let lock = Lock::new(kind);
    lock.put(object);
    let before = length(&lock);
    let a = start(&lock, "a", &FLAGS);
    a.wait_to_lead();
    let b = start(&lock, "b", &FLAGS);
    b.wait_to_name("a");
    for number in 0..2 {
        lock.edit(|object| object["metadata"]["labels"]["number"] = format!("{number}").into());
        assert!(renews(&lock.server, 2, SLOW), "{}", a.log());
    }
    assert!(a.leads(), "{}", a.log());
    stays_within_the_limit(&a);
    stays_within_the_limit(&b);
    assert!((before..LARGEST).contains(&length(&lock)), "{before} to {}", length(&lock));
}

#[test]
fn the_largest_writable_object_keeps_memory_within_the_limit() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let address = |n: usize| json!({"ip": format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255)});
    let addresses: Vec<Value> = (0..(LARGEST - SPARE) / 20).map(address).collect();
    let mut object = json!({"metadata": {}, "subsets": [{"addresses": addresses}]});
    while object.to_string().len() > LARGEST - SPARE {
        object["subsets"][0]["addresses"].as_array_mut().unwrap().truncate(LARGEST / 25);
    }
    is_led_within_the_limit("endpoints", object);
}

fn many(count: usize, value: &Value) -> Value {
    (0..count).map(|n| (format!("{n:06}"), value.clone())).collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn as_many_small_fields_as_fit_keep_memory_within_the_limit() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // An API server accepts 256 KiB of annotations.
    let annotations = many((256 * 1024 - SPARE) / 6, &"".into());
    let data = many(LARGEST / 16, &"".into());
    is_led_within_the_limit("configmaps", json!({"metadata": {"annotations": annotations}, "data": data}));
    is_led_within_the_limit("leases", json!({"metadata": {}, "spec": many(LARGEST / 12, &0.into())}));
}

/// Unknown fields in the record itself, with a holder that another elector waits for.
#[test]
fn unknown_fields_beside_the_holder_keep_memory_within_the_limit() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let junk = junk(LARGEST - SPARE);
    for kind in ["endpoints", "leases"] {
        let lock = Lock::new(kind);
        let put = |renewed: &str| {
            let mut record = lock.peer("peer", 600, renewed);
            if kind == "leases" {
                record["junk"] = serde_json::from_str(&junk).unwrap();
                lock.put_record(&record);
            } else {
                lock.put_record(&record.to_string().replace('{', &format!("{{\"junk\":{junk},")).into());
            }
        };
        put("2026-01-01T00:00:00.000000Z");
        assert!((LARGEST - 2 * SPARE..LARGEST).contains(&length(&lock)));
        let a = start(&lock, "a", &["--ttl=1m"]);
        a.wait_to_name("peer");
        for number in 1..4 {
            let renewed = format!("2026-01-01T00:00:00.00000{number}Z");
            put(&renewed);
            wait_until("the renewal is seen", || a.ask("/status").unwrap().1.contains(&renewed));
        }
        stays_within_the_limit(&a);
    }
}

#[test]
fn an_unreadable_record_keeps_memory_within_the_limit() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let junk = junk(LARGEST - 2 * SPARE);
    let lock = Lock::new("endpoints");
    lock.put_record(&junk.clone().into());
    let a = start(&lock, "a", &["--ttl=5s"]);
    a.wait_for_log("it is not a JSON object");
    // A change at its end is a change too.
    let begun = Instant::now();
    for number in 0.. {
        if begun.elapsed() > Duration::from_secs(6) {
            break;
        }
        lock.put_record(&junk.replace("0]", &format!("{}]", number % 10)).into());
        assert!(a.printed().is_empty(), "{}", a.log());
        std::thread::sleep(Duration::from_millis(300)); // the interval of the other writer
    }
    let waited = lock.wait_for_takeover(&a);
    assert!(waited >= Duration::from_secs(5), "{waited:?}");
    a.wait_to_lead();
    stays_within_the_limit(&a);
}

/// A broken server, because no API server stores such an object.
#[test]
fn an_object_too_large_to_be_a_lock_keeps_memory_within_the_limit() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let huge = junk(15 * 1024 * 1024);
    let lock = Lock::new("endpoints");
    let record = lock.peer("peer", 600, "2026-01-01T00:00:00Z").to_string();
    lock.put_record(&record.replace('{', &format!("{{\"junk\":{huge},")).into());
    let mut a = start(&lock, "a", &["--ttl=1m", "--retry-period=200ms"]);
    a.wait_for_log("cannot read endpoints default/example: the answer is larger than 3 MiB, the limit for a lock");
    a.wait_for_log("cannot watch endpoints default/example: an event is longer than");
    let reads = |server: &apiserver::Server| server.requests().iter().filter(|it| it.verb == "get").count();
    wait_for(&lock.server, "it reads again", |server| reads(server) >= 5);
    assert!(a.is_running() && !a.leads());
    assert_eq!(lines(&a, " WARN "), 2, "{}", a.log());
    lock.put_record(&record.into());
    a.wait_to_name("peer");
    stays_within_the_limit(&a);
}
