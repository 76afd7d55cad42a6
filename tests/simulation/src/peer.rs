//! Other implementations that share a lock with ours: models of leader-elector 0.5 and client-go, made from recorded
//! exchanges.

use crate::clock::SECOND;
use crate::oracle::Writer;
use crate::plan::Implementation;
use crate::server::record;
use crate::world::{Occurrence, World};
use leader_elector::record::{Content, Record, Stamp};

pub struct Peer {
    implementation: Implementation,
    identity: u8,
    lease: u64,
    /// The record that it saw last, and when it first saw it.
    seen: Option<Record>,
    seen_at: u64,
    acquired: Stamp,
    ends_at: u64,
    gone: bool,
}

impl World {
    pub fn add_peer(&mut self, implementation: Implementation) {
        let peer = self.peers.len();
        self.peers.push(Peer {
            implementation,
            identity: b'p' + peer as u8,
            // It ignores the L in the record and uses its own.
            lease: self.plan.longest_lease.div_ceil(SECOND) * SECOND,
            seen: None,
            seen_at: 0,
            acquired: Stamp::Micros(0),
            ends_at: self.random.below(self.plan.faults_until),
            gone: false,
        });
        let start = self.random.below(self.plan.longest_lease);
        self.schedule(start, Occurrence::PeerActs { peer });
    }

    /// It reads the lock, and writes if it holds it or may take it, all at the same moment.
    pub fn peer_acts(&mut self, peer: usize) {
        let it = &mut self.peers[peer];
        if it.gone {
            return;
        }
        if self.now >= it.ends_at {
            it.gone = true;
            if it.implementation == Implementation::ClientGo && self.random.happens(0.5) {
                self.peer_releases(peer);
            }
            return;
        }
        let again = self.now + it.lease / 4;
        self.schedule(again, Occurrence::PeerActs { peer });
        if self.network.outage.is_none() {
            self.peer_tries(peer);
        }
    }

    fn peer_tries(&mut self, peer: usize) {
        let present = self.present(0).content.clone();
        let it = &mut self.peers[peer];
        let own = |record: &Record| record.holder.as_bytes() == [it.identity];
        let transitions = match &present {
            Content::Record(record) => {
                if it.seen.as_ref() != Some(record) {
                    it.seen = Some(record.clone());
                    it.seen_at = self.now;
                }
                // 0.5 waits for a lease even if nobody holds the lock; client-go does not.
                let waits = !record.is_free() || it.implementation == Implementation::Old;
                if waits && !own(record) && self.now < it.seen_at + it.lease {
                    return;
                }
                if own(record) { record.transitions } else { record.transitions + 1 }
            }
            // 0.5 treats an unreadable record like an empty one; client-go gives up.
            Content::Unreadable { .. } if it.implementation == Implementation::ClientGo => return,
            Content::Unreadable { .. } | Content::Nothing => 0,
        };
        let keeps = matches!(&present, Content::Record(record) if own(record));
        let stamp = match it.implementation {
            Implementation::Old => Stamp::Micros((self.now / SECOND * 1_000_000) as i64),
            Implementation::ClientGo => Stamp::Micros((self.now / 1_000) as i64 + 7),
        };
        if !keeps {
            it.acquired = stamp.clone();
        }
        let transitions = if it.implementation == Implementation::Old && !keeps { 0 } else { transitions };
        let lease_seconds = (it.lease / SECOND) as u32;
        let content = record(
            std::str::from_utf8(&[it.identity]).expect("a letter"),
            lease_seconds,
            it.acquired.clone(),
            stamp,
            transitions,
        );
        self.peer_puts(content);
    }

    fn peer_releases(&mut self, peer: usize) {
        let it = &self.peers[peer];
        if let Content::Record(record) = &self.present(0).content
            && record.holder.as_bytes() == [it.identity]
        {
            let stamp = Stamp::Micros((self.now / 1_000) as i64);
            let released = Record {
                holder: "".into(),
                lease_seconds: 1,
                acquired: stamp.clone(),
                renewed: stamp,
                ..record.clone()
            };
            self.peer_puts(Content::Record(released));
        }
    }

    fn peer_puts(&mut self, content: Content) {
        if self.present(0).content == content {
            return;
        }
        let mark = self.present(0).mark.clone();
        self.server.put(0, content, mark);
        self.changed(0, Writer::Foreign);
    }

    pub fn any_peer(&self) -> bool {
        self.peers.iter().any(|peer| !peer.gone)
    }

    /// Whether this record in place of the present one misleads one of them: it considers a record with its name its
    /// own, and the record that it saw last unchanged.
    pub fn misleads_peer(&self, record: &Record) -> bool {
        let replaces = !matches!(&self.present(0).content, Content::Record(present) if present == record);
        self.peers
            .iter()
            .any(|peer| record.holder.as_bytes() == [peer.identity] || replaces && peer.seen.as_ref() == Some(record))
    }

    /// All of them end: each the next time it would act.
    pub fn peers_end(&mut self) {
        for peer in &mut self.peers {
            peer.ends_at = 0;
        }
    }
}
