use super::*;
use faults::{Answer, Fault, Proxy, When};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[path = "../../../tests/support/faults.rs"]
#[allow(dead_code, reason = "the tests of backends play the other faults")]
mod faults;

/// A server that answers 200 and `body` to everything that no fault is played for.
struct Server {
    proxy: Proxy,
    _behind: Proxy,
}

fn server() -> Server {
    Server::saying("body")
}

/// Of a body that is not read before its answer is handed out.
fn long() -> Vec<u8> {
    vec![b'x'; AHEAD as usize + 1]
}

impl Server {
    fn saying(body: impl Into<Vec<u8>>) -> Self {
        let behind = Proxy::before("http://127.0.0.1:1");
        behind.play(When::always(), Fault::Answers(Answer::status(200).with_body(body)));
        Self { proxy: Proxy::before(behind.url()), _behind: behind }
    }

    fn playing(when: When, fault: Fault) -> Self {
        server().and_playing(when, fault)
    }

    fn and_playing(self, when: When, fault: Fault) -> Self {
        self.proxy.play(when, fault);
        self
    }

    fn url(&self, path: &str) -> Url {
        format!("{}{path}", self.proxy.url()).parse().unwrap()
    }

    async fn get(&self, http: &Http) -> Result<Response> {
        http.send(http.request(Method::GET, self.url("/x?sig=canary"))).await
    }

    fn asked(&self) -> usize {
        self.proxy.asked().len()
    }
}

/// One that has no patience.
fn hasty() -> Http {
    Http { timeout: Duration::from_millis(100), ..Http::new().unwrap() }
}

fn busy(status: u16, wait: &str) -> Fault {
    Fault::Answers(Answer::status(status).with("retry-after", wait))
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let http = Http::new().unwrap();
    for fault in [busy(429, "0"), busy(503, "Fri, 01 Jan 2021 00:00:00 GMT"), Fault::status(500), Fault::Reset] {
        let server = Server::playing(When::nth(1), fault);
        assert_eq!(server.get(&http).await.unwrap().status(), 200);
        assert_eq!(server.asked(), 2);
    }
    for status in [400, 401, 403, 404, 409, 412, 501] {
        let server = Server::playing(When::nth(1), Fault::status(status));
        assert_eq!(server.get(&http).await.unwrap().status(), status);
        assert_eq!(server.asked(), 1, "{status}");
    }
}

#[tokio::test]
async fn what_stays_is_given_up() {
    let http = Http::new().unwrap().with_attempts(2);
    let server = Server::playing(When::always(), Fault::status(503));
    assert_eq!(server.get(&http).await.unwrap().status(), 503);
    assert_eq!(server.asked(), 2);
    let server = Server::playing(When::always(), Fault::Reset);
    let error = server.get(&http).await.unwrap_err();
    assert_eq!((error.kind(), server.asked()), (Kind::Unavailable, 2));
    assert!(!error.to_string().contains("canary"), "{error}");
    // Where nobody listens, nobody will in a moment.
    let nobody = http.request(Method::GET, "http://127.0.0.1:1/".parse().unwrap());
    assert_eq!(http.send(nobody).await.unwrap_err().kind(), Kind::Unavailable);
}

