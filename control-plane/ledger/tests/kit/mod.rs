//! What tests of the engines share: a folder, a Redis server, budgets, calls.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use weir_lease::message::{Ask, Item, OpenReply, OpenRequest, SyncReply, SyncRequest};
use weir_lease::{Instance, Unit};
use weir_ledger::{BudgetDef, Desk, Engine, Params, RedisOptions, WindowKind};

/// A directory that goes away with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("weir-ledger-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Folder(std::env::temp_dir().join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn month(limit: u64) -> Vec<BudgetDef> {
    vec![BudgetDef {
        name: "b".into(),
        unit: Unit::Tokens,
        limit,
        window: WindowKind::Month,
        timezone: "Europe/Berlin".into(),
        definition: "d".into(),
        each: vec![],
        alert_at: vec![],
        max_life: 600_000,
    }]
}

pub fn instance() -> Instance {
    Instance::new("b", Unit::Tokens, "", "d")
}

pub async fn open<E: Engine>(engine: &E, nonce: u64) -> OpenReply {
    engine.open(OpenRequest { node: "n".into(), nonce_hi: nonce, nonce_lo: 1, version: 1 }).await.unwrap()
}

pub fn ask(full: u64, rev: u64) -> Item {
    Item {
        instance: Some(instance()),
        lane: 17,
        rev,
        d: full,
        mean: full,
        ask: Some(Ask { full, floor: full, min: full, one: full }),
        ..Item::default()
    }
}

pub async fn sync<E: Engine>(engine: &E, sid: u64, items: Vec<Item>) -> SyncReply {
    engine.sync(SyncRequest { sid, epoch: 0, items }).await.unwrap()
}

/// A real server on a port of its own, which ends with the test. Without `redis-server` the test fails: `cargo xtask
/// setup` installs it.
pub struct Server {
    child: Option<Child>,
    folder: Folder,
    pub port: u16,
    arguments: Vec<String>,
}

impl Server {
    pub fn start(arguments: &[&str]) -> Server {
        // The port is free now, and nobody else is told of it.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = Folder::new();
        std::fs::create_dir_all(&folder.0).unwrap();
        let arguments = arguments.iter().map(|one| (*one).to_owned()).collect();
        let mut server = Server { child: None, folder, port, arguments };
        server.again();
        server
    }

    pub fn hard() -> Server {
        Server::start(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// Starts it, after [`Server::kill`] with what it had on its disk.
    pub fn again(&mut self) {
        let mut child = Command::new("redis-server")
            .args([
                "--port",
                &self.port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--daemonize",
                "no",
            ])
            .arg("--dir")
            .arg(&self.folder.0)
            .args(&self.arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is missing: cargo xtask setup");
        let out = child.stdout.take().unwrap();
        let mut lines = BufReader::new(out).lines();
        while let Some(Ok(line)) = lines.next() {
            if line.contains("eady to accept connections") {
                break;
            }
        }
        // Whatever else it says is read, so that it never blocks on it.
        std::thread::spawn(move || lines.for_each(drop));
        self.child = Some(child);
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One of the engines, which can be opened again.
pub struct Kit {
    pub folder: Folder,
    pub server: Option<Server>,
    pub params: Params,
    pub time: Option<Arc<AtomicU64>>,
}

impl Kit {
    pub fn embedded() -> Kit {
        Kit { folder: Folder::new(), server: None, params: Params::default(), time: None }
    }

    pub fn redis() -> Kit {
        Kit { server: Some(Server::hard()), ..Kit::embedded() }
    }

    pub fn options(&self) -> RedisOptions {
        RedisOptions {
            addresses: self.server.iter().map(Server::address).collect(),
            params: self.params,
            fixed_time: self.time.clone(),
            ..RedisOptions::default()
        }
    }

    pub fn open(&self) -> Desk {
        match &self.server {
            None => Desk::with(&self.folder.0, self.params).unwrap(),
            Some(_) => Desk::redis(self.options()).unwrap(),
        }
    }
}
