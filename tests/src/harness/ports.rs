//! Ports that nobody listens on, and that no other test process is given.

use std::net::{TcpListener, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the kernel's ephemeral ports, so that no outgoing connection takes one between choice and use.
const FIRST: u16 = 18_000;
const COUNT: u16 = 14_000;

/// A free port of 127.0.0.1; each call gives another one, in every process on this machine.
///
/// Envoy listens with `SO_REUSEPORT`: two of them on one port share its connections without a word. So a port
/// is kept from its choice to the end of the process, by the UDP socket of the same number, which the kernel
/// gives to one process only and takes back however that ends.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    static KEPT: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    // Test processes that run at the same time begin at different places.
    let start = u16::try_from(std::process::id() % 1_000).unwrap_or(0) * 14;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (start.wrapping_add(step)) % COUNT;
        let Ok(keeps) = UdpSocket::bind(("127.0.0.1", port)) else { continue };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            KEPT.lock().expect("nobody panics here").push(keeps);
            return port;
        }
    }
    panic!("no free port in {FIRST}..{}", FIRST + COUNT)
}
