//! The manifests in `deploy/` are consistent: rights and lock, ports and flags, labels and selectors. The conformance
//! scenarios check that an API server accepts them.

use crate::common::deploy::{Overlay, components, is_there, manifests, text, yaml_in};
use leader_elector::cli::{Config, Environment, Invocation, PodVariables, parse};
use leader_elector::leader_service::ServiceSpec;
use leader_elector::lock::LockKind;
use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// The namespace of the pods.
const NAMESPACE: &str = "mine";

#[test]
fn the_manifests_applied_one_by_one_agree() {
    let mut deployments = 0;
    for file in manifests() {
        let together = [text("rbac.yaml"), text("pdb.yaml"), text(&file)];
        let objects = together.iter().flat_map(|text| documents(text)).collect::<Vec<_>>();
        deployments += judge(&objects);
    }
    assert_eq!(deployments, 3, "example, native and plain");
}

#[test]
fn the_kustomization_names_what_is_there() {
    let kustomization = documents(&text("kustomization.yaml")).remove(0);
    strings(&kustomization["resources"]).iter().for_each(|file| assert!(manifests().contains(file), "{file}"));
    let generator = &kustomization["configMapGenerator"][0];
    for file in ["sidecar-native.yaml", "sidecar-plain.yaml"] {
        let deployment = documents(&text(file)).remove(0);
        let spec = &deployment["spec"]["template"]["spec"];
        assert_eq!(spec["volumes"][0]["configMap"]["name"], generator["name"], "{file}");
        let application = list(&spec["containers"]).iter().find(|it| it["name"] == "app").unwrap();
        assert_eq!(application["volumeMounts"][0]["name"], spec["volumes"][0]["name"], "{file}");
        let folder = application["volumeMounts"][0]["mountPath"].as_str().unwrap();
        let started = application["command"][1].as_str().unwrap().strip_prefix(&format!("{folder}/")).unwrap();
        assert!(strings(&generator["files"]).iter().any(|it| it == started), "{started}");
        assert!(!text(started).is_empty());
    }
}

#[test]
fn the_components_for_other_locks_agree() {
    let mut locks = 0;
    for component in components() {
        let Some(lock) = component.strip_prefix("lock-") else { continue };
        locks += 1;
        let kustomization = documents(&text(&format!("{component}/kustomization.yaml"))).remove(0);
        let patch = &documents(kustomization["patches"][1]["patch"].as_str().unwrap())[0][0];
        assert_eq!(patch["value"], format!("--lock={lock}"));
        let role = text(&format!("{component}/role.yaml"));
        let mut objects = documents(&text("rbac.yaml"));
        objects.retain(|it| it["kind"] != "Role");
        objects.extend(documents(&role));
        let mut deployment = documents(&text("sidecar-native.yaml")).remove(0);
        let place = patch["path"].as_str().unwrap().strip_suffix("/-").unwrap();
        deployment.pointer_mut(place).unwrap().as_array_mut().unwrap().push(patch["value"].clone());
        objects.push(deployment);
        assert_eq!(judge(&objects), 1, "{component}");
    }
    assert_eq!(locks, 2);
}

#[test]
fn the_output_of_kustomize_agrees() {
    if !is_there("kubectl", "help") {
        return;
    }
    let none: &[&str] = &[];
    let all = components();
    let each = all.iter().map(|name| vec![name.as_str()]);
    let both = [vec!["lock-endpoints", "leader-service"], vec!["leader-service", "lock-endpointsleases"]];
    for chosen in each.chain(both).chain([none.to_vec()]) {
        let objects = kustomize(&Overlay::of(&chosen, ""));
        assert_eq!(judge(&objects), 1, "{chosen:?}");
        let is_there = |kind: &str| objects.iter().any(|it| it["kind"] == kind);
        assert_eq!(is_there("Service"), chosen.contains(&"leader-service"));
        assert!(is_there("PodDisruptionBudget"));
    }
}

