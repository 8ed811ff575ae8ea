//! The command line: what each verb prints, its exit codes, and the Envoy that `weir up` keeps alive.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use weir_tests::harness::{Child, free_port, paths};

fn weir(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.current_dir(paths::repo_root()).args(arguments).output().expect("weir runs")
}

fn folder(name: &str) -> PathBuf {
    let folder = paths::weir().join("tests").join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("target/ is writable");
    folder
}

fn check(text: &str) -> (Option<i32>, String) {
    let file = folder("check").join(format!("{}.yaml", text.len()));
    std::fs::write(&file, text).expect("target/ is writable");
    let output = weir(&["check", &file.to_string_lossy()]);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_policy_that_runs_is_0_an_invalid_one_2_and_one_for_the_unbuilt_3() {
    let output = weir(&["check", "envoy/first.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let (code, said) = check("apiVersion: weir.dev/v1\nprovders: []\n");
    assert_eq!(code, Some(2));
    assert!(
        said.contains("provders") && said.contains("line 2, column 1") && said.contains("`providers`"),
        "{said}"
    );
    let (code, said) = check("apiVersion: weir.dev/v1\nenforce: false\n");
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("enforce") && said.contains("not built yet") && said.contains("line 2"), "{said}");
    assert_eq!(weir(&["check", "no/such/file.yaml"]).status.code(), Some(1));
}

#[test]
fn the_schema_is_one() {
    let output = weir(&["schema"]);
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(schema["properties"]["providers"].is_object());
}

#[test]
fn a_control_plane_does_not_start_on_what_it_cannot_use() {
    let folder = folder("unusable");
    let policy = folder.join("policy.yaml");
    std::fs::write(&policy, "apiVersion: weir.dev/v1\nprovders: []\n").expect("target/ is writable");
    let (xds, api) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let data = folder.join("data").to_string_lossy().into_owned();
    let module = paths::module("weir").to_string_lossy().into_owned();
    let policy = policy.to_string_lossy().into_owned();
    let common = ["--config", &policy, "--xds", &xds, "--api", &api, "--data", &data, "--module"];
    let run = |module: &str| weir(&[&["serve"], &common[..], &[module]].concat());
    assert_eq!(run(&module).status.code(), Some(2));
    let output = run("no/such/module.wasm");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no/such/module.wasm"));
}

#[test]
fn weir_up_keeps_its_envoy_alive_and_ends_it_with_itself() {
    let folder = folder("up");
    let gateway = free_port();
    let text = format!("apiVersion: weir.dev/v1\ngateway: {{listen: 127.0.0.1:{gateway}}}\n");
    std::fs::write(folder.join("policy.yaml"), text).expect("target/ is writable");
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let address = || format!("127.0.0.1:{}", free_port());
    let (config, data) = (path("policy.yaml"), path("data"));
    let module = paths::module("weir").to_string_lossy().into_owned();
    let (xds, api, admin) = (address(), address(), address());
    let arguments = [
        "up",
        "--config",
        &config,
        "--data",
        &data,
        "--module",
        &module,
        "--xds",
        &xds,
        "--api",
        &api,
        "--admin",
        &admin,
        "--concurrency",
        "1",
    ];
    let envoy = paths::envoy("1.40.0").to_string_lossy().into_owned();
    let mut up =
        Child::spawn("up", Path::new(env!("CARGO_BIN_EXE_weir")), arguments, &[("ENVOY_BIN".into(), envoy)]);
    until("the gateway listens", || listens(gateway));
    let status = get(&api, "/api/status");
    assert!(status.contains("\"refusals\":[]"), "{status}");
    let first = child_of(up.pid()).expect("an Envoy");
    kill("-KILL", first);
    until("another Envoy", || child_of(up.pid()).is_some_and(|now| now != first));
    until("the gateway listens again", || listens(gateway));
    let second = child_of(up.pid()).expect("an Envoy");
    up.signal("TERM");
    until("it ends", || up.ended().is_some());
    assert_eq!(up.ended().and_then(|status| status.code()), Some(0), "{}", up.err_text());
    assert!(!Path::new(&format!("/proc/{second}")).exists(), "its Envoy is still there");
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is() {
        assert!(Instant::now() < deadline, "not reached: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn listens(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn get(address: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).expect("the API listens");
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

fn child_of(pid: u32) -> Option<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    let children = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let all: String = children.collect();
    all.split_whitespace().next()?.parse().ok()
}

fn kill(signal: &str, pid: u32) {
    let _ = Command::new("kill").args([signal, &pid.to_string()]).status();
}
