//! Options of sockets that the standard library does not set.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::net::{TcpStream, UdpSocket};

/// After which silence the system asks whether the other machine is still there, and how often.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_COUNT: u32 = 3;

/// Packets are gathered before they are written, so waiting for more would only delay them; and a machine
/// that has lost its power must not keep a connection for ever. Where a system refuses, it works without.
pub(super) fn prepare(socket: &TcpStream) {
    let _ = socket.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(socket, true);
    #[cfg(target_os = "linux")]
    {
        let _ = sockopt::set_tcp_keepidle(socket, KEEP_ALIVE_IDLE);
        let _ = sockopt::set_tcp_keepintvl(socket, KEEP_ALIVE_INTERVAL);
        let _ = sockopt::set_tcp_keepcnt(socket, KEEP_ALIVE_COUNT);
    }
}

/// A socket for datagrams. With `reuse`, several processes of this machine may have one on the same port.
pub(super) fn datagrams(address: Ipv4Addr, port: u16, reuse: bool) -> std::io::Result<UdpSocket> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, reuse)?;
    sockopt::set_socket_broadcast(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddr::V4(SocketAddrV4::new(address, port)))?;
    UdpSocket::from_std(socket.into())
}
