//! Binding to an address that may come later.

use std::io;
use std::net::SocketAddr;

use socket2::Socket;

/// Lets a socket be bound to an address that this host does not have yet (IP_FREEBIND in ip(7)): a routing
/// daemon may give it to the host once this server is healthy.
pub fn bind_before_it_is_here(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true),
        SocketAddr::V6(_) => socket.set_freebind_v6(true),
    }
}
