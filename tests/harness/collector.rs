//! A collector of traces that speaks OTLP, over HTTP or gRPC, and keeps every span that it is sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use prost::Message as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::builder::Builder;
use super::upstream::Upstream;
use super::{App, port};

/// How long spans may take to come.
const SOON: Duration = Duration::from_secs(30);

/// A span as it was sent.
#[derive(Clone, Debug)]
pub struct Span {
    pub name: String,
    /// `server`, `client`, `consumer` or `internal`.
    pub kind: &'static str,
    pub trace: String,
    pub id: String,
    /// Empty where it has none.
    pub parent: String,
    pub attributes: BTreeMap<String, String>,
    pub is_error: bool,
    pub resource: BTreeMap<String, String>,
}

impl Span {
    /// What it tells by this key; fails where it tells nothing.
    #[track_caller]
    pub fn get(&self, key: &str) -> &str {
        self.attributes.get(key).unwrap_or_else(|| panic!("no {key}: {self:?}"))
    }
}

type Kept<T> = Arc<Mutex<Vec<T>>>;

/// A listening collector; it ends with the test.
pub struct Collector {
    endpoint: String,
    spans: Kept<Span>,
    /// The fields of all requests.
    fields: Kept<(String, String)>,
    http: Option<Upstream>,
    task: Option<JoinHandle<()>>,
}

impl Collector {
    /// One that speaks OTLP/HTTP.
    pub async fn http() -> Self {
        let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        let endpoint = upstream.url("/v1/traces");
        let (spans, fields) = (Arc::default(), Arc::default());
        Self { endpoint, spans, fields, http: Some(upstream), task: None }
    }

    /// One that speaks OTLP/gRPC.
    pub async fn grpc() -> Self {
        Self::listening(port::listener())
    }

    /// The same at this address.
    pub async fn grpc_at(addr: SocketAddr) -> Self {
        Self::listening(TcpListener::bind(addr).await.unwrap())
    }

    fn listening(listener: TcpListener) -> Self {
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (spans, fields) = (Kept::default(), Kept::default());
        let (to, heads) = (Arc::clone(&spans), Arc::clone(&fields));
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&to), Arc::clone(&heads)));
            }
        });
        Self { endpoint, spans, fields, http: None, task: Some(task) }
    }

    /// What `telemetry.otlp_endpoint` says of it.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A server that sends its spans here, soon.
    pub fn builder(&self) -> Builder {
        self.of(App::builder())
    }

    /// The same of another one.
    pub fn of(&self, builder: Builder) -> Builder {
        let builder = builder.set("TELEMETRY__OTLP_ENDPOINT", &self.endpoint);
        builder.env("OTEL_BSP_SCHEDULE_DELAY", "100")
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        if let Some(upstream) = &self.http {
            let all = upstream.requests().into_iter();
            return all.flat_map(|request| decode(Bytes::from(request.body))).collect();
        }
        self.spans.lock().unwrap().clone()
    }

    /// The values of a field of the requests so far.
    pub fn field(&self, name: &str) -> Vec<String> {
        if let Some(upstream) = &self.http {
            return upstream.requests().iter().flat_map(|request| request.headers(name)).collect();
        }
        let all = self.fields.lock().unwrap();
        let named = all.iter().filter(|(of, _)| of == name);
        named.map(|(_, value)| value.clone()).collect()
    }

    /// All spans, once they are as wanted.
    pub async fn until(&self, wanted: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let until = Instant::now() + SOON;
        loop {
            let spans = self.spans();
            if wanted(&spans) {
                return spans;
            }
            let names: Vec<_> = spans.iter().map(|s| (&s.name, &s.trace, &s.attributes)).collect();
            assert!(Instant::now() < until, "{names:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The spans of the trace that the server's span of this path belongs to, once there are those of all of
    /// these names.
    pub async fn trace_of(&self, path: &str, names: &[&str]) -> Vec<Span> {
        let of = |spans: &[Span]| {
            let is_root =
                |span: &&Span| span.kind == "server" && span.attributes["url.path"].contains(path);
            let root = spans.iter().find(is_root)?;
            let same = spans.iter().filter(|span| span.trace == root.trace);
            Some(same.cloned().collect::<Vec<_>>())
        };
        let has_all = |spans: &[Span]| {
            of(spans).is_some_and(|of| names.iter().all(|name| of.iter().any(|s| s.name == *name)))
        };
        of(&self.until(has_all).await).expect("a trace")
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.iter().for_each(JoinHandle::abort);
    }
}

/// The only one of these spans with this name.
#[track_caller]
pub fn only<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let named: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(named.len(), 1, "{name} among {spans:#?}");
    named[0]
}

/// Answers gRPC's unary calls on a connection.
async fn serve(socket: TcpStream, spans: Kept<Span>, fields: Kept<(String, String)>) {
    let Ok(mut connection) = h2::server::handshake(socket).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let (spans, fields) = (Arc::clone(&spans), Arc::clone(&fields));
        tokio::spawn(async move {
            let (head, mut stream) = request.into_parts();
            let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
            assert_eq!(head.uri.path(), path);
            assert_eq!(head.headers["content-type"], "application/grpc");
            let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
            let told = head.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
            fields.lock().unwrap().extend(told);
            let mut body = BytesMut::new();
            while let Some(Ok(piece)) = stream.data().await {
                let _ = stream.flow_control().release_capacity(piece.len());
                body.extend_from_slice(&piece);
            }
            // A message is a flag, its length, and itself.
            let (flag, length) = (body.get_u8(), body.get_u32());
            assert_eq!((flag, length as usize), (0, body.len()));
            spans.lock().unwrap().extend(decode(body.freeze()));
            let head = http::Response::builder().header("content-type", "application/grpc");
            let mut answer = respond.send_response(head.body(()).unwrap(), false).unwrap();
            answer.send_data(Bytes::from_static(&[0; 5]), false).unwrap();
            let status = [(http::HeaderName::from_static("grpc-status"), "0".parse().unwrap())];
            answer.send_trailers(status.into_iter().collect()).unwrap();
        });
    }
}

fn decode(body: Bytes) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(body).expect("protobuf of OTLP");
    let mut spans = Vec::new();
    for of_resource in request.resource_spans {
        let resource = attributes(of_resource.resource.unwrap_or_default().attributes);
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let kinds = ["unspecified", "internal", "server", "client", "producer", "consumer"];
            assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{span:?}");
            spans.push(Span {
                name: span.name,
                kind: kinds[span.kind as usize],
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                attributes: attributes(span.attributes),
                is_error: span.status.is_some_and(|status| status.code == 2),
                resource: resource.clone(),
            });
        }
    }
    spans
}

fn attributes(all: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    all.into_iter().map(|KeyValue { key, value, .. }| (key, text(value))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