#[test]
fn the_last_update_of_a_move_may_keep_the_rights_of_the_one_before() {
    if !is_there("kubectl", "help") {
        return;
    }
    let told = yaml_in("docs/migrating.md");
    let (_, fields) = told[0].split_once("components: [../deploy/lock-endpointsleases]\n").unwrap();
    let objects = kustomize(&Overlay::of(&["lock-endpointsleases"], fields));
    let deployment = objects.iter().find(|it| it["kind"] == "Deployment").unwrap();
    assert_eq!(judge_pod(&deployment["spec"]["template"]["spec"]).lock, [LockKind::Leases]);
    let role = objects.iter().find(|it| it["kind"] == "Role").unwrap();
    assert_eq!(role["rules"], documents(&text("lock-endpointsleases/role.yaml"))[0]["rules"]);
}

/// The RBAC objects and the sidecar in the README.
#[test]
fn the_manifests_in_the_readme_agree() {
    let [rights, sidecar] = &yaml_in("README.md")[..] else { panic!("it shows two manifests") };
    let objects = documents(rights);
    let of_kind = |kind: &str| objects.iter().find(|it| it["kind"] == kind).unwrap();
    let (account, role, binding) = (of_kind("ServiceAccount"), of_kind("Role"), of_kind("RoleBinding"));
    assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
    assert_eq!(binding["subjects"][0]["name"], account["metadata"]["name"]);
    let spec = &documents(sidecar)[0]["spec"];
    assert_eq!(spec["serviceAccountName"], account["metadata"]["name"]);
    let elector = &spec["initContainers"][0];
    assert_eq!((&elector["name"], &elector["restartPolicy"]), (&json!("elector"), &json!("Always")));
    let config = config_of(elector);
    assert_eq!(config.lock, [LockKind::Leases]);
    assert!(config.http.is_some());
    judge_rights(list(&role["rules"]), &config);
}

/// The output of kustomize.
fn kustomize(overlay: &Overlay) -> Vec<Value> {
    let output = std::process::Command::new("kubectl").args(["kustomize", overlay.folder()]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.is_empty(), "{error}");
    documents(&String::from_utf8(output.stdout).unwrap())
}

/// Panics if objects that are applied together are inconsistent. Returns the number of Deployments.
fn judge(objects: &[Value]) -> usize {
    let of_kind = |kind: &'static str| objects.iter().filter(move |it| it["kind"] == kind);
    let account = of_kind("ServiceAccount").next().unwrap();
    let mut rules = Vec::new();
    for (role, binding) in of_kind("Role").zip(of_kind("RoleBinding")) {
        assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
        assert_eq!(binding["subjects"][0]["name"], account["metadata"]["name"]);
        rules.extend_from_slice(list(&role["rules"]));
    }
    for deployment in of_kind("Deployment") {
        let (name, template) = (&deployment["metadata"]["name"], &deployment["spec"]["template"]);
        let labels = &template["metadata"]["labels"];
        assert_selects(&deployment["spec"]["selector"]["matchLabels"], labels);
        assert_eq!(template["spec"]["serviceAccountName"], account["metadata"]["name"], "{name}");
        let config = judge_pod(&template["spec"]);
        judge_rights(&rules, &config);
        if name == "app" {
            of_kind("PodDisruptionBudget")
                .for_each(|it| assert_selects(&it["spec"]["selector"]["matchLabels"], labels));
        }
        let services: Vec<&Value> = of_kind("Service").collect();
        match &config.leader_service {
            None => assert!(services.is_empty()),
            Some(spec) => judge_service(services[0], spec),
        }
    }
    of_kind("Deployment").count()
}

fn assert_selects(selector: &Value, labels: &Value) {
    let selector = selector.as_object().expect("there is a selector");
    assert!(!selector.is_empty() && selector.iter().all(|(name, value)| labels[name] == *value), "{selector:?}");
}

