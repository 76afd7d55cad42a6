//! `--leader-service` and `--pod-ip`, and the pod's environment variables.

use super::{Environment, PodVariables, UsageError, bad, label_fault, too_long};
use crate::leader_service::{Addresses, Pod, Port, ServiceSpec};
use std::net::IpAddr;

/// The values of the flags.
pub(super) struct ServiceFlags {
    pub(super) service: Option<String>,
    pub(super) pod_ip: Option<String>,
}

const SERVICE: &str = "--leader-service";
const POD_IP: &str = "--pod-ip";

impl ServiceFlags {
    /// `None` if there is no leader Service.
    pub(super) fn complete(
        self,
        election: &str,
        namespace: &str,
        identity: &str,
        environment: &Environment,
    ) -> Result<Option<ServiceSpec>, UsageError> {
        let Some(given) = self.service else {
            return match self.pod_ip {
                None => Ok(None),
                Some(_) => Err(UsageError(format!("{POD_IP} has no effect without {SERVICE}: leave it out"))),
            };
        };
        let (service, ports) = service(&given).map_err(|fault| bad(SERVICE, &given, &fault))?;
        let PodVariables { name, uid, node, .. } = environment.pod.clone();
        Ok(Some(ServiceSpec {
            service,
            namespace: namespace.to_owned(),
            ports,
            addresses: addresses(self.pod_ip.as_deref(), &environment.pod)?,
            pod: Pod { name: name.unwrap_or_else(|| environment.hostname.clone()), uid, node },
            election: election.to_owned(),
            identity: identity.to_owned(),
        }))
    }
}

/// `NAME:PORT[,PORT…]`. A port is a number or, if the port of the Service has a name, `name=number`.
fn service(text: &str) -> Result<(String, Vec<Port>), String> {
    let form = "write it like my-service:8080 or my-service:http=8080,metrics=9090";
    let (name, list) = text.split_once(':').ok_or_else(|| format!("the port is missing; {form}"))?;
    let fault = if name.len() > LONGEST_LABEL { Some(too_long(name, LONGEST_LABEL)) } else { label_fault(name) };
    if let Some(fault) = fault {
        return Err(format!("{fault}; {form}"));
    }
    let ports = list.split(',').map(port).collect::<Result<Vec<_>, _>>().map_err(|fault| format!("{fault}; {form}"))?;
    if ports.len() > 1 && ports.iter().any(|port| port.name.is_empty()) {
        return Err(format!("several ports need the names that they have in the Service; {form}"));
    }
    let twice = |(index, port): (usize, &Port)| {
        ports[..index].iter().any(|before| before.name == port.name).then(|| port.name.clone())
    };
    match ports.iter().enumerate().find_map(twice) {
        Some(name) => Err(format!("the port {name:?} occurs twice; {form}")),
        None => Ok((name.to_owned(), ports)),
    }
}

const LONGEST_LABEL: usize = 63;

fn port(text: &str) -> Result<Port, String> {
    let (name, number) = text.split_once('=').unwrap_or(("", text));
    if text.contains('=') {
        let fault = if name.len() > LONGEST_LABEL { Some(too_long(name, LONGEST_LABEL)) } else { label_fault(name) };
        if let Some(fault) = fault {
            return Err(format!("the name of the port {text:?} is invalid: {fault}"));
        }
    }
    // Rust also parses `+1`.
    let read = Some(number).filter(|it| !it.starts_with('+')).and_then(|it| it.parse().ok()).filter(|it| *it > 0);
    let number = read.ok_or_else(|| format!("{number:?} is not a port from 1 to 65535"))?;
    Ok(Port { name: name.to_owned(), number })
}

/// The addresses of the pod, from the flag or from the environment.
fn addresses(given: Option<&str>, variables: &PodVariables) -> Result<Addresses, UsageError> {
    let found = [(POD_IP, given), ("$POD_IPS", variables.ips.as_deref()), ("$POD_IP", variables.ip.as_deref())];
    let Some((origin, list)) = found.into_iter().find_map(|(origin, list)| Some((origin, list?))) else {
        return Err(UsageError(format!(
            "{SERVICE} needs the address of this pod: give {POD_IP}=10.0.0.1, or set the environment variable POD_IPS from \
             the field status.podIPs"
        )));
    };
    let mut addresses = Addresses::default();
    for text in list.split(',').map(str::trim) {
        let fault = |what: &str| bad(origin, list, what);
        let address: IpAddr = text.parse().map_err(|_| fault(&format!("{text:?} is not an IP address")))?;
        if is_unroutable(address) {
            return Err(fault(&format!(
                "{address} cannot be reached from other machines; give the address of the pod"
            )));
        }
        let before = match address {
            IpAddr::V4(address) => addresses.v4.replace(address).map(IpAddr::V4),
            IpAddr::V6(address) => addresses.v6.replace(address).map(IpAddr::V6),
        };
        if before.is_some() {
            return Err(fault("give at most one IPv4 and one IPv6 address"));
        }
    }
    Ok(addresses)
}

