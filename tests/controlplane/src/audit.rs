//! The requests and writes in the audit log of a kube-apiserver.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::{Commit, Request};

/// The audit policy: the server logs requests for the resources that electors use, and for writes also the object.
pub(crate) fn policy() -> Value {
    let resources = json!([
        {"group": "", "resources": ["endpoints", "configmaps"]},
        {"group": "coordination.k8s.io", "resources": ["leases"]},
        {"group": "discovery.k8s.io", "resources": ["endpointslices"]},
    ]);
    json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitManagedFields": true,
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "RequestResponse", "verbs": ["create", "update", "patch", "delete"], "resources": resources},
            {"level": "Metadata", "resources": resources},
            {"level": "None"},
        ],
    })
}

/// The audit log. Each call reads the lines that were added since the last call.
pub(crate) struct AuditLog {
    path: PathBuf,
    /// One instant on both clocks, to convert the wall-clock times in the log.
    clock_anchor: (SystemTime, Instant),
    contents: Mutex<Contents>,
}

#[derive(Default)]
struct Contents {
    /// The offset in the file after the last complete line.
    offset: u64,
    /// In the order in which the answers ended; watches, in the order in which the answers began.
    events: Vec<AuditEvent>,
    /// The index in `events` by auditID. A watch is logged twice: at its beginning and at its end.
    index_by_id: BTreeMap<String, usize>,
}

struct AuditEvent {
    request: Request,
    within: (Instant, Instant),
    /// The object in the answer to a write.
    object: Value,
}

impl AuditLog {
    pub(crate) fn new(path: &Path) -> AuditLog {
        AuditLog {
            path: path.to_owned(),
            clock_anchor: (SystemTime::now(), Instant::now()),
            contents: Mutex::default(),
        }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.with_events(|events| events.iter().map(|event| event.request.clone()).collect())
    }

    pub(crate) fn commits(&self, resource: &str, namespace: &str) -> Vec<Commit> {
        self.with_events(|events| {
            let is_wanted =
                |event: &&AuditEvent| event.request.resource == resource && event.request.namespace == namespace;
            let mut commits: Vec<Commit> = events.iter().filter(is_wanted).filter_map(AuditEvent::commit).collect();
            let version = |commit: &Commit| commit.object.as_ref().map_or(0, version);
            if commits.iter().all(|commit| commit.object.is_some()) {
                commits.sort_by_key(version);
            }
            // An update that changes nothing gets the same resourceVersion, so it is not a new state.
            commits.dedup_by(|later, earlier| version(later) != 0 && version(later) == version(earlier));
            commits
        })
    }

    fn with_events<T>(&self, read: impl FnOnce(&[AuditEvent]) -> T) -> T {
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        for line in contents.read_new_lines(&self.path) {
            if let Some((id, event)) = serde_json::from_str(&line).ok().and_then(|event| self.event(event)) {
                contents.add(id, event);
            }
        }
        read(&contents.events)
    }

    fn event(&self, mut event: Value) -> Option<(String, AuditEvent)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = event["responseObject"].take();
        let reference = &event["objectRef"];
        let request = Request {
            verb: text(&event["verb"]),
            resource: text(&reference["resource"]),
            namespace: text(&reference["namespace"]),
            user: text(&event["user"]["username"]),
            status: event["responseStatus"]["code"].as_u64().and_then(|code| code.try_into().ok()),
        };
        let began = self.instant(event["requestReceivedTimestamp"].as_str()?)?;
        // The log truncates times to microseconds.
        let ended = self.instant(event["stageTimestamp"].as_str()?)? + Duration::from_micros(1);
        Some((text(&event["auditID"]), AuditEvent { request, within: (began, ended), object }))
    }

    fn instant(&self, time: &str) -> Option<Instant> {
        let time = UNIX_EPOCH + since_1970(time)?;
        let (wall, monotonic) = self.clock_anchor;
        match time.duration_since(wall) {
            Ok(later) => monotonic.checked_add(later),
            Err(error) => monotonic.checked_sub(error.duration()),
        }
    }
}

impl Contents {
    fn read_new_lines(&mut self, path: &Path) -> Vec<String> {
        let mut new = Vec::new();
        let read = File::open(path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.offset))?;
            file.read_to_end(&mut new)
        });
        let end = new.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        if read.is_err() {
            return Vec::new(); // the log does not exist yet
        }
        self.offset += end as u64;
        String::from_utf8_lossy(&new[..end]).lines().map(str::to_owned).collect()
    }

    fn add(&mut self, id: String, event: AuditEvent) {
        match self.index_by_id.get(&id) {
            Some(&index) => self.events[index] = event,
            None => {
                self.index_by_id.insert(id, self.events.len());
                self.events.push(event);
            }
        }
    }
}

impl AuditEvent {
    fn commit(&self) -> Option<Commit> {
        let succeeded = matches!(self.request.status, Some(200 | 201));
        let object = match self.request.verb.as_str() {
            "create" | "update" | "patch" if succeeded => Some(self.object.clone()),
            "delete" if succeeded => None,
            _ => return None,
        };
        Some(Commit { within: self.within, object })
    }
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// Reads a time as Kubernetes writes it, with six digits after the second: `2026-01-01T00:00:00.000000Z`.
fn since_1970(time: &str) -> Option<Duration> {
    let number = |from: usize, to: usize| time.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second, micros) = (number(11, 13)?, number(14, 16)?, number(17, 19)?, number(20, 26)?);
    // If years begin in March, the leap day is the last day, and the lengths of the months repeat every five months.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    Some(Duration::from_secs(days * 86_400 + hour * 3600 + minute * 60 + second) + Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_microsecond() {
        assert_eq!(since_1970("1970-01-01T00:00:00.000000Z"), Some(Duration::ZERO));
        // date --utc --date=2024-02-29T12:34:56Z +%s
        assert_eq!(since_1970("2024-02-29T12:34:56.000789Z"), Some(Duration::from_micros(1_709_210_096_000_789)));
        assert_eq!(since_1970("2026-11-22T11:55:00.123456Z"), Some(Duration::from_micros(1_795_348_500_123_456)));
        assert_eq!(since_1970("today"), None);
    }
}
