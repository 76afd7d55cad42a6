//! The host of this process, and the proof that no other process with this identity runs there (S9).
//!
//! An abstract Unix socket exists once in a network namespace, and the kernel frees it when the process that bound it
//! dies. A process that binds the socket of its election and identity therefore knows that earlier holders in this
//! namespace are dead, together with their claims.

use crate::lock::LockName;
use crate::record::Host;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

/// The boot id and the network namespace of this process; `None` if the kernel does not provide them.
pub fn find() -> Option<Host> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let network = std::fs::read_link("/proc/self/ns/net").ok()?;
    Some(Host { boot: boot.trim().into(), network: network.to_string_lossy().into() })
}

/// The socket of one election and identity in this network namespace, bound while this value lives.
#[derive(Debug)]
pub struct Socket {
    _listener: UnixListener,
}

impl Socket {
    /// Binds the socket; fails if another process has bound it.
    pub fn hold(lock: &LockName, identity: &str) -> io::Result<Socket> {
        // A hash, because a name may be longer than a socket address. All versions must use the same hash, so that a
        // new version finds an old one that still runs.
        let name = format!("leader-elector/{:032x}", fnv1a(format!("{lock}\0{identity}").as_bytes()));
        let address = SocketAddr::from_abstract_name(name)?;
        Ok(Socket { _listener: UnixListener::bind_addr(&address)? })
    }
}

/// FNV-1a with 128 bits.
fn fnv1a(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv1a() {
        assert_eq!(fnv1a(b""), 0x6c62272e07bb014262b821756295c58d);
        assert_eq!(fnv1a(b"a"), 0xd228cb696f1a8caf78912b704e4a8964);
    }
}
