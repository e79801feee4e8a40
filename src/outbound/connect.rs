//! Dialing: a host is resolved, the addresses that may not be asked are left out, and one of the others is
//! dialed. Nothing is resolved twice, so that no name can stand for one address when it is looked at and
//! for another when it is dialed (DNS rebinding).

use std::{
    net::{IpAddr, SocketAddr},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use http::Uri;
use hyper_util::{
    client::legacy::connect::{
        HttpConnector,
        dns::{GaiResolver, Name},
    },
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower_service::Service;

use super::Reach;

/// How long a connection may take to be made.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Nobody may be asked there.
#[derive(Debug, thiserror::Error)]
#[error("the host has no address that requests may be sent to")]
pub(super) struct Refused;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Dials the hosts of URLs, within its reach.
#[derive(Clone, Debug)]
pub(super) struct Connector<R = GaiResolver> {
    reach: Reach,
    dialer: HttpConnector<Within<R>>,
}

/// Resolves names to addresses within its reach.
#[derive(Clone, Debug)]
struct Within<R> {
    reach: Reach,
    resolver: R,
}

impl Connector {
    /// One that resolves names as the system does.
    pub(super) fn new(reach: Reach) -> Self {
        Self::resolving_by(GaiResolver::new(), reach)
    }
}

impl<R> Connector<R> {
    fn resolving_by(resolver: R, reach: Reach) -> Self {
        let mut dialer =
            HttpConnector::new_with_resolver(Within { reach: reach.clone(), resolver });
        dialer.enforce_http(false);
        dialer.set_nodelay(true);
        dialer.set_connect_timeout(Some(TIMEOUT));
        Self { reach, dialer }
    }
}

impl<R> Service<Uri> for Connector<R>
where
    R: Service<Name> + Clone + Send + Sync + 'static,
    R::Response: Iterator<Item = SocketAddr>,
    R::Error: Into<BoxError>,
    R::Future: Send,
{
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.dialer.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // The dialer resolves names only.
        match literal(&uri) {
            Some(address) if !self.reach.includes(address) => async { Err(Refused.into()) }.boxed(),
            _ => self.dialer.call(uri).map(|dialed| dialed.map_err(Into::into)).boxed(),
        }
    }
}

/// The address that stands in a URL in place of a name.
fn literal(uri: &Uri) -> Option<IpAddr> {
    let host = uri.host()?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok()
}

impl<R> Service<Name> for Within<R>
where
    R: Service<Name>,
    R::Response: Iterator<Item = SocketAddr>,
    R::Error: Into<BoxError>,
    R::Future: Send + 'static,
{
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.resolver.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (reach, resolving) = (self.reach.clone(), self.resolver.call(name));
        let within = async move {
            let found = resolving.await.map_err(Into::into)?;
            let within: Vec<_> = found.filter(|found| reach.includes(found.ip())).collect();
            if within.is_empty() { Err(Refused.into()) } else { Ok(within.into_iter()) }
        };
        within.boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        future::{Ready, ready},
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use tokio::net::TcpListener;

    use super::*;

    /// Answers each time with the next of these, and counts how often it was asked.
    #[derive(Clone)]
    struct Scripted(Arc<(Vec<Vec<IpAddr>>, AtomicUsize)>);

    impl Scripted {
        fn new(answers: &[&[&str]]) -> Self {
            let parse = |answer: &&[&str]| answer.iter().map(|a| a.parse().unwrap()).collect();
            Self(Arc::new((answers.iter().map(parse).collect(), AtomicUsize::new(0))))
        }

        fn asked(&self) -> usize {
            self.0.1.load(Ordering::Relaxed)
        }
    }

    impl Service<Name> for Scripted {
        type Response = std::vec::IntoIter<SocketAddr>;
        type Error = Infallible;
        type Future = Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Name) -> Self::Future {
            let turn = self.0.1.fetch_add(1, Ordering::Relaxed);
            let answer = self.0.0[turn.min(self.0.0.len() - 1)].iter();
            let found: Vec<_> = answer.map(|address| SocketAddr::new(*address, 0)).collect();
            ready(Ok(found.into_iter()))
        }
    }

    async fn dial(resolver: &Scripted, reach: Reach, url: &str) -> Result<SocketAddr, BoxError> {
        let mut connector = Connector::resolving_by(resolver.clone(), reach);
        let dialed = connector.call(url.parse().unwrap()).await?;
        Ok(dialed.into_inner().peer_addr()?)
    }

    fn is_refused(dialed: &Result<SocketAddr, BoxError>) -> bool {
        let mut error = dialed.as_ref().err().map(|e| &**e as &(dyn std::error::Error + 'static));
        while let Some(cause) = error {
            if cause.is::<Refused>() {
                return true;
            }
            error = cause.source();
        }
        false
    }

    fn public(besides: &[&str]) -> Reach {
        Reach::Public { besides: besides.iter().map(|n| n.parse().unwrap()).collect() }
    }

    #[tokio::test]
    async fn a_name_that_is_rebound_is_looked_up_once_for_each_dial() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://rebound.example:{}/", listener.local_addr().unwrap().port());
        // What it stands for second may not be asked: the first dial must never come to see it.
        let resolver = Scripted::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
        let reach = public(&["127.0.0.1/32"]);
        let dialed = dial(&resolver, reach.clone(), &url).await.unwrap();
        assert_eq!((dialed.ip().to_string().as_str(), resolver.asked()), ("127.0.0.1", 1));
        assert!(is_refused(&dial(&resolver, reach, &url).await));
        assert_eq!(resolver.asked(), 2);
    }

    #[tokio::test]
    async fn only_addresses_within_reach_are_dialed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("http://two.example:{port}/");
        let resolver = Scripted::new(&[&["127.0.0.2", "127.0.0.1"]]);
        let dialed = dial(&resolver, public(&["127.0.0.1/32"]), &url).await.unwrap();
        assert_eq!(dialed.ip().to_string(), "127.0.0.1");
        assert!(is_refused(&dial(&resolver, public(&[]), &url).await));
        // Literals are never looked up.
        for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "[::1]"] {
            let url = format!("http://{host}:{port}/");
            assert!(is_refused(&dial(&resolver, public(&[]), &url).await), "{url}");
        }
        assert_eq!(resolver.asked(), 2);
        assert!(
            dial(&resolver, Reach::Anywhere, &format!("http://127.0.0.1:{port}/")).await.is_ok()
        );
    }

    #[tokio::test]
    async fn the_systems_resolver_knows_other_spellings() {
        for host in ["localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1"] {
            let url: Uri = format!("http://{host}:9/").parse().unwrap();
            let dialed = Connector::new(public(&[])).call(url).await;
            assert!(is_refused(&dialed.map(|_| ([127, 0, 0, 1], 9).into())), "{host}");
        }
    }
}
