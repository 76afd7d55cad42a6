//! The mark of a write, which the annotation [`MARK_ANNOTATION`](super::MARK_ANNOTATION) holds.

use super::Stamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The maximum length of a mark, in bytes. Real marks are far shorter.
const LONGEST_MARK: usize = 16 * 1024;

/// The mark of one write, unique to the process and the write.
///
/// With it a candidate recognises its own write after the answer was lost. Other implementations and people do not
/// remove the mark when they write their own record. So the mark repeats the holder and the renewTime of its record,
/// which shows whether it belongs to the current record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// A random number of the process.
    pub process: u128,
    /// The number of the write in the process.
    pub write: u64,
    pub holder: Arc<str>,
    pub renewed: Stamp,
    /// Where the process runs. Only set if the process holds the socket that allows one process per identity and host.
    /// Without it, the host would prove nothing.
    pub host: Option<Host>,
}

/// Where a process runs: the scope of abstract Unix sockets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    /// The kernel's boot id.
    pub boot: Arc<str>,
    /// The network namespace, as `/proc/self/ns/net` names it.
    pub network: Arc<str>,
}

/// The mark in the form of the annotation.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MarkText {
    process: String,
    write: u64,
    holder_identity: Arc<str>,
    renew_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<Arc<str>>,
}

impl Mark {
    /// The text of the annotation.
    pub fn to_annotation(&self) -> String {
        let form = MarkText {
            process: format!("{:032x}", self.process),
            write: self.write,
            holder_identity: self.holder.clone(),
            renew_time: self.renewed.text(),
            boot: self.host.as_ref().map(|host| host.boot.clone()),
            network: self.host.as_ref().map(|host| host.network.clone()),
        };
        serde_json::to_string(&form).unwrap_or_default() // strings and numbers always serialise
    }

    /// Parses the text of the annotation; `None` if it is not a mark of this program.
    pub fn from_annotation(text: &str) -> Option<Mark> {
        let form: MarkText = serde_json::from_str(text).ok().filter(|_| text.len() <= LONGEST_MARK)?;
        Some(Mark {
            process: u128::from_str_radix(&form.process, 16).ok()?,
            write: form.write,
            holder: form.holder_identity,
            renewed: Stamp::parse(&form.renew_time),
            host: form.boot.zip(form.network).map(|(boot, network)| Host { boot, network }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_with_the_longest_identity_is_read() {
        let mark = Mark {
            process: u128::MAX,
            write: u64::MAX,
            holder: "\u{1}".repeat(crate::cli::LONGEST_ID).into(),
            renewed: Stamp::Micros(0),
            host: Some(Host { boot: "b".repeat(100).into(), network: "n".repeat(100).into() }),
        };
        assert_eq!(Mark::from_annotation(&mark.to_annotation()), Some(mark));
    }
}
