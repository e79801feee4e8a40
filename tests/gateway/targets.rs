//! One view of the path: whatever form a target has, it is refused, or reaches the one service and
//! the one place that its bytes name.

use crate::harness::App;
use crate::harness::http::Connection;
use crate::harness::upstream::Upstream;

/// What becomes of a target.
#[derive(Debug)]
enum End {
    /// Refused with this status, of ours or of the parser.
    Status(u16),
    /// This target, at the service `up`.
    Up(&'static str),
}

use End::{Status, Up};

/// `~` stands for `/consumer-api/service`.
const TARGETS: &[(&str, End)] = &[
    // Forms.
    ("http://a~/up/x", Up("/base/x")),
    ("http://a~/up/x?y", Up("/base/x?y")),
    ("HTTP://A~/up/x", Up("/base/x")),
    ("https://a~/up/x", Up("/base/x")),
    ("http://a~/up", Up("/base")),
    ("http://a~/up?x", Up("/base?x")),
    ("http://a~/up/http://b/x", Up("/base/http://b/x")),
    ("http://b~/up/x", Status(400)),
    ("http://a:80~/up/x", Status(400)),
    ("http://x@a~/up/x", Status(400)),
    ("http://a\\~/up/x", Status(400)),
    ("http://~/up/x", Status(400)),
    ("http:~/up/x", Status(400)),
    ("file://a~/up/x", Status(400)),
    ("http://a", Status(404)),
    ("http://a?~/up/x", Status(404)),
    ("http://a/?~/up/x", Status(404)),
    ("a:80", Status(400)),
    ("a", Status(400)),
    ("*", Status(400)),
    ("*~/up/x", Status(400)),
    ("consumer-api/service/up/x", Status(400)),
    (".~/up/x", Status(400)),
    ("?~/up/x", Status(400)),
    ("#~/up/x", Status(400)),
    ("%2fconsumer-api/service/up/x", Status(400)),
    // Fragments.
    ("~/up/x#y", Status(400)),
    ("~/up/x#/../../other/y", Status(400)),
    ("~/up/x?y#z", Status(400)),
    ("~/up#/x", Status(400)),
    ("~/up/%23x", Up("/base/%23x")),
    // Dot segments in a URI, and before the service's name.
    ("http://a/..~/up/x", Status(404)),
    ("http://a~/up/../other/x", Status(400)),
    ("http://a~/up/%2e%2e/other/x", Status(400)),
    ("http://a~/up/%252e%252e/other/x", Status(400)),
    ("http://a~/up/..%5cother", Status(400)),
    ("/x/..~/up/x", Status(404)),
    ("/.~/up/x", Status(404)),
    ("~/../service/up/x", Status(400)),
    ("~/./up/x", Status(400)),
    ("~/%2e%2e/up/x", Status(400)),
    ("~/other/../up/x", Status(400)),
    ("~/other/%2e%2e/up/x", Status(400)),
    ("~/other%2f..%2fup/x", Status(400)),
    ("~/other%2f%2e%2e%2fup/x", Status(400)),
    ("~/other%5c..%5cup/x", Status(400)),
    ("~/up/..;/other/x", Status(400)),
    ("~/up/..;x=y/other/x", Status(400)),
    ("~/up/%2e%2e;/other/x", Status(400)),
    ("~/up/%2e%2e%3b/other/x", Status(400)),
    ("~/up/.;/x", Status(400)),
    // The service's name is its own bytes.
    ("~/%75p/x", Status(404)),
    ("~/up%2fx", Status(404)),
    ("~/up%5cx", Status(404)),
    ("~/up%3fx", Status(404)),
    ("~/up%00/x", Status(400)),
    ("~/up;x/y", Status(404)),
    ("~/up./x", Status(404)),
    ("~/up:80/x", Status(404)),
    ("~/x@up/x", Status(404)),
    ("~//up/x", Status(404)),
    ("~/", Status(404)),
    ("~", Status(404)),
    ("~?/up/x", Status(404)),
    // The prefix is its own bytes.
    ("/~/up/x", Status(404)),
    ("//a~/up/x", Status(404)),
    ("/consumer-api//service/up/x", Status(404)),
    ("/Consumer-Api/service/up/x", Status(404)),
    ("/consumer-api%2fservice/up/x", Status(404)),
    ("/consumer-api\\service\\up\\x", Status(404)),
    ("/consumer-api/service\\up/x", Status(404)),
    ("/consumer-api;x/service/up/x", Status(404)),
    // What the rest may hold.
    ("~/up//x", Up("/base//x")),
    ("~/up///", Up("/base///")),
    ("~/up/x//y", Up("/base/x//y")),
    ("~/up//other/x", Up("/base//other/x")),
    ("~/up~/other/x", Up("/base/consumer-api/service/other/x")),
    ("~/up/x%2f%2fy", Up("/base/x%2f%2fy")),
    ("~/up/x?~/other/../x", Up("/base/x?/consumer-api/service/other/../x")),
    ("~/up/x%3f/../y", Status(400)),
    ("~/up/x%3f..", Up("/base/x%3f..")),
    ("~/up/x;/y", Up("/base/x;/y")),
    ("~/up/x%5cy", Up("/base/x%5cy")),
    ("~/up/\\other", Status(400)),
    ("~/up/x\\y", Status(400)),
    ("~/up/x\0y", Status(400)),
    ("~/up/x%00", Status(400)),
    ("~/up/x%2500", Status(400)),
    ("~/up/x%0d%0aHost:%20b", Status(400)),
    ("~/up/x?y%0d%0aHost:%20b", Up("/base/x?y%0d%0aHost:%20b")),
    ("~/up/x\ty", Status(400)),
    ("~/up/x y", Status(400)),
];

#[tokio::test]
async fn a_target_names_one_place_or_none() {
    let (up, other) = (Upstream::ok().await, Upstream::ok().await);
    let app = App::builder()
        .service("up", &up.url("/base"), "")
        .service("other", &other.url(""), "")
        .start()
        .await;
    for (target, end) in TARGETS {
        let seen = up.requests().len();
        let text = target.replace('~', "/consumer-api/service");
        let mut connection = Connection::open(app.addr).await;
        connection.send(format!("GET {text} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let response = connection.response().await;
        let arrived = up.requests().split_off(seen);
        match end {
            Status(status) => {
                assert_eq!(response.status, *status, "{text}: {}", response.text());
                assert!(arrived.is_empty(), "{text}: {arrived:?}");
            }
            Up(place) => {
                assert_eq!(response.status, 200, "{text}: {}", response.text());
                assert_eq!(arrived.len(), 1, "{text}");
                assert_eq!(arrived[0].target(), *place, "{text}");
            }
        }
    }
    assert!(other.requests().is_empty(), "{:?}", other.requests());
}

#[tokio::test]
async fn a_module_has_the_same_view() {
    let app = App::local().await;
    let rows = [
        ("http://a~/consumers/customer-images/upload/42", 405),
        ("http://b~/consumers/customer-images/upload/42", 400),
        ("~/consumers/customer-images/upload/42#x", 400),
        ("~/consumers/customer-images/./upload/42", 400),
        ("~/consumers/customer-images/%2e%2e/upload/42", 400),
        ("~/consumers/customer-images/..;/upload/42", 400),
        ("~/consumers//customer-images/upload/42", 404),
        ("~/consumers/customer-images//upload/42", 404),
        ("~/consumers/customer-images%2fupload/42", 404),
        ("~/consumers/customer-images/upload%2f42", 404),
        ("~/consumers/customer-images/upload/42/", 404),
        ("~/%63onsumers/customer-images/upload/42", 404),
    ];
    for (target, status) in rows {
        let text = target.replace('~', "/consumer-api/service");
        let mut connection = Connection::open(app.addr).await;
        let fields = "Host: a\r\nx-tenant-id: acme\r\n";
        connection.send(format!("GET {text} HTTP/1.1\r\n{fields}\r\n")).await;
        let response = connection.response().await;
        assert_eq!(response.status, status, "{text}: {}", response.text());
    }
}
