//! What the command line depends on besides its arguments.

/// The inputs of the command line besides argv.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The default identity.
    pub hostname: String,
    /// `RUST_LOG`, if it is set.
    pub rust_log: Option<String>,
    /// The pod's variables.
    pub pod: PodVariables,
}

/// The variables that the manifest of a pod can set through the downward API.
#[derive(Clone, Debug, Default)]
pub struct PodVariables {
    /// `POD_IPS`: all addresses, separated by commas.
    pub ips: Option<String>,
    /// `POD_IP`: one address.
    pub ip: Option<String>,
    /// `POD_NAME`.
    pub name: Option<String>,
    /// `POD_UID`.
    pub uid: Option<String>,
    /// `NODE_NAME`.
    pub node: Option<String>,
}

impl Environment {
    pub fn read() -> Environment {
        let variable = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        // An empty variable counts as not set.
        let of_pod = |name| variable(name).filter(|value| !value.trim().is_empty());
        Environment {
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            rust_log: variable("RUST_LOG"),
            pod: PodVariables {
                ips: of_pod("POD_IPS"),
                ip: of_pod("POD_IP"),
                name: of_pod("POD_NAME"),
                uid: of_pod("POD_UID"),
                node: of_pod("NODE_NAME"),
            },
        }
    }
}
