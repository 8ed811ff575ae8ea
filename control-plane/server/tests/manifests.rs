//! The Kubernetes manifests against the published schemas, Envoy's own validation, and this project's promises.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use serde_yaml_ng::Deserializer;
use weir_tests::harness::paths;

const SCHEMA: &str = r#"
import sys, yaml, kubernetes_validate
found = 0
for path in sys.argv[1:]:
    for document in yaml.safe_load_all(open(path)):
        kubernetes_validate.validate(document, "1.34", strict=True)
        found += 1
print(found)
"#;

fn base() -> PathBuf {
    paths::repo_root().join("k8s/base")
}

fn read(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    let documents = Deserializer::from_str(&text).map(|document| {
        serde::Deserialize::deserialize(document).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
    });
    documents.collect()
}

fn names(list: &Value) -> BTreeSet<String> {
    list.as_array().expect("a list").iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
}

fn manifests() -> Vec<PathBuf> {
    let kustomization = &read(&base().join("kustomization.yaml"))[0];
    names(&kustomization["resources"]).into_iter().map(|name| base().join(name)).collect()
}

fn all() -> Vec<Value> {
    manifests().iter().flat_map(|path| read(path)).collect()
}

#[test]
fn every_manifest_is_of_its_schema() {
    let files = manifests();
    let output =
        Command::new(paths::python()).args(["-c", SCHEMA]).args(&files).output().expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: usize = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number");
    assert_eq!(found, all().len());
}

#[test]
fn kustomize_is_told_of_every_file() {
    let kustomization = &read(&base().join("kustomization.yaml"))[0];
    let mut named = names(&kustomization["resources"]);
    for map in kustomization["configMapGenerator"].as_array().expect("config maps") {
        named.extend(names(&map["files"]));
    }
    named.insert("kustomization.yaml".into());
    let files =
        std::fs::read_dir(base()).expect("the folder").map(|file| file.expect("an entry").file_name());
    let there: BTreeSet<String> = files.map(|name| name.to_string_lossy().into_owned()).collect();
    assert_eq!(named, there);
    let generated = ["weir-policy", "weir-bootstrap"];
    let used: BTreeSet<String> = all()
        .iter()
        .flat_map(|object| {
            object["spec"]["template"]["spec"]["volumes"].as_array().cloned().unwrap_or_default()
        })
        .filter_map(|volume| volume["configMap"]["name"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(used, generated.map(str::to_owned).into());
}

#[test]
fn no_container_can_do_more_than_it_needs() {
    let mut containers = 0;
    for deployment in all().iter().filter(|object| object["kind"] == "Deployment") {
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(pod["automountServiceAccountToken"], false);
        let lists = [&pod["containers"], &pod["initContainers"]];
        for container in lists.into_iter().flat_map(|list| list.as_array().cloned().unwrap_or_default()) {
            containers += 1;
            let name = &container["name"];
            let context = &container["securityContext"];
            assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(context["capabilities"]["drop"], json!(["ALL"]), "{name}");
            for bound in ["requests", "limits"] {
                for resource in ["cpu", "memory"] {
                    assert!(
                        container["resources"][bound][resource].is_string(),
                        "{name}: {bound}.{resource}"
                    );
                }
            }
        }
        // What serves nobody has nothing to probe.
        let serves = |container: &&Value| container["ports"].is_array();
        for container in pod["containers"].as_array().expect("containers").iter().filter(serves) {
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                assert!(container[probe].is_object(), "{}: {probe}", container["name"]);
            }
        }
    }
    assert_eq!(containers, 4);
}

#[test]
fn every_pod_has_a_network_policy_and_every_service_a_pod() {
    let all = all();
    let of = |kind: &str| all.iter().filter(move |object| object["kind"] == kind).collect::<Vec<_>>();
    for deployment in of("Deployment") {
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
        let policy =
            of("NetworkPolicy").into_iter().find(|p| &p["spec"]["podSelector"]["matchLabels"] == labels);
        let policy =
            policy.unwrap_or_else(|| panic!("{} has no network policy", deployment["metadata"]["name"]));
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        let account = &deployment["spec"]["template"]["spec"]["serviceAccountName"];
        assert!(of("ServiceAccount").iter().any(|found| &found["metadata"]["name"] == account), "{account}");
        let service = of("Service").into_iter().find(|service| &service["spec"]["selector"] == labels);
        for port in service.expect("a service")["spec"]["ports"].as_array().expect("ports") {
            let containers = &deployment["spec"]["template"]["spec"]["containers"];
            let there = containers[0]["ports"].as_array().expect("ports");
            assert!(there.iter().any(|found| found["name"] == port["targetPort"]), "{port}");
        }
    }
}

#[test]
fn the_command_line_and_the_policy_are_understood() {
    let control = all()
        .into_iter()
        .find(|object| object["kind"] == "Deployment" && object["metadata"]["name"] == "weir-control");
    let control = control.expect("a control plane");
    let gateway = all()
        .into_iter()
        .find(|object| object["kind"] == "Deployment" && object["metadata"]["name"] == "weir-gateway");
    let gateway = gateway.expect("gateways");
    let beside = gateway["spec"]["template"]["spec"]["containers"].as_array().expect("containers");
    let drain = beside.iter().find(|container| container["name"] == "drain").expect("the drain beside Envoy");
    let weir = Path::new(env!("CARGO_BIN_EXE_weir"));
    let serve = &control["spec"]["template"]["spec"]["containers"][0];
    for (verb, container) in [("serve", serve), ("drain", drain)] {
        let help = Command::new(weir).args([verb, "--help"]).output().expect("weir runs");
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        for argument in names(&container["args"]).iter().filter(|argument| argument.starts_with("--")) {
            let flag = argument.split('=').next().unwrap_or_default();
            let known = help.split_whitespace().any(|word| word == flag);
            assert!(known, "{flag} is no flag of weir {verb}");
        }
    }
    let policy = base().join("policy.yaml");
    let mut check = Command::new(weir);
    let check =
        check.arg("check").arg(&policy).args(["--listen", "0.0.0.0:8080"]).output().expect("weir runs");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}

#[test]
fn envoy_takes_the_bootstrap() {
    let bootstrap = base().join("bootstrap.yaml");
    let output = Command::new(paths::envoy("1.40.0"))
        .args(["--mode", "validate", "--service-node", "pod", "--service-cluster", "weir-gateway", "-c"])
        .arg(bootstrap)
        .output()
        .expect("envoy runs");
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("OK"), "{said}");
}