/// The configuration of its elector.
fn judge_pod(pod: &Value) -> Config {
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let containers = || list(&pod["initContainers"]).iter().chain(list(&pod["containers"]));
    for container in containers() {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false, "{container}");
        assert_eq!(context["readOnlyRootFilesystem"], true, "{container}");
        assert_eq!(context["capabilities"]["drop"], json!(["ALL"]), "{container}");
        let resources = &container["resources"];
        assert!(resources["requests"]["memory"].is_string() && resources["limits"]["memory"].is_string());
    }
    let elector = containers().find(|it| it["name"] == "elector").expect("there is an elector");
    let is_sidecar = list(&pod["initContainers"]).contains(elector);
    assert_eq!(elector["restartPolicy"] == "Always", is_sidecar);
    assert_eq!(elector["image"], concat!("leader-elector:", env!("CARGO_PKG_VERSION")));
    assert!(elector["resources"]["limits"].get("cpu").is_none(), "a leader that may not run loses its lease");

    let config = config_of(elector);
    let port = &elector["ports"][0];
    let listens = config.http.as_ref().expect("it serves HTTP").to_string();
    assert_eq!(listens, format!(":{}", port["containerPort"]), "probes come from outside");
    for (probe, path) in [("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")] {
        assert_eq!(elector[probe]["httpGet"], json!({"path": path, "port": port["name"]}));
    }
    let period = elector["readinessProbe"]["periodSeconds"].as_u64().unwrap_or(10);
    assert!(period <= 2, "a rolling update waits for a probe of each pod");
    assert_eq!(elector["readinessProbe"]["initialDelaySeconds"], 1, "a probe at once fails, with a warning event");
    let has_application = list(&pod["containers"]).iter().any(|it| it["name"] == "app");
    assert_eq!(!config.release_delay.is_zero(), has_application && !is_sidecar, "only the plain one needs a delay");
    let grace = Duration::from_secs(pod["terminationGracePeriodSeconds"].as_u64().unwrap_or(30));
    assert!(config.release_delay + Duration::from_secs(2) <= grace);
    config
}

/// The configuration from the arguments of this container in the namespace [`NAMESPACE`].
fn config_of(elector: &Value) -> Config {
    assert_eq!(elector["env"][0]["name"], "NAMESPACE");
    assert_eq!(elector["env"][0]["valueFrom"]["fieldRef"]["fieldPath"], "metadata.namespace");
    let arguments = strings(&elector["args"]).into_iter().map(|it| it.replace("$(NAMESPACE)", NAMESPACE).into());
    let environment =
        Environment { hostname: "app-0".to_owned(), pod: variables_of(elector), ..Environment::default() };
    let config = match parse(arguments, &environment) {
        Ok(Invocation::Run(config)) => config,
        other => panic!("{other:?}"),
    };
    assert!(config.ignored.is_empty(), "{:?}", config.ignored);
    assert_eq!(config.namespace, NAMESPACE);
    config
}

/// The variables that this container gets from the downward API.
fn variables_of(elector: &Value) -> PodVariables {
    let variable = |name: &str, field: &str, value: &str| {
        let found = list(&elector["env"]).iter().find(|it| it["name"] == name)?;
        assert_eq!(found["valueFrom"]["fieldRef"]["fieldPath"], field);
        Some(value.to_owned())
    };
    PodVariables {
        ips: variable("POD_IPS", "status.podIPs", "10.0.0.1,fd00::1"),
        ip: variable("POD_IP", "status.podIP", "10.0.0.1"),
        name: variable("POD_NAME", "metadata.name", "app-0"),
        uid: variable("POD_UID", "metadata.uid", "uid"),
        node: variable("NODE_NAME", "spec.nodeName", "node"),
    }
}

