//! The little of HTTP/1.1 that the demonstrations need, on a plain socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::process::{Context, Error, Result};

/// A whole answer.
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    /// The body without framing.
    pub body: Vec<u8>,
    /// From the request's last byte to the first byte of the body.
    pub first_byte: Duration,
}

impl Answer {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// GET on a port of this machine.
pub fn get(port: u16, path: &str) -> Result<Answer> {
    send(port, "GET", path, &[], b"", &mut |_| ())
}

/// POST of JSON; `seen` gets each piece of the answer as it comes.
pub fn post(
    port: u16,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
    seen: &mut dyn FnMut(&[u8]),
) -> Result<Answer> {
    send(port, "POST", path, headers, body.as_bytes(), seen)
}

fn send(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    seen: &mut dyn FnMut(&[u8]),
) -> Result<Answer> {
    let what = format!("{method} http://127.0.0.1:{port}{path}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context(&what)?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).context(&what)?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).context(&what)?;
    let began = Instant::now();
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).context(&what)? == 0 {
            return Err(Error::new(format!("{what}: closed before an answer")));
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let status = lines.first().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.ok_or_else(|| Error::new(format!("{what}: no HTTP answer")))?;
    let pairs = lines.iter().skip(1).filter_map(|line| line.split_once(':'));
    let headers: Vec<_> = pairs.map(|(key, value)| (key.to_lowercase(), value.trim().to_owned())).collect();
    let mut answer = Answer { status, headers, body: Vec::new(), first_byte: Duration::ZERO };
    let chunked = answer.header("transfer-encoding").is_some_and(|value| value.contains("chunked"));
    let length = answer.header("content-length").and_then(|value| value.parse().ok());
    if !chunked {
        let mut body = Vec::new();
        match length {
            Some(length) => reader.by_ref().take(length).read_to_end(&mut body).context(&what)?,
            None => reader.read_to_end(&mut body).context(&what)?,
        };
        answer.first_byte = began.elapsed();
        seen(&body);
        answer.body = body;
        return Ok(answer);
    }
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).context(&what)?;
        let size = line.trim().split(';').next().and_then(|size| usize::from_str_radix(size, 16).ok());
        let Some(size) = size else {
            return Err(Error::new(format!("{what}: the answer broke off")));
        };
        if answer.body.is_empty() {
            answer.first_byte = began.elapsed();
        }
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).context(&what)?;
        chunk.truncate(size);
        if chunk.is_empty() {
            return Ok(answer);
        }
        seen(&chunk);
        answer.body.extend(chunk);
    }
}