/// The addresses that an API server does not accept in an EndpointSlice.
fn is_unroutable(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address.to_ipv4_mapped().is_some(),
    };
    is_link_local || address.is_unspecified() || address.is_loopback() || address.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn spec(service: &str, pod_ip: Option<&str>, pod: PodVariables) -> Result<Option<ServiceSpec>, String> {
        let given = ServiceFlags { service: Some(service.to_owned()), pod_ip: pod_ip.map(str::to_owned) };
        let environment = Environment { hostname: "web-0".to_owned(), pod, ..Environment::default() };
        given.complete("e", "prod", "me", &environment).map_err(|error| error.to_string())
    }

    fn ports(service: &str) -> Vec<(String, u16)> {
        let spec = spec(service, Some("10.0.0.1"), PodVariables::default()).unwrap().unwrap();
        spec.ports.into_iter().map(|port| (port.name, port.number)).collect()
    }

    fn addresses_of(pod_ip: Option<&str>, ips: Option<&str>, ip: Option<&str>) -> Result<Addresses, String> {
        let variables =
            PodVariables { ips: ips.map(str::to_owned), ip: ip.map(str::to_owned), ..PodVariables::default() };
        Ok(spec("web:80", pod_ip, variables)?.unwrap().addresses)
    }

    #[test]
    fn ports_have_numbers_and_several_have_names() {
        assert_eq!(ports("web:8080"), [(String::new(), 8080)]);
        assert_eq!(ports("web:http=65535"), [("http".to_owned(), 65535)]);
        assert_eq!(ports("web:http=80,metrics=80"), [("http".to_owned(), 80), ("metrics".to_owned(), 80)]);
        for (service, fault) in [
            ("web", "the port is missing"),
            (":80", "is empty"),
            ("Web:80", "'W' is not allowed"),
            ("a.b:80", "'.' is not allowed"),
            ("web:", "\"\" is not a port"),
            ("web:0", "\"0\" is not a port"),
            ("web:65536", "is not a port"),
            ("web:+80", "is not a port"),
            ("web:http", "is not a port"),
            ("web:=80", "is empty"),
            ("web:HTTP=80", "'H' is not allowed"),
            ("web:80,81", "several ports need the names"),
            ("web:http=80,81", "several ports need the names"),
            ("web:http=80,http=81", "\"http\" occurs twice"),
        ] {
            let error = spec(service, Some("10.0.0.1"), PodVariables::default()).unwrap_err();
            assert!(error.starts_with(&format!("--leader-service={service:?}: ")) && error.contains(fault), "{error}");
            assert!(error.ends_with("; write it like my-service:8080 or my-service:http=8080,metrics=9090"), "{error}");
        }
        assert!(spec(&format!("{}:80", "a".repeat(64)), Some("10.0.0.1"), PodVariables::default()).is_err());
    }

    #[test]
    fn the_address_is_given_or_that_of_the_downward_api() {
        let v6: Ipv6Addr = "fd00::1".parse().unwrap();
        let (only_v4, both) = (Addresses { v4: Some(V4), v6: None }, Addresses { v4: Some(V4), v6: Some(v6) });
        assert_eq!(addresses_of(Some("10.0.0.1"), Some("10.0.0.2"), Some("10.0.0.3")), Ok(only_v4));
        assert_eq!(addresses_of(None, Some("fd00::1,10.0.0.1"), Some("10.0.0.3")), Ok(both));
        assert_eq!(addresses_of(None, None, Some("10.0.0.1")), Ok(only_v4));
        assert_eq!(addresses_of(Some("fd00:0::1, 10.0.0.1"), None, None), Ok(both));
        let missing = addresses_of(None, None, None).unwrap_err();
        assert!(missing.contains("--pod-ip=10.0.0.1") && missing.contains("status.podIPs"), "{missing}");
        for (list, fault) in [
            ("", "\"\" is not an IP address"),
            ("web-0", "\"web-0\" is not an IP address"),
            ("10.0.0.1,10.0.0.2", "at most one IPv4"),
            ("127.0.0.1", "cannot be reached from other machines"),
            ("169.254.1.1", "cannot be reached from other machines"),
            ("0.0.0.0", "cannot be reached from other machines"),
            ("::1", "cannot be reached from other machines"),
            ("fe80::1", "cannot be reached from other machines"),
            ("::ffff:10.0.0.1", "cannot be reached from other machines"),
        ] {
            let error = addresses_of(Some(list), None, None).unwrap_err();
            assert!(error.starts_with(&format!("--pod-ip={list:?}: ")) && error.contains(fault), "{error}");
            if !list.is_empty() {
                assert!(addresses_of(None, Some(list), None).unwrap_err().starts_with(&format!("$POD_IPS={list:?}: ")));
            }
        }
    }

    #[test]
    fn the_pod_is_named_as_far_as_it_is_known() {
        let pod = |variables| spec("web:80", Some("10.0.0.1"), variables).unwrap().unwrap().pod;
        assert_eq!(pod(PodVariables::default()), Pod { name: "web-0".to_owned(), uid: None, node: None });
        let known = |text: &str| Some(text.to_owned());
        let variables = PodVariables { name: known("p"), uid: known("u"), node: known("n"), ..PodVariables::default() };
        assert_eq!(pod(variables), Pod { name: "p".to_owned(), uid: known("u"), node: known("n") });
    }

    #[test]
    fn an_address_without_a_service_is_a_mistake() {
        let environment = Environment::default();
        let complete = |pod_ip: Option<&str>| {
            ServiceFlags { service: None, pod_ip: pod_ip.map(str::to_owned) }.complete("e", "n", "me", &environment)
        };
        assert_eq!(complete(None), Ok(None));
        assert!(complete(Some("10.0.0.1")).unwrap_err().to_string().contains("--leader-service"));
    }
}