#[tokio::test]
async fn what_changes_things_is_sent_once() {
    let http = Http::new().unwrap();
    let server = Server::playing(When::nth(1), Fault::status(503));
    let post = || http.request(Method::POST, server.url("/x"));
    assert_eq!(http.send(post()).await.unwrap().status(), 503);
    server.proxy.heal();
    server.proxy.play(When::nth(1), Fault::Reset);
    assert_eq!(http.send(post()).await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(server.asked(), 1);
    assert_eq!(http.send_as(post(), Repeat::Safe).await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_server_says_how_long_to_wait() {
    let http = Http::new().unwrap();
    let server = Server::playing(When::nth(1), busy(429, "1"));
    let begun = std::time::Instant::now();
    assert_eq!(server.get(&http).await.unwrap().status(), 200);
    assert!(begun.elapsed() >= Duration::from_secs(1));

    let server = Server::playing(When::always(), busy(429, "3600"));
    let response = server.get(&http).await.unwrap();
    let error = fault("it", &response);
    assert_eq!((error.kind(), server.asked()), (Kind::Unavailable, 1), "an hour is too long");
    assert_eq!(error.hint(), Some("it asks to try again in 3600 s"));
}

#[tokio::test]
async fn credentials_stay_at_their_origin() {
    let (http, server, elsewhere) = (Http::new().unwrap(), server(), server());
    let to = |place: String| Fault::Answers(Answer::status(307).with("location", &place));
    server.proxy.play(When::always().of("/far"), to(format!("{}/there", elsewhere.proxy.url())));
    server.proxy.play(When::always().of("/near"), to("/here".to_owned()));
    let secrets = ["authorization", "cookie", "x-amz-security-token", "x-ms-date"];
    for path in ["/near", "/far"] {
        let mut request = http.request(Method::GET, server.url(path));
        for name in secrets.into_iter().chain(["accept"]) {
            request.headers_mut().insert(name, HeaderValue::from_static("canary"));
        }
        assert_eq!(http.send(request).await.unwrap().status(), 200);
    }
    let near = server.proxy.asked().into_iter().find(|asked| asked.line == "GET /here").unwrap();
    assert_eq!(near.headers[AUTHORIZATION], "canary");
    let far = &elsewhere.proxy.asked()[0];
    assert_eq!(far.header("accept"), Some("canary"));
    secrets.iter().for_each(|name| assert_eq!(far.header(name), None, "{name}"));
}

#[tokio::test]
async fn redirects_are_followed_so_far() {
    let http = Http::new().unwrap();
    let server = Server::playing(When::always(), Fault::Answers(Answer::status(302).with("location", "/again")));
    assert_eq!(server.get(&http).await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(server.asked(), REDIRECTS + 1);
    assert_eq!(server.get(&http.clone().without_redirects()).await.unwrap().status(), 302);
    let post = http.request(Method::POST, server.url("/x"));
    assert_eq!(http.send(post).await.unwrap().status(), 302, "only what reads is sent elsewhere");
    let server = Server::playing(When::always(), Fault::Answers(Answer::status(302).with("location", "file:///etc")));
    assert_eq!(server.get(&http).await.unwrap_err().kind(), Kind::Corrupt);
}

#[tokio::test]
async fn nothing_public_leads_into_a_private_network() {
    for (from, to, allowed) in [
        ("https://192.0.2.1", "https://198.51.100.1", true),
        ("https://192.0.2.1", "http://198.51.100.1", false),
        ("http://192.0.2.1", "http://198.51.100.1", true),
        ("https://192.0.2.1", "https://127.0.0.1", false),
        ("https://192.0.2.1", "https://localhost", false),
        ("https://192.0.2.1", "https://a.localhost", false),
        ("https://192.0.2.1", "https://10.1.2.3", false),
        ("https://192.0.2.1", "https://169.254.169.254", false),
        ("https://192.0.2.1", "https://[::1]", false),
        ("https://192.0.2.1", "https://[::ffff:127.0.0.1]", false),
        ("https://192.0.2.1", "https://[fd00::1]", false),
        ("https://192.0.2.1", "https://0.0.0.0", false),
        ("http://127.0.0.1:1", "http://127.0.0.1:2", true),
        ("http://10.0.0.1", "http://127.0.0.1", true),
    ] {
        let decided = allow(&from.parse().unwrap(), &to.parse().unwrap()).await;
        assert_eq!(decided.is_ok(), allowed, "{from} -> {to}");
        assert!(decided.is_ok() || decided.is_err_and(|e| e.kind() == Kind::Denied));
    }
}

#[tokio::test]
async fn silence_ends() {
    let http = hasty();
    let server = Server::playing(When::always(), Fault::Stall);
    let error = server.get(&http).await.unwrap_err();
    assert_eq!((error.kind(), server.asked()), (Kind::Unavailable, 1));
    assert!(error.to_string().ends_with("nothing came for 0.1 s"), "{error}");

    let server = Server::playing(When::always(), Fault::StallHalfway);
    let error = server.get(&http).await.unwrap_err();
    assert_eq!((error.kind(), server.asked()), (Kind::Unavailable, 1));

    let server = Server::saying(long()).and_playing(When::always(), Fault::StallHalfway);
    let patient = Http { timeout: Duration::from_secs(20), ..http.clone() };
    let response = server.get(&patient).await.unwrap();
    assert_eq!(http.bytes(response, u64::MAX).await.unwrap_err().kind(), Kind::Unavailable);
    let mut read = Vec::new();
    let mut reader = http.reader(server.get(&patient).await.unwrap());
    let error = reader.read_to_end(&mut read).await.unwrap_err();
    assert_eq!((error.kind(), read.len()), (io::ErrorKind::TimedOut, long().len() / 2));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_asked_for_again() {
    let http = Http::new().unwrap().with_attempts(2);
    for fault in [Fault::ResetHalfway, Fault::WrongLength] {
        let server = Server::playing(When::nth(1), fault.clone());
        let response = server.get(&http).await.unwrap();
        assert_eq!(response.url(), &server.url("/x?sig=canary"), "it is known where it came from");
        assert_eq!(http.bytes(response, 100).await.unwrap(), "body");
        assert_eq!(server.asked(), 2);

        let server = Server::playing(When::always(), fault);
        let error = server.get(&http).await.unwrap_err();
        assert_eq!((error.kind(), server.asked()), (Kind::Unavailable, 2));
        assert!(!error.to_string().contains("canary"), "{error}");
    }
}

#[tokio::test]
async fn a_long_body_that_is_not_whole_is_no_body() {
    let http = Http::new().unwrap();
    for fault in [Fault::ResetHalfway, Fault::WrongLength] {
        let server = Server::saying(long()).and_playing(When::always(), fault);
        let error = http.bytes(server.get(&http).await.unwrap(), u64::MAX).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(!error.to_string().contains("canary"), "{error}");
        let mut reader = http.reader(server.get(&http).await.unwrap());
        assert!(reader.read_to_end(&mut Vec::new()).await.is_err());
        assert_eq!(server.asked(), 2, "it is streamed, once");
    }
    let whole = Server::saying(long());
    assert_eq!(http.bytes(whole.get(&http).await.unwrap(), u64::MAX).await.unwrap(), long());
}

#[tokio::test]
async fn a_body_has_its_limit() {
    let (http, server) = (Http::new().unwrap(), server());
    assert_eq!(http.bytes(server.get(&http).await.unwrap(), 4).await.unwrap(), "body");
    assert_eq!(http.bytes(server.get(&http).await.unwrap(), 3).await.unwrap_err().kind(), Kind::Invalid);
}

/// A server that reads so much of each request, a little at a time, and answers once it has all of `length` bytes.
async fn slow(length: usize, reads: usize) -> Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let (mut read, mut piece) = (0, vec![0; 1 << 20]);
        while read < reads {
            read += connection.read(&mut piece).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        match reads >= length {
            true => connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap(),
            false => std::future::pending().await,
        }
    });
    url
}

#[tokio::test]
async fn who_goes_on_taking_a_body_may_take_long() {
    let length = 64 << 20;
    let put = async |reads| {
        let mut request = hasty().request(Method::PUT, slow(length, reads).await);
        *request.body_mut() = Some(vec![7; length].into());
        let begun = std::time::Instant::now();
        (hasty().send(request).await.map(|response| response.status().as_u16()), begun.elapsed())
    };
    let (answer, took) = put(length).await;
    assert_eq!(answer.unwrap(), 200);
    assert!(took > hasty().timeout * 3, "it took {took:?}, which shows nothing");
    let (answer, _) = put(length / 4).await;
    assert_eq!(answer.unwrap_err().kind(), Kind::Unavailable, "who stops is not waited for");
}

#[test]
fn urls_are_shown_without_secrets() {
    let url = "https://me:canary@h.example:8443/a/b?sig=canary#canary".parse().unwrap();
    assert_eq!(shown(&url), "https://h.example:8443/a/b");
}