/// Exactly the rights that this elector needs: the verbs on its lock by name, and `create`; the same for the slices of
/// its Service, without `watch`.
fn judge_rights(rules: &[Value], config: &Config) {
    let (of_service, rules): (Vec<Value>, Vec<Value>) =
        rules.iter().cloned().partition(|it| it["resources"] == json!(["endpointslices"]));
    let slices = config.leader_service.as_ref().map(|spec| {
        let names = json!([format!("{}-leader", spec.service), format!("{}-leader-ipv6", spec.service)]);
        let (group, resource) = (json!(["discovery.k8s.io"]), json!(["endpointslices"]));
        [
            json!({"apiGroups": group, "resources": resource, "resourceNames": names, "verbs": ["get", "update"]}),
            json!({"apiGroups": group, "resources": resource, "verbs": ["create"]}),
        ]
    });
    assert_eq!(of_service, slices.into_iter().flatten().collect::<Vec<_>>());
    let kinds: BTreeSet<(&str, &str)> = config.lock.iter().map(group_and_resource).collect();
    let granted = |wanted: Value, verbs: Value| -> BTreeSet<(&str, &str)> {
        let rules = rules.iter().filter(|it| it["resourceNames"] == wanted && it["verbs"] == verbs);
        rules.map(|it| (it["apiGroups"][0].as_str().unwrap(), it["resources"][0].as_str().unwrap())).collect()
    };
    assert_eq!(granted(json!([config.election]), json!(["get", "update", "watch"])), kinds);
    assert_eq!(granted(Value::Null, json!(["create"])), kinds);
    let is_single = |it: &Value| list(&it["apiGroups"]).len() == 1 && list(&it["resources"]).len() == 1;
    assert!(rules.len() == 2 * kinds.len() && rules.iter().all(is_single), "{rules:?}");
}

fn group_and_resource(kind: &LockKind) -> (&'static str, &'static str) {
    (if *kind == LockKind::Leases { "coordination.k8s.io" } else { "" }, kind.resource())
}

/// Checks that the Service has no selector, and the ports that the elector writes.
fn judge_service(service: &Value, spec: &ServiceSpec) {
    assert_eq!(service["metadata"]["name"], spec.service);
    assert!(service["spec"].get("selector").is_none(), "Kubernetes would keep slices of its own");
    let ports = list(&service["spec"]["ports"]).iter();
    let ports: Vec<(&str, u64)> =
        ports.map(|it| (it["name"].as_str().unwrap_or_default(), it["port"].as_u64().unwrap())).collect();
    let written: Vec<(&str, u64)> = spec.ports.iter().map(|it| (it.name.as_str(), it.number.into())).collect();
    assert_eq!(ports, written);
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn strings(value: &Value) -> Vec<String> {
    list(value).iter().map(|it| it.as_str().expect("it is text").to_owned()).collect()
}

/// The documents of a YAML text.
fn documents(text: &str) -> Vec<Value> {
    let mut events = Parser::new_from_str(text).map(|event| event.unwrap_or_else(|error| panic!("{error}: {text}")).0);
    let mut documents = Vec::new();
    while let Some(event) = events.next() {
        if let Event::DocumentStart(_) = event {
            let mut anchors = HashMap::new();
            let first = events.next().expect("a document holds a node");
            documents.push(node(first, &mut events, &mut anchors));
        }
    }
    documents
}

fn node<'t>(
    event: Event<'t>,
    events: &mut impl Iterator<Item = Event<'t>>,
    anchors: &mut HashMap<usize, Value>,
) -> Value {
    let (value, anchor) = match event {
        Event::Alias(anchor) => return anchors[&anchor].clone(),
        Event::Scalar(text, style, anchor, _) => (scalar(&text, style), anchor),
        Event::SequenceStart(anchor, _) => {
            let mut list = Vec::new();
            loop {
                match events.next().expect("a list ends") {
                    Event::SequenceEnd => break (Value::Array(list), anchor),
                    event => list.push(node(event, events, anchors)),
                }
            }
        }
        Event::MappingStart(anchor, _) => {
            let mut map = Map::new();
            loop {
                match events.next().expect("a map ends") {
                    Event::MappingEnd => break (Value::Object(map), anchor),
                    Event::Scalar(key, ..) => {
                        let event = events.next().expect("a key has a value");
                        let before = map.insert(key.to_string(), node(event, events, anchors));
                        assert!(before.is_none(), "{key} stands there twice");
                    }
                    event => panic!("{event:?} is no key"),
                }
            }
        }
        event => panic!("{event:?} is no node"),
    };
    anchors.insert(anchor, value.clone());
    value
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return text.into();
    }
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => true.into(),
        "false" => false.into(),
        _ => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
    }
}
