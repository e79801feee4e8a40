//! Resolving and connecting.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{
    error::{Error, Kind, Phase},
    instance::Instance,
    stream::Stream,
    upstream::Upstream,
};

/// How long one address is tried alone before the next is tried beside it (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to one of the instance's addresses, over TLS where its URL says so.
pub(super) async fn connect(upstream: &Upstream, instance: &Instance) -> Result<Stream, Error> {
    let connecting = async {
        let addresses = resolve(instance).await?;
        let stream = race(addresses).await.map_err(|e| Error::io(Phase::Connect, e))?;
        // A proxy writes whole messages: waiting for more to send would only delay them.
        stream.set_nodelay(true).map_err(|e| Error::io(Phase::Connect, e))?;
        match instance.tls() {
            Some(tls) => tls.handshake(stream).await,
            None => Ok(Stream::tcp(stream)),
        }
    };
    timeout(upstream.connect_timeout, connecting)
        .await
        .unwrap_or_else(|late| Err(Error::new(Kind::Timeout, Phase::Connect).because(late)))
}

/// The instance's addresses in the resolver's order, the families alternating.
async fn resolve(instance: &Instance) -> Result<Vec<SocketAddr>, Error> {
    let found = lookup_host(instance.address()).await.map_err(Error::unresolved)?;
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for address in found {
        let same_family =
            first.first().is_none_or(|f: &SocketAddr| f.is_ipv4() == address.is_ipv4());
        if same_family { first.push(address) } else { second.push(address) }
    }
    let mut second = second.into_iter();
    let mut addresses = Vec::new();
    for address in first {
        addresses.push(address);
        addresses.extend(second.next());
    }
    addresses.extend(second);
    Ok(addresses)
}

/// The first connection that is made. Each address gets a head start before the next joins.
async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        attempts.push(TcpStream::connect(address));
        match timeout(HEAD_START, attempts.next()).await {
            Ok(Some(Ok(stream))) => return Ok(stream),
            Ok(Some(Err(error))) => failure = error,
            Ok(None) | Err(_) => {}
        }
    }
    while let Some(attempt) = attempts.next().await {
        match attempt {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
