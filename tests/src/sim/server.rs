//! The socket side of a simulator: accepts, reads, records, answers `/sim/*`, and ends connections badly
//! when told to. It knows no provider's dialect.
//!
//! Headers are recorded from the bytes on the wire (HTTP/1), since hyper's map keeps neither case nor
//! order over names. A reset is a close with zero linger, done when hyper lets go of the socket.

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::book::{Book, Entry, Open, Record};
use super::control::{Behaviour, Controls, Order};
use super::flow::{Abort, Wire};

/// Largest request body a simulator reads.
const MAX_BODY: usize = 64 << 20;
/// Bytes of a request's head kept for the record.
const MAX_HEAD: usize = 256 << 10;

/// A provider's dialect.
pub trait Provider: Send + Sync + 'static {
    fn answer(
        self: Arc<Self>,
        call: Call,
    ) -> impl Future<Output = Result<Response<Wire>, Abort>> + Send + 'static;
}

/// What a request said before its body.
#[derive(Clone, Debug)]
pub struct Head {
    pub method: Method,
    pub path: String,
    pub query: Option<String>,
    pub http2: bool,
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The first value of a header, by name without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// One request handed to a provider.
pub struct Call {
    pub head: Head,
    pub body: Bytes,
    /// Dropped unsettled, the client counts as gone; it belongs into the [`Wire`] of the answer.
    pub open: Open,
    pub conn: Arc<Conn>,
    pub controls: Arc<Controls>,
}

impl Call {
    pub fn entry(&self) -> Entry {
        self.open.0.clone()
    }
}

/// A running simulator. Dropping it stops it, its connections included.
pub struct Server {
    address: SocketAddr,
    book: Arc<Book>,
    controls: Arc<Controls>,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves `provider` on `listen` (`127.0.0.1:0` for any port).
    pub async fn start<P: Provider>(listen: &str, defaults: Behaviour, provider: Arc<P>) -> io::Result<Self> {
        let address: SocketAddr = listen.parse().map_err(io::Error::other)?;
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(1024)?;
        let address = listener.local_addr()?;
        let book = Arc::new(Book::default());
        let controls = Arc::new(Controls::new(defaults));
        let shared = Arc::new(Shared { book: book.clone(), controls: controls.clone(), provider });
        let task = tokio::spawn(accept(listener, shared));
        Ok(Self { address, book, controls, task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// `http://host:port`, without a final slash.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn book(&self) -> &Book {
        &self.book
    }

    pub fn order(&self, order: Order) {
        self.controls.order(order);
    }

    /// Queues one behaviour for the next request.
    pub fn next(&self, behaviour: Behaviour) {
        self.order(Order { next: vec![behaviour], ..Order::default() });
    }

    /// Replaces the defaults.
    pub fn always(&self, behaviour: Behaviour) {
        self.order(Order { defaults: Some(behaviour), ..Order::default() });
    }

    /// Stops as a killed process does: the port closes and every connection with it.
    pub async fn kill(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Serves until the process ends.
    pub async fn forever(mut self) {
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Shared<P> {
    book: Arc<Book>,
    controls: Arc<Controls>,
    provider: Arc<P>,
}

async fn accept<P: Provider>(listener: TcpListener, shared: Arc<Shared<P>>) {
    let mut connections = JoinSet::new();
    let count = AtomicU64::new(0);
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                };
                let _ = stream.set_nodelay(true);
                let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                connections.spawn(connection(stream, number, shared.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection<P: Provider>(stream: TcpStream, number: u64, shared: Arc<Shared<P>>) {
    let conn = Arc::new(Conn { number, ..Conn::default() });
    let socket = Socket { stream, conn: conn.clone() };
    let service = hyper::service::service_fn(move |request| {
        let (shared, conn) = (shared.clone(), conn.clone());
        async move { serve(request, shared, conn).await }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // One buffer per frame: what the flow cuts leaves in one write each.
    builder.http1().writev(false).title_case_headers(false);
    builder.http2().max_concurrent_streams(1024).max_header_list_size(MAX_HEAD as u32);
    let _ = builder.serve_connection(TokioIo::new(socket), service).await;
}

async fn serve<P: Provider>(
    request: Request<Incoming>,
    shared: Arc<Shared<P>>,
    conn: Arc<Conn>,
) -> Result<Response<Wire>, Abort> {
    let head = read_head(&request, &conn);
    if head.path.starts_with("/sim/") {
        let answer = control(&head, request, &shared).await;
        conn.forget();
        return Ok(answer);
    }
    let open = Open(shared.book.open(Record {
        connection: conn.number,
        method: head.method.to_string(),
        path: head.path.clone(),
        query: head.query.clone(),
        version: if head.http2 { "HTTP/2.0" } else { "HTTP/1.1" }.to_owned(),
        headers: head.headers.clone(),
        ..Record::default()
    }));
    let body = match Limited::new(request.into_body(), MAX_BODY).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(_) => return Err(Abort),
    };
    conn.forget();
    open.0.body(&body);
    let call = Call { head, body, open, conn, controls: shared.controls.clone() };
    shared.provider.clone().answer(call).await
}

/// `/sim/book` (GET, DELETE; `?bodies=0`), `/sim/control` (GET, POST, DELETE), `/sim/health`.
async fn control<P: Provider>(head: &Head, request: Request<Incoming>, shared: &Shared<P>) -> Response<Wire> {
    let body = match Limited::new(request.into_body(), MAX_BODY).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(_) => return Wire::json(400, &serde_json::json!({"error": "the body could not be read"})),
    };
    match (head.method.as_str(), head.path.as_str()) {
        ("GET", "/sim/health") => Wire::json(200, &serde_json::json!({"ok": true})),
        ("GET", "/sim/book") => {
            let bodies = head.query.as_deref() != Some("bodies=0");
            Wire::json(200, &shared.book.json(bodies))
        }
        ("DELETE", "/sim/book") => {
            shared.book.clear();
            Wire::json(200, &serde_json::json!({"ok": true}))
        }
        ("GET", "/sim/control") => Wire::json(200, &shared.controls.show()),
        ("DELETE", "/sim/control") => {
            shared.controls.order(Order { clear: true, ..Order::default() });
            Wire::json(200, &shared.controls.show())
        }
        ("POST", "/sim/control") => match serde_json::from_slice::<Order>(&body) {
            Ok(order) => {
                shared.controls.order(order);
                Wire::json(200, &shared.controls.show())
            }
            Err(error) => Wire::json(400, &serde_json::json!({"error": error.to_string()})),
        },
        _ => Wire::json(404, &serde_json::json!({"error": "no such control"})),
    }
}

fn read_head(request: &Request<Incoming>, conn: &Conn) -> Head {
    let http2 = request.version() == http::Version::HTTP_2;
    let uri = request.uri();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = match conn.raw_headers().filter(|_| !http2) {
        Some(raw) => raw,
        None => {
            let mut all = Vec::new();
            if http2 {
                all.push((":method".to_owned(), request.method().to_string()));
                let path = uri.path_and_query().map_or("", |p| p.as_str());
                all.push((":path".to_owned(), path.to_owned()));
                all.push((":scheme".to_owned(), uri.scheme_str().unwrap_or_default().to_owned()));
                all.push((":authority".to_owned(), uri.authority().map_or("", |a| a.as_str()).to_owned()));
            }
            all.extend(request.headers().iter().map(|(n, v)| (n.as_str().to_owned(), text(v))));
            all
        }
    };
    Head {
        method: request.method().clone(),
        path: uri.path().to_owned(),
        query: uri.query().map(str::to_owned),
        http2,
        headers,
    }
}

/// What is known of one connection, shared between its socket and its requests.
#[derive(Default)]
pub struct Conn {
    number: u64,
    /// Bytes read since the last request's end: the next request's head.
    tap: Mutex<Vec<u8>>,
    reset: AtomicBool,
    last_words: Mutex<Vec<u8>>,
}

impl Conn {
    /// From here on, letting go of the socket sends RST.
    pub fn will_reset(&self) {
        self.reset.store(true, Ordering::SeqCst);
    }

    /// These bytes are written to the bare socket when it is let go.
    pub fn will_say(&self, bytes: Vec<u8>) {
        *self.last_words.lock().unwrap() = bytes;
    }

    fn forget(&self) {
        self.tap.lock().unwrap().clear();
    }

    fn raw_headers(&self) -> Option<Vec<(String, String)>> {
        let tap = self.tap.lock().unwrap();
        let end = tap.windows(4).position(|w| w == b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&tap[..end]).into_owned();
        let mut lines = text.split("\r\n");
        if !lines.next()?.contains(" HTTP/1.") {
            return None;
        }
        lines.map(|l| l.split_once(':').map(|(n, v)| (n.to_owned(), v.trim().to_owned()))).collect()
    }
}

/// The TCP stream under hyper, with a tap on what is read and a last will.
struct Socket {
    stream: TcpStream,
    conn: Arc<Conn>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        let words = std::mem::take(&mut *self.conn.last_words.lock().unwrap());
        if !words.is_empty() {
            let _ = self.stream.try_write(&words);
        }
        if self.conn.reset.load(Ordering::SeqCst) {
            let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let read = &buffer.filled()[before..];
        if !read.is_empty() {
            let mut tap = self.conn.tap.lock().unwrap();
            let room = MAX_HEAD.saturating_sub(tap.len()).min(read.len());
            tap.extend_from_slice(&read[..room]);
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Header names of a request, lower-case, for allowlist tests.
pub fn names(record: &Record) -> HashSet<String> {
    record.headers.iter().map(|(n, _)| n.to_ascii_lowercase()).collect()
}
