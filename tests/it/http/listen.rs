//! The addresses on which the HTTP port listens.

use crate::common::http::{Client, known};
use leader_elector::http::{Limits, ListenAddress, Server};
use leader_elector::status::Status;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

const LOOPBACK_4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOOPBACK_6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Serves on `listen` and returns the port.
fn serve(listen: &str) -> (Vec<SocketAddr>, u16) {
    let server = bind(listen).unwrap();
    let addresses = server.local_addrs();
    std::thread::spawn(|| server.run(Arc::new(Status::new(known())), Arc::default()));
    let port = addresses[0].port();
    assert_ne!(port, 0);
    (addresses, port)
}

fn bind(listen: &str) -> Result<Server, String> {
    let listen: ListenAddress = listen.parse().unwrap();
    Server::bind(&listen, Limits::default()).map_err(|error| error.to_string())
}

fn assert_answers(ip: IpAddr, port: u16) {
    assert_eq!(Client::connect(SocketAddr::new(ip, port)).get("/").body, r#"{"name":""}"#, "{ip}");
}

fn has_ipv6() -> bool {
    TcpListener::bind((LOOPBACK_6, 0)).is_ok()
}

#[test]
fn every_interface_is_both_families() {
    for listen in [":0", "0.0.0.0:0", "[::]:0"] {
        let (_, port) = serve(listen);
        assert_answers(LOOPBACK_4, port);
        if has_ipv6() {
            assert_answers(LOOPBACK_6, port);
        }
    }
}

#[test]
fn localhost_is_both_loopback_addresses_on_one_port() {
    let (addresses, port) = serve("localhost:0");
    assert_answers(LOOPBACK_4, port);
    if has_ipv6() {
        assert_answers(LOOPBACK_6, port);
        assert_eq!(addresses.len(), 2);
    }
}

#[test]
fn an_address_is_that_address_alone() {
    let (addresses, port) = serve("127.0.0.1:0");
    assert_eq!(addresses, [SocketAddr::new(LOOPBACK_4, port)]);
    assert_answers(LOOPBACK_4, port);
    if has_ipv6() {
        let (addresses, port) = serve("[::1]:0");
        assert_eq!(addresses, [SocketAddr::new(LOOPBACK_6, port)]);
        assert_answers(LOOPBACK_6, port);
    }
}

#[test]
fn a_port_in_use_is_an_error_that_says_so() {
    let taken = TcpListener::bind((LOOPBACK_4, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    for host in ["127.0.0.1", "localhost", ""] {
        let error = bind(&format!("{host}:{port}")).unwrap_err();
        assert!(error.contains(&format!("{host}:{port}")) && error.contains("in use"), "{error}");
    }
}

#[test]
fn a_port_is_free_again_although_old_connections_linger() {
    let before = TcpListener::bind((LOOPBACK_4, 0)).unwrap();
    let address = before.local_addr().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    let (accepted, _) = before.accept().unwrap();
    // The side that closes first keeps the port, in TIME_WAIT.
    drop(accepted);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    drop(client);
    drop(before);
    bind(&address.to_string()).unwrap();
}

#[test]
fn an_address_of_another_machine_or_a_name_of_none_is_an_error_that_says_so() {
    let error = bind("192.0.2.1:0").unwrap_err();
    assert!(error.starts_with("cannot listen on 192.0.2.1:0: "), "{error}");
    let error = bind("name.invalid:0").unwrap_err();
    assert!(error.starts_with("cannot listen on name.invalid:0: "), "{error}");
}
