//! Snapshots as readable JSON, beside what they are made from. A new case is a new `NAME.input.json`.
//!
//! `UPDATE=1 cargo test -p weir-xds --test goldens` writes what is there now and deletes orphans. Names of fields and
//! messages come from the descriptors that envoy-types ships, an outside view of the bytes that Envoy gets: a
//! field that Envoy does not know shows up as one.

use std::path::{Path, PathBuf};
use std::process::Command;

use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::{Map, Value};
use weir_xds::{Input, Kind, consistent, snapshot};

#[test]
fn snapshots_are_as_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let update = std::env::var_os("UPDATE").is_some();
    let pool = descriptors();
    let mut expected = Vec::new();
    for input_file in files(&folder).into_iter().filter(|path| name(path).ends_with(".input.json")) {
        let text = std::fs::read_to_string(&input_file).expect("the input");
        let input: Input = serde_json::from_str(&text).unwrap_or_else(|why| panic!("{input_file:?}: {why}"));
        let snapshot = snapshot(&input);
        assert_eq!(consistent(&snapshot), [], "{input_file:?}");
        let mut shown = Map::new();
        for (kind, resource) in snapshot.all() {
            let of_kind = shown.entry(kind.name()).or_insert_with(|| Value::Object(Map::new()));
            let entry = serde_json::json!({
                "version": resource.version,
                "after": resource.after.iter().map(|(kind, name)| format!("{} {name}", kind.name())).collect::<Vec<_>>(),
                "resource": readable(&pool, kind, &resource.body.value),
            });
            of_kind[&resource.name] = entry;
        }
        let output = format!("{:#}\n", Value::Object(shown));
        let output_file = folder.join(name(&input_file).replace(".input.json", ".json"));
        if update {
            std::fs::write(&output_file, &output).expect("writable");
        }
        let golden = std::fs::read_to_string(&output_file).unwrap_or_default();
        assert!(
            golden == output,
            "{output_file:?} differs; UPDATE=1 writes it anew:\n{}",
            first_difference(&golden, &output)
        );
        expected.extend([input_file, output_file]);
    }
    assert!(expected.len() >= 6, "the cases are gone");
    for orphan in files(&folder).into_iter().filter(|path| !expected.contains(path)) {
        assert!(update, "{orphan:?} belongs to no input");
        std::fs::remove_file(orphan).expect("writable");
    }
}

#[test]
fn equal_inputs_give_equal_bytes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    for file in files(&folder).into_iter().filter(|path| name(path).ends_with(".input.json")) {
        let text = std::fs::read_to_string(&file).expect("the input");
        let read = || serde_json::from_str::<Input>(&text).expect("an input");
        let first = snapshot(&read());
        // Maps of the standard library have another order in each instance: once would be luck.
        for _ in 0..32 {
            assert_eq!(snapshot(&read()), first, "{file:?}");
        }
    }
}

fn readable(pool: &DescriptorPool, kind: Kind, bytes: &[u8]) -> Value {
    let full_name = kind.type_url().trim_start_matches("type.googleapis.com/");
    let message = pool.get_message_by_name(full_name).expect("Envoy's own type");
    let message = DynamicMessage::decode(message, bytes).expect("a message of its type");
    assert_eq!(message.unknown_fields().count(), 0, "{full_name}: a field that Envoy does not know");
    let options = SerializeOptions::new().use_proto_field_name(true);
    message.serialize_with_options(serde_json::value::Serializer, &options).expect("canonical JSON")
}

/// The descriptor set that lies beside the generated code of envoy-types.
fn descriptors() -> DescriptorPool {
    let cargo = || Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let said = cargo().arg("-vV").output().expect("cargo runs").stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    let host = said.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo names its host");
    // Of other platforms the packages may not be on this machine.
    let mut metadata = cargo();
    metadata.args(["metadata", "--format-version", "1", "--offline", "--filter-platform", host]);
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let output = metadata.arg("--manifest-path").arg(manifest).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo's metadata");
    let packages = metadata["packages"].as_array().expect("packages");
    let envoy_types = packages.iter().find(|package| package["name"] == "envoy-types").expect("a dependency");
    let manifest = PathBuf::from(envoy_types["manifest_path"].as_str().expect("a path"));
    let bytes =
        std::fs::read(manifest.with_file_name("src").join("generated/types.bin")).expect("descriptors");
    DescriptorPool::decode(bytes.as_slice()).expect("a descriptor set")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the goldens");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn first_difference(golden: &str, output: &str) -> String {
    let (mut golden, mut output) = (golden.lines(), output.lines());
    for line in 1.. {
        match (golden.next(), output.next()) {
            (a, b) if a != b => {
                return format!("line {line}:\n- {}\n+ {}", a.unwrap_or_default(), b.unwrap_or_default());
            }
            (None, None) => break,
            _ => {}
        }
    }
    "line ends".to_owned()
}
