//! The embedded engine as it is used: a directory, a thread, a disk, and gRPC in front.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_stream::wrappers::TcpListenerStream;
use weir_lease::message::{
    Ask, CloseReply, CloseRequest, DrainRequest, Item, OpenReply, OpenRequest, SyncReply, SyncRequest,
    WatchReply, WatchRequest,
};
use weir_lease::{Instance, Unit};
use weir_ledger::{BudgetDef, Core, Disk, Embedded, Engine, Entry, Error, Params, WindowKind, service};

/// A directory that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
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

fn month(limit: u64) -> Vec<BudgetDef> {
    vec![BudgetDef {
        name: "b".into(),
        unit: Unit::Tokens,
        limit,
        window: WindowKind::Month,
        timezone: "Europe/Berlin".into(),
        definition: "d".into(),
        each: vec![],
        alert_at: vec![],
    }]
}

fn instance() -> Instance {
    Instance::new("b", Unit::Tokens, "", "d")
}

async fn open<E: Engine>(engine: &E, nonce: u64) -> OpenReply {
    engine.open(OpenRequest { node: "n".into(), nonce_hi: nonce, nonce_lo: 1, version: 1 }).await.unwrap()
}

fn ask(full: u64, rev: u64) -> Item {
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

async fn sync<E: Engine>(engine: &E, sid: u64, items: Vec<Item>) -> SyncReply {
    engine.sync(SyncRequest { sid, epoch: 0, items }).await.unwrap()
}

#[tokio::test]
async fn a_grant_survives_a_restart_and_the_epoch_rises() {
    let folder = Folder::new();
    let ledger = Embedded::open(&folder.0).unwrap();
    ledger.set_budgets(month(1_000)).await.unwrap();
    let first = open(&ledger, 7).await;
    let reply = sync(&ledger, first.sid, vec![ask(600, 1)]).await;
    assert_eq!(reply.items[0].g, 600);
    drop(ledger);

    let ledger = Embedded::open(&folder.0).unwrap();
    ledger.set_budgets(month(1_000)).await.unwrap();
    let again = open(&ledger, 7).await;
    assert_eq!(again.sid, first.sid, "the same process life is the same session");
    assert!(again.epoch > first.epoch);
    let other = open(&ledger, 8).await;
    assert_ne!(other.sid, first.sid);
    let reply = sync(&ledger, other.sid, vec![ask(600, 1)]).await;
    let item = &reply.items[0];
    assert!(item.short.is_some() && item.g == 0, "{item:?}");
    let figures = item.figures.as_ref().unwrap();
    assert_eq!((figures.limit, figures.left, figures.leased), (1_000, 400, 600));
    assert_eq!((figures.window.as_str(), figures.timezone.as_str()), ("month", "Europe/Berlin"));
}

#[tokio::test]
async fn figures_add_up_to_the_limit() {
    let folder = Folder::new();
    let ledger = Embedded::open(&folder.0).unwrap();
    ledger.set_budgets(month(1_000)).await.unwrap();
    let sid = open(&ledger, 1).await.sid;
    let granted = sync(&ledger, sid, vec![ask(500, 1)]).await.items[0].clone();
    let report = Item { wid: granted.wid, g: granted.g, u: 120, h: 80, n: 3, rev: 2, ask: None, ..ask(0, 2) };
    sync(&ledger, sid, vec![report]).await;
    let spend = ledger.spend().await.unwrap();
    let one = &spend[0];
    assert_eq!((one.settled, one.held, one.running, one.stranded), (120, 80, 3, 0));
    assert_eq!(one.settled + one.held + one.leased + one.stranded + one.left, one.limit);
}

#[tokio::test]
async fn two_writers_are_refused() {
    let folder = Folder::new();
    let _first = Embedded::open(&folder.0).unwrap();
    assert!(matches!(Embedded::open(&folder.0), Err(Error::Locked(_))));
}

#[tokio::test]
async fn a_raised_limit_serves_those_who_were_told_to_wait() {
    let folder = Folder::new();
    let ledger = Arc::new(Embedded::open(&folder.0).unwrap());
    ledger.set_budgets(month(100)).await.unwrap();
    let sid = open(&*ledger, 1).await.sid;
    assert!(sync(&*ledger, sid, vec![ask(600, 1)]).await.items[0].short.is_some());
    let waiting = Arc::clone(&ledger);
    let epoch = open(&*ledger, 1).await.epoch;
    let watch =
        tokio::spawn(async move { waiting.watch(WatchRequest { sid, epoch, wait_ms: 10_000 }).await });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    ledger.set_budgets(month(1_000)).await.unwrap();
    let news: WatchReply = watch.await.unwrap().unwrap();
    assert!(news.limits);
    assert_eq!(news.wake.iter().map(|id| u128::from(*id)).collect::<Vec<_>>(), [instance().id()]);
    assert_eq!(sync(&*ledger, sid, vec![ask(600, 2)]).await.items[0].g, 600);
}

#[tokio::test]
async fn a_recalled_lease_serves_the_one_who_waits() {
    let folder = Folder::new();
    let ledger = Arc::new(Embedded::open(&folder.0).unwrap());
    ledger.set_budgets(month(1_000)).await.unwrap();
    let (rich, poor) = (open(&*ledger, 1).await, open(&*ledger, 2).await);
    let lease = sync(&*ledger, rich.sid, vec![ask(900, 1)]).await.items[0].clone();
    let asking = Arc::clone(&ledger);
    let wait = tokio::spawn(async move { sync(&*asking, poor.sid, vec![ask(500, 1)]).await });
    let news =
        ledger.watch(WatchRequest { sid: rich.sid, epoch: rich.epoch, wait_ms: 10_000 }).await.unwrap();
    assert_eq!(news.recall.len(), 1);
    let back = Item { wid: lease.wid, g: lease.g, r: lease.g, rev: 2, ask: None, ..ask(0, 2) };
    sync(&*ledger, rich.sid, vec![back]).await;
    assert_eq!(wait.await.unwrap().items[0].g, 500);
}

#[tokio::test]
async fn a_lowered_limit_grants_nothing_and_shows_the_overcommitment() {
    let folder = Folder::new();
    let ledger = Embedded::open(&folder.0).unwrap();
    ledger.set_budgets(month(1_000)).await.unwrap();
    let sid = open(&ledger, 1).await.sid;
    sync(&ledger, sid, vec![ask(900, 1)]).await;
    ledger.set_budgets(month(500)).await.unwrap();
    let other = open(&ledger, 2).await.sid;
    assert!(sync(&ledger, other, vec![ask(10, 1)]).await.items[0].g <= 10);
    let spend = ledger.spend().await.unwrap();
    assert_eq!((spend[0].limit, spend[0].left), (500, 0));
    assert!(spend[0].overcommitted >= 400);
}

#[tokio::test]
async fn an_unknown_budget_or_definition_is_gone_and_an_unknown_session_not_found() {
    let folder = Folder::new();
    let ledger = Embedded::open(&folder.0).unwrap();
    ledger.set_budgets(month(1_000)).await.unwrap();
    let sid = open(&ledger, 1).await.sid;
    let other = Item { instance: Some(Instance::new("b", Unit::Tokens, "", "another")), ..ask(5, 1) };
    assert!(sync(&ledger, sid, vec![other]).await.items[0].gone);
    let unknown = ledger.sync(SyncRequest { sid: 12_345, epoch: 0, items: vec![] }).await;
    assert_eq!(unknown.unwrap_err().code, 5);
}

#[tokio::test]
async fn a_session_closes_only_with_nothing_outstanding() {
    let folder = Folder::new();
    let ledger = Embedded::open(&folder.0).unwrap();
    ledger.set_budgets(month(1_000)).await.unwrap();
    let sid = open(&ledger, 1).await.sid;
    let lease = sync(&ledger, sid, vec![ask(100, 1)]).await.items[0].clone();
    ledger.drain(DrainRequest { sid }).await.unwrap();
    assert_eq!(ledger.close(CloseRequest { sid }).await.unwrap_err().code, 9);
    let last = Item { wid: lease.wid, g: lease.g, r: lease.g - 40, u: 40, rev: 2, ask: None, ..ask(0, 2) };
    sync(&ledger, sid, vec![last]).await;
    assert_eq!(ledger.close(CloseRequest { sid }).await, Ok(CloseReply {}));
    assert_eq!(ledger.close(CloseRequest { sid }).await, Ok(CloseReply {}));
    assert_eq!(ledger.sync(SyncRequest { sid, epoch: 0, items: vec![ask(1, 3)] }).await.unwrap_err().code, 9);
    let spend = ledger.spend().await.unwrap();
    assert_eq!((spend[0].settled, spend[0].left), (40, 960));
}

#[tokio::test]
async fn the_service_speaks_grpc() {
    let folder = Folder::new();
    let ledger = Arc::new(Embedded::open(&folder.0).unwrap());
    ledger.set_budgets(month(1_000)).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder().add_service(service(ledger));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let channel =
        tonic::transport::Endpoint::new(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = tonic::client::Grpc::new(channel);

    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/weir.ledger.v1.Ledger/Open");
    let codec = tonic_prost::ProstCodec::<OpenRequest, OpenReply>::default();
    let request = OpenRequest { node: "n".into(), nonce_hi: 1, nonce_lo: 2, version: 1 };
    let opened = client.unary(tonic::Request::new(request), path, codec).await.unwrap().into_inner();
    assert_ne!(opened.sid, 0);

    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/weir.ledger.v1.Ledger/Sync");
    let codec = tonic_prost::ProstCodec::<SyncRequest, SyncReply>::default();
    let request = SyncRequest { sid: opened.sid, epoch: 0, items: vec![ask(10, 1)] };
    let reply = client.unary(tonic::Request::new(request), path.clone(), codec).await.unwrap().into_inner();
    assert!(reply.items[0].g >= 10);

    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<SyncRequest, SyncReply>::default();
    let request = SyncRequest { sid: 99, epoch: 0, items: vec![] };
    let status = client.unary(tonic::Request::new(request), path, codec).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);
}

#[test]
fn a_log_file_torn_at_any_byte_opens_with_its_whole_frames() {
    let folder = Folder::new();
    let mut ends = vec![0];
    {
        let mut disk = Disk::open(&folder.0, &mut Core::new(Params::default())).unwrap();
        for epoch in 1..=4 {
            disk.append(&[Entry::Epoch(epoch)]).unwrap();
            disk.sync().unwrap();
            ends.push(std::fs::metadata(folder.0.join("ledger.log")).unwrap().len());
        }
    }
    let whole = std::fs::read(folder.0.join("ledger.log")).unwrap();
    for cut in 0..=whole.len() {
        std::fs::write(folder.0.join("ledger.log"), &whole[..cut]).unwrap();
        let mut core = Core::new(Params::default());
        let mut disk = Disk::open(&folder.0, &mut core).unwrap();
        let frames = ends.iter().filter(|end| **end > 0 && **end <= cut as u64).count();
        assert_eq!(core.epoch(), frames as u64, "cut at {cut}");
        // What is written behind the cut is read again.
        disk.append(&[Entry::Epoch(77)]).unwrap();
        drop(disk);
        let mut core = Core::new(Params::default());
        Disk::open(&folder.0, &mut core).unwrap();
        assert_eq!(core.epoch(), 77);
    }
}

#[test]
fn a_compacted_log_says_the_same_in_less() {
    let folder = Folder::new();
    let mut core = Core::new(Params::default());
    let mut disk = Disk::open(&folder.0, &mut core).unwrap();
    disk.compact_at(10_000);
    let book = [
        Entry::Session { sid: 9, node: "n".into(), closed: false },
        Entry::Book { index: 0, instance: instance() },
        Entry::Window { index: 0, start: 1_000_000, end: u64::MAX },
    ];
    disk.append(&book).unwrap();
    book.into_iter().for_each(|entry| core.restore(entry));
    let mut compacted = 0;
    for g in 1..2_000 {
        let entry = Entry::Vector { index: 0, wid: 1_000, sid: 9, lane: 17, g, r: g / 3, u: g / 2 };
        disk.append(std::slice::from_ref(&entry)).unwrap();
        core.restore(entry);
        if disk.bloated() {
            let snapshot = core.snapshot(Default::default());
            disk.compact(&snapshot).unwrap();
            compacted += 1;
        }
    }
    disk.sync().unwrap();
    drop(disk);
    assert!(compacted > 3);
    assert!(std::fs::metadata(folder.0.join("ledger.log")).unwrap().len() < 20_000);
    let mut again = Core::new(Params::default());
    Disk::open(&folder.0, &mut again).unwrap();
    assert_eq!(again.snapshot(Default::default()), core.snapshot(Default::default()));
}
