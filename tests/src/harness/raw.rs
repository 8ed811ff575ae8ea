//! HTTP/1.1 by hand: the test decides where each write ends and sees every byte that comes back.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Nothing that a test waits for takes longer.
const LIMIT: Duration = Duration::from_secs(20);

/// One connection.
pub struct Raw {
    stream: TcpStream,
    /// Bytes that came and were not asked for yet.
    buffer: Vec<u8>,
}

/// Status line and headers.
#[derive(Clone, Debug)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// Lower-case names, in order.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The first header of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// One chunk of a chunked body, or what came of a plain one in one read.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Its bytes without framing; empty at the proper end.
    pub data: Vec<u8>,
    /// When its last byte was here.
    pub at: Instant,
}

/// How a connection ended before the body was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut;

impl Raw {
    /// Connects to 127.0.0.1.
    pub async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the port is listened on");
        stream.set_nodelay(true).expect("a TCP socket");
        Self { stream, buffer: Vec::new() }
    }

    /// One write.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the peer still reads");
    }

    /// One write; an error where the peer closed.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        self.stream.flush().await
    }

    /// A POST with a JSON body and this key.
    pub async fn post(&mut self, path: &str, key: &str, body: &[u8]) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.send([head.as_bytes(), body].concat()).await;
    }

    /// Reads a status line and headers, 100-continue and its like included.
    pub async fn head(&mut self) -> Head {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            assert!(self.more().await, "closed before the head: {:?}", String::from_utf8_lossy(&self.buffer));
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let text = String::from_utf8_lossy(&head[..end]).into_owned();
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines.filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        });
        Head { status: status.expect("a status line"), headers: headers.collect() }
    }

    /// The next chunk of a chunked body exactly as the peer framed it.
    pub async fn chunk(&mut self) -> Result<Chunk, Cut> {
        let line_end = self.until(b"\r\n").await?;
        let line = String::from_utf8_lossy(&self.buffer[..line_end]).into_owned();
        let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
        let size = size.unwrap_or_else(|_| panic!("no chunk size: {line:?}"));
        let start = line_end + 2;
        while self.buffer.len() < start + size + 2 {
            if size == 0 && find(&self.buffer[line_end..], b"\r\n\r\n").is_some() {
                break;
            }
            if !self.more().await {
                return Err(Cut);
            }
        }
        let at = Instant::now();
        let data = self.buffer[start..start + size].to_vec();
        // Trailers, if any, are read with the last chunk.
        let end =
            if size == 0 { self.until_from(line_end, b"\r\n\r\n").await? + 4 } else { start + size + 2 };
        self.buffer.drain(..end);
        Ok(Chunk { data, at })
    }

    /// The whole body, by `content-length` or by chunks; what came before a cut comes with it.
    pub async fn body(&mut self, head: &Head) -> Result<Vec<u8>, (Cut, Vec<u8>)> {
        if let Some(length) = head.get("content-length") {
            let length: usize = length.parse().expect("a length");
            while self.buffer.len() < length {
                if !self.more().await {
                    return Err((Cut, std::mem::take(&mut self.buffer)));
                }
            }
            return Ok(self.buffer.drain(..length).collect());
        }
        let mut body = Vec::new();
        if head.get("transfer-encoding").is_none() {
            return Ok(body);
        }
        loop {
            match self.chunk().await {
                Ok(chunk) if chunk.data.is_empty() => return Ok(body),
                Ok(chunk) => body.extend(chunk.data),
                Err(cut) => return Err((cut, body)),
            }
        }
    }

    /// Whether the peer closes, within the limit, without sending more.
    pub async fn closed(&mut self) -> bool {
        self.buffer.is_empty() && !self.more().await
    }

    /// Nothing more comes within `wait`.
    pub async fn silent_for(&mut self, wait: Duration) -> bool {
        let mut byte = [0; 1];
        self.buffer.is_empty() && timeout(wait, self.stream.peek(&mut byte)).await.is_err()
    }

    /// Closes by RST, as a client that is killed does.
    pub fn abort(self) {
        #[expect(deprecated, reason = "a zero linger never blocks")]
        let _ = self.stream.set_linger(Some(Duration::ZERO));
    }

    async fn until(&mut self, what: &[u8]) -> Result<usize, Cut> {
        self.until_from(0, what).await
    }

    async fn until_from(&mut self, from: usize, what: &[u8]) -> Result<usize, Cut> {
        loop {
            if let Some(at) = find(&self.buffer[from..], what) {
                return Ok(from + at);
            }
            if !self.more().await {
                return Err(Cut);
            }
        }
    }

    /// Reads once; false at the end, also where the end is a reset.
    async fn more(&mut self) -> bool {
        let mut bytes = [0; 65_536];
        let read =
            timeout(LIMIT, self.stream.read(&mut bytes)).await.expect("the peer says something in time");
        match read {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&bytes[..count]);
                true
            }
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
