//! The built module: what it asks of its host, and how much code the host must compile at its start.

use weir_tests::harness::{paths, repo_root};

/// The functions of the stock proxy-wasm interface that a filter may ask for; anything else is refused by Envoy,
/// or by another host of the same interface.
const HOST: [&str; 45] = [
    "proxy_log",
    "proxy_get_log_level",
    "proxy_get_current_time_nanoseconds",
    "proxy_set_tick_period_milliseconds",
    "proxy_get_buffer_bytes",
    "proxy_set_buffer_bytes",
    "proxy_get_buffer_status",
    "proxy_get_header_map_pairs",
    "proxy_set_header_map_pairs",
    "proxy_get_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_remove_header_map_value",
    "proxy_add_header_map_value",
    "proxy_get_header_map_size",
    "proxy_get_property",
    "proxy_set_property",
    "proxy_get_shared_data",
    "proxy_set_shared_data",
    "proxy_get_shared_data_keys",
    "proxy_remove_shared_data_key",
    "proxy_register_shared_queue",
    "proxy_resolve_shared_queue",
    "proxy_dequeue_shared_queue",
    "proxy_enqueue_shared_queue",
    "proxy_continue_request",
    "proxy_continue_response",
    "proxy_continue_stream",
    "proxy_close_stream",
    "proxy_close_request",
    "proxy_close_response",
    "proxy_send_local_response",
    "proxy_clear_route_cache",
    "proxy_http_call",
    "proxy_grpc_call",
    "proxy_grpc_stream",
    "proxy_grpc_send",
    "proxy_grpc_close",
    "proxy_grpc_cancel",
    "proxy_get_status",
    "proxy_set_effective_context",
    "proxy_done",
    "proxy_call_foreign_function",
    "proxy_define_metric",
    "proxy_increment_metric",
    "proxy_record_metric",
];
/// And of WASI, as Envoy has it.
const WASI: [&str; 6] =
    ["random_get", "fd_write", "clock_time_get", "proc_exit", "environ_get", "environ_sizes_get"];

/// What the design aims at, in bytes: V8 in Envoy compiles about 1 MB of code a second at its start.
const AIM: usize = 250_000;
/// The figure of the last change that was meant, in bytes.
const RECORD: &str = "tests/code-section.bytes";

/// Section number and contents.
fn sections(module: &[u8]) -> Vec<(u8, &[u8])> {
    let (magic, mut rest) = module.split_at(8);
    assert_eq!(magic, b"\0asm\x01\0\0\0", "no wasm module");
    let mut found = Vec::new();
    while let Some((id, after)) = rest.split_first() {
        let mut reader = Reader(after);
        let size = reader.number();
        let (contents, after) = reader.0.split_at(size);
        found.push((*id, contents));
        rest = after;
    }
    found
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> u8 {
        let (byte, rest) = self.0.split_first().expect("a whole module");
        self.0 = rest;
        *byte
    }

    /// Unsigned LEB128.
    fn number(&mut self) -> usize {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.byte();
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
        }
        panic!("a number of more than five bytes")
    }

    fn name(&mut self) -> &'a str {
        let size = self.number();
        let (name, rest) = self.0.split_at(size);
        self.0 = rest;
        std::str::from_utf8(name).expect("names are UTF-8")
    }
}

/// Module and name of every imported function.
fn imports(module: &[u8]) -> Vec<(String, String)> {
    let sections = sections(module);
    let Some((_, contents)) = sections.iter().find(|(id, _)| *id == 2) else { return Vec::new() };
    let mut reader = Reader(contents);
    let count = reader.number();
    let import = |_| {
        let names = (reader.name().to_owned(), reader.name().to_owned());
        assert_eq!(reader.byte(), 0, "{names:?} is imported and no function");
        reader.number();
        names
    };
    (0..count).map(import).collect()
}

#[test]
fn the_module_asks_for_nothing_but_the_stock_interface() {
    let module = std::fs::read(paths::module("weir")).expect("the module");
    let imports = imports(&module);
    assert!(imports.len() > 5, "{imports:?}");
    for (from, name) in imports {
        let stock = match from.as_str() {
            "env" => HOST.contains(&name.as_str()),
            "wasi_snapshot_preview1" => WASI.contains(&name.as_str()),
            _ => false,
        };
        assert!(stock, "{from}.{name} is not in the stock interface");
    }
}

#[test]
fn the_code_section_is_within_five_per_cent_of_its_record() {
    let module = std::fs::read(paths::module("weir")).expect("the module");
    let code: usize = sections(&module).iter().filter(|(id, _)| *id == 10).map(|(_, code)| code.len()).sum();
    let record = repo_root().join(RECORD);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&record, format!("{code}\n")).expect("the record is writable");
    }
    let text = std::fs::read_to_string(&record).expect("the record is there");
    let recorded: usize = text.trim().parse().expect("the record is a number");
    println!("code section: {code} bytes; on record: {recorded}; aim: {AIM}");
    let most = recorded + recorded / 20;
    assert!(
        code <= most,
        "the code section grew from {recorded} to {code} bytes; if it must, UPDATE=1 records it"
    );
}
