//! The embedded engine as it is used: a directory, a thread, a disk, and gRPC in front.

use std::sync::Arc;

use tokio_stream::wrappers::TcpListenerStream;
use weir_lease::message::{OpenReply, OpenRequest, SyncReply, SyncRequest};
use weir_ledger::{Core, Desk, Disk, Engine, Entry, Error, Params, service};

mod kit;

use kit::{Folder, ask, instance, month};

#[tokio::test]
async fn two_writers_are_refused() {
    let folder = Folder::new();
    let _first = Desk::open(&folder.0).unwrap();
    assert!(matches!(Desk::open(&folder.0), Err(Error::Locked(_))));
}

#[tokio::test]
async fn the_service_speaks_grpc() {
    let folder = Folder::new();
    let ledger = Arc::new(Desk::open(&folder.0).unwrap());
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
