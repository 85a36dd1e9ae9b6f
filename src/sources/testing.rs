//! A scripted HTTP server on loopback, and what the tests of this module share.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use super::lookup::{Looking, Lookup};
use super::{Outcome, RefreshOptions, Refresher, Settings, Source, SourceStatus};
use crate::clock::{Clock, Now};

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// Sends these octets, and ends the connection.
    Octets(Vec<u8>),
    /// Sends these octets, then one more each millisecond.
    Drip(Vec<u8>),
    /// Sends these octets, then nothing more.
    Stall(Vec<u8>),
    /// Sends the octets once the server is released.
    Held(Vec<u8>),
}

/// Replies by path, the last of which stands for all that follow; and what was asked.
#[derive(Default)]
struct Script {
    replies: HashMap<String, Vec<Reply>>,
    asked: Vec<String>,
    open: usize,
    most_open: usize,
}

/// A scripted HTTP server; it ends with the value.
pub(super) struct Server {
    addr: SocketAddr,
    script: Arc<Mutex<Script>>,
    asked: watch::Receiver<usize>,
    released: watch::Sender<bool>,
    serving: AbortHandle,
}

impl Server {
    /// Listens on a free port, and answers 404 to everything.
    pub(super) async fn start() -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let script = Arc::<Mutex<Script>>::default();
        let (count, asked) = watch::channel(0);
        let (released, release) = watch::channel(false);
        let (shared, count) = (script.clone(), Arc::new(count));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone(), count.clone(), release.clone()));
            }
        });
        Server { addr, script, asked, released, serving: serving.abort_handle() }
    }

    /// A path's address.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Its port.
    pub(super) fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Replies so to a path from now on.
    pub(super) fn script(&self, path: &str, replies: impl Into<Vec<Reply>>) {
        self.script.lock().unwrap().replies.insert(path.to_owned(), replies.into());
    }

    /// The heads of all requests since this was last called.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.script.lock().unwrap().asked)
    }

    /// Waits until so many requests have come in all.
    pub(super) async fn until_asked(&self, count: usize) {
        self.asked.clone().wait_for(|asked| *asked >= count).await.unwrap();
    }

    /// Lets the held replies go.
    pub(super) fn release(&self) {
        self.released.send_replace(true);
    }

    /// The most connections that were open at once.
    pub(super) fn most_open(&self) -> usize {
        self.script.lock().unwrap().most_open
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// One connection: a request, a reply.
async fn serve(
    mut stream: TcpStream,
    script: Arc<Mutex<Script>>,
    count: Arc<watch::Sender<usize>>,
    mut release: watch::Receiver<bool>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(octet) => head.push(octet),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let reply = {
        let mut script = script.lock().unwrap();
        let path = head.split(' ').nth(1).unwrap_or_default();
        let reply = match script.replies.get_mut(path) {
            None => Reply::Octets(status("404 Not Found")),
            Some(replies) if replies.len() > 1 => replies.remove(0),
            Some(replies) => replies[0].clone(),
        };
        script.asked.push(head.to_ascii_lowercase());
        script.open += 1;
        script.most_open = script.most_open.max(script.open);
        reply
    };
    count.send_modify(|count| *count += 1);
    // Whoever asked may be gone by now, on purpose.
    let _ = match reply {
        Reply::Octets(octets) => stream.write_all(&octets).await,
        Reply::Held(octets) => {
            release.wait_for(|released| *released).await.unwrap();
            stream.write_all(&octets).await
        }
        Reply::Stall(octets) => {
            stream.write_all(&octets).await.unwrap();
            stream.read_u8().await.map(drop)
        }
        Reply::Drip(octets) => {
            stream.write_all(&octets).await.unwrap();
            let mut tick = tokio::time::interval(Duration::from_millis(1));
            while stream.write_all(b"x").await.is_ok() {
                tick.tick().await;
            }
            Ok(())
        }
    };
    script.lock().unwrap().open -= 1;
}

/// A reply without a body.
pub(super) fn status(line: &str) -> Vec<u8> {
    reply(&format!("HTTP/1.1 {line}"), b"")
}

/// A whole reply: status line, more headers, body.
pub(super) fn reply(head: &str, body: &[u8]) -> Vec<u8> {
    let mut octets =
        format!("{head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    octets.extend_from_slice(body);
    octets
}

/// 200 with a body.
pub(super) fn ok(body: impl AsRef<[u8]>) -> Reply {
    Reply::Octets(reply("HTTP/1.1 200 OK", body.as_ref()))
}

/// A list of so many names.
pub(super) fn list(entries: usize) -> String {
    let mut text = "# A list\n\n".to_owned();
    (0..entries).for_each(|entry| text.push_str(&format!("0.0.0.0 host-{entry}.example\n")));
    text
}

/// Knows one host, at loopback.
pub(super) struct Hosts(pub(super) &'static str);

impl Lookup for Hosts {
    fn lookup<'a>(&'a self, host: &'a str) -> Looking<'a> {
        Box::pin(async move {
            match host {
                "empty.test" => Ok(Vec::new()),
                known if known == self.0 => Ok(vec![IpAddr::from(Ipv4Addr::LOCALHOST)]),
                _ => Err("nobody answered".to_owned()),
            }
        })
    }
}

/// Time that a test moves by hand.
pub(super) struct Hand(Mutex<Duration>);

/// The wall time that [`Hand`] shows first, in Unix seconds.
pub(super) const START: i64 = 1_700_000_000;

impl Hand {
    /// Shows [`START`].
    pub(super) fn new() -> Arc<Hand> {
        Arc::new(Hand(Mutex::new(Duration::ZERO)))
    }

    /// Moves on.
    pub(super) fn advance(&self, seconds: u64) {
        *self.0.lock().unwrap() += Duration::from_secs(seconds);
    }

    /// Seconds since [`START`].
    pub(super) fn seconds(&self) -> u64 {
        self.0.lock().unwrap().as_secs()
    }
}

impl Clock for Hand {
    fn now(&self) -> Now {
        let mono = *self.0.lock().unwrap();
        Now { mono, wall: START + i64::try_from(mono.as_secs()).unwrap() }
    }
}

/// The key that signed [`SIGNED`].
pub(super) const KEY: &str = "RWSmIjnFXf+oj8LKajl+Aey61KC3OXkhfVyY+0sYHiG2+wAjGnUkPwfn";
/// A list.
pub(super) const SIGNED: &str = "0.0.0.0 signed.example\n0.0.0.0 second.example\n";
/// Its signature by the key's owner.
pub(super) const SIGNATURE: &str = "untrusted comment: signature of the test list
RUSmIjnFXf+ojwxWmUj0+6OwkwidMZhnXmzWYIq2sMfo7kAdHeQL4KtGvTQtqdErWfnYDV4pwybr178LfxxuKhPQYVN/pjfQuwM=
trusted comment: file:signed.list
zJRpDozJbwDNLYGxs7sM7mnEkWX5nTudKgOuETxhY1xOmlw787DQMZ8zp3y7s8QVApQGri+1TKkIT90qIkfTBQ==
";
/// Its signature by somebody else.
pub(super) const OTHER_SIGNATURE: &str = "untrusted comment: signature of the test list
RUTH50wbBMi4e6hdbA+8GTfff16vR3P21IMPxY0A3iDJFe4MIhFkNGwmuV8bo+KY6TvxqxtOQFoU0sxyBDQmC5Q/v2WPGa0Luww=
trusted comment: file:signed.list
6OqhUBYnDGnjAjsNl34xgku/8xWxoFQwNlrhdhfNSAhWiPcTVgwQ6aWrZbYlKLTU6zW+5QeLLwsf7R59qEhTAA==
";

/// Another key, whose owner dates what it signs.
pub(super) const DATING_KEY: &str = "RWRzaW5rc2NvcKK51/nHB+KBl5N73/MfDvaez/aouW0PVDmqdI/yrC1Y";
/// The version after [`SIGNED`].
pub(super) const NEWER: &str = "0.0.0.0 signed.example\n0.0.0.0 third.example\n";
/// The signature of [`SIGNED`] by that key, of a second.
pub(super) const DATED_SIGNATURE: &str = "untrusted comment: signature of the test list
RURzaW5rc2NvcLGsaXnL20dEIN1jIGcM3f19239UgqLzQwAeF8yFXI5kApnC2qbqgc7MejV1zTNM1XehbjD/iY+pTsOUlpJ6gAU=
trusted comment: timestamp:1700000000\tfile:signed.list\thashed
wrQO60I3JWj1YbtHEmx00gpZMdVz/ddYtODmX1UiFQruMG13kZStnNVU1P9SAoLPhS/Bu+U1/rxpngq8uBGeCA==
";
/// The signature of [`NEWER`] by that key, a minute later.
pub(super) const NEWER_SIGNATURE: &str = "untrusted comment: signature of the test list
RURzaW5rc2NvcFUvXsY66+f621Rpq3kIQ6LKauBa2rmwCJDV6/FD5v3mRO93RZJIQpmAGeC5j8qXY+10deUjm1+gF4EhbD5TRQU=
trusted comment: timestamp:1700000060\tfile:signed.list\thashed
YwKZTVeCqTLGzltGlw9ElPaR5YnkSO633vsdGPnN/YTjDRQTXSCp5KOOfxCjkSyat96X25psoHgs3FDMVHycCg==
";
/// A signature of [`SIGNED`] by that key that says no time.
pub(super) const UNDATED_SIGNATURE: &str = "untrusted comment: signature of the test list
RURzaW5rc2NvcLGsaXnL20dEIN1jIGcM3f19239UgqLzQwAeF8yFXI5kApnC2qbqgc7MejV1zTNM1XehbjD/iY+pTsOUlpJ6gAU=
trusted comment: file:signed.list
8Bw7w541LsJ8o3vyBRV74UaWaIqAKd4qo04+1AAiyM/ygw6WEXBIcpBUhVlsDz88KU5gN85EQEjUAH8ZMS57Cg==
";

/// A refresher of one source, and who hears of changes.
pub(super) struct Bench {
    pub(super) refresher: Refresher,
    pub(super) hints: mpsc::Receiver<()>,
}

/// A source called `x`, tried again within milliseconds.
pub(super) fn source(location: &str) -> Source {
    let mut source = Source::new("x", location.parse().unwrap());
    source.back_off = Duration::from_millis(1);
    source.limits.total = Duration::from_secs(20);
    source
}

/// Settings with a state folder and a host called `lists.test`.
pub(super) fn settings(state: &Path) -> Settings {
    Settings::new(Some(state.to_path_buf()), Arc::new(Hosts("lists.test")), Hand::new())
}

impl Bench {
    /// Keeps a source in a state folder.
    pub(super) fn new(source: Source, state: &Path) -> Bench {
        let (refresher, hints) = Refresher::new(vec![source], settings(state)).unwrap();
        Bench { refresher, hints }
    }

    /// Refreshes it.
    pub(super) async fn refresh(&self) -> Outcome {
        self.refresh_as(&RefreshOptions::default()).await
    }

    /// Refreshes it with a options.
    pub(super) async fn refresh_as(&self, options: &RefreshOptions) -> Outcome {
        let mut refreshed = self.refresher.refresh(None, options).await.unwrap();
        assert_eq!(refreshed.len(), 1);
        refreshed.remove(0).outcome
    }

    /// How it stands.
    pub(super) fn status(&self) -> SourceStatus {
        self.refresher.status().remove(0)
    }

    /// The copy.
    pub(super) fn copy(&self) -> Option<String> {
        fs::read_to_string(self.refresher.path("x").unwrap()).ok()
    }
}

/// Packed by gzip.
pub(super) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(text).unwrap();
    packer.finish().unwrap()
}

/// Packed by zstd.
pub(super) fn zstd(text: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest)
}

/// A zip of files; a name that ends with a slash is a folder.
pub(super) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut packer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for (name, content) in files {
        if name.ends_with('/') {
            packer.add_directory(*name, options).unwrap();
        } else {
            packer.start_file(*name, options).unwrap();
            packer.write_all(content).unwrap();
        }
    }
    packer.finish().unwrap().into_inner()
}
