//! A new module under load.

use crate::setup::{Load, Setup};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_module_under_load_fails_no_request_and_cuts_no_stream() {
    let setup = Setup::start("upgrade", "1.40.0", true).await;
    let plain = Load::start(&setup, 2, false);
    let streams = Load::start(&setup, 2, true);
    let module = setup.folder.join("weir.wasm");
    let mut bytes = std::fs::read(&module).expect("the module");
    for round in 0..3_u8 {
        // A custom section says nothing to the machine and makes another module of it.
        bytes.extend([0, 6, 4, b'w', b'e', b'i', b'r', round]);
        std::fs::write(&module, &bytes).expect("target/ is writable");
        let hash = sha256(&bytes);
        setup.wait("the new module", |status| status["policy"]["module"] == hash.as_str()).await;
        setup.wait("in force", |status| status["gateways"][0]["current"] == true).await;
        let dump = setup.envoy.config_dump().await.to_string();
        assert!(dump.contains(&hash), "round {round}");
        let before = plain.count();
        while plain.count() < before + 50 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    let (plain, streams) = (plain.end().await, streams.end().await);
    println!("3 modules beside {plain} requests and {streams} streams");
    assert_eq!(setup.envoy.stat("update_rejected").await, 0);
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
