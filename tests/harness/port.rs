//! Addresses of this machine that nobody else is given.
//!
//! Whoever asks for any port, the app and every client among them, is given one from the system's
//! ephemeral range. A port of that range that a test has let go of can be somebody else's a moment
//! later: what "nobody listens there" then means is chance.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::{TcpListener, TcpSocket};

/// Below the ephemeral ranges of Linux (32768 and up) and of IANA (49152 and up).
const FIRST: u32 = 10_000;
const COUNT: u32 = 22_000;

/// Where nothing listens, and nothing will unless it is told this address.
pub fn free() -> SocketAddr {
    let free = |addr: &SocketAddr| std::net::TcpListener::bind(addr).is_ok();
    std::iter::repeat_with(next).find(free).expect("a port")
}

/// Who listens where nobody else will, not even once it is gone.
pub fn listener() -> TcpListener {
    let listen = |addr| {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        socket.listen(1024)
    };
    std::iter::repeat_with(next).find_map(|addr| listen(addr).ok()).expect("a port")
}

fn next() -> SocketAddr {
    // Test processes beside each other begin far apart.
    static NEXT: LazyLock<AtomicU32> =
        LazyLock::new(|| AtomicU32::new(std::process::id().wrapping_mul(7_919)));
    let port = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
    SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).expect("a port")))
}
