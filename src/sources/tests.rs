//! Downloads good and bad against a scripted server: whatever comes, the last good copy stands and the state shows why.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;

use super::testing::{Hand, Hosts, Reply, START, Server, list, ok, reply, status};
use super::*;

/// The key that signed [`SIGNED`].
const KEY: &str = "RWSmIjnFXf+oj8LKajl+Aey61KC3OXkhfVyY+0sYHiG2+wAjGnUkPwfn";
/// A list.
const SIGNED: &str = "0.0.0.0 signed.example\n0.0.0.0 second.example\n";
/// Its signature by the key's owner.
const SIGNATURE: &str = "untrusted comment: signature of the test list
RUSmIjnFXf+ojwxWmUj0+6OwkwidMZhnXmzWYIq2sMfo7kAdHeQL4KtGvTQtqdErWfnYDV4pwybr178LfxxuKhPQYVN/pjfQuwM=
trusted comment: file:signed.list
zJRpDozJbwDNLYGxs7sM7mnEkWX5nTudKgOuETxhY1xOmlw787DQMZ8zp3y7s8QVApQGri+1TKkIT90qIkfTBQ==
";
/// Its signature by somebody else.
const OTHER_SIGNATURE: &str = "untrusted comment: signature of the test list
RUTH50wbBMi4e6hdbA+8GTfff16vR3P21IMPxY0A3iDJFe4MIhFkNGwmuV8bo+KY6TvxqxtOQFoU0sxyBDQmC5Q/v2WPGa0Luww=
trusted comment: file:signed.list
6OqhUBYnDGnjAjsNl34xgku/8xWxoFQwNlrhdhfNSAhWiPcTVgwQ6aWrZbYlKLTU6zW+5QeLLwsf7R59qEhTAA==
";

/// A keeper of one source, and who hears of changes.
struct Bench {
    keeper: Keeper,
    hints: mpsc::Receiver<()>,
}

/// A source called `x`, tried again within milliseconds.
fn source(location: &str) -> Source {
    let mut source = Source::new("x", location.parse().unwrap());
    source.back_off = Duration::from_millis(1);
    source.limits.total = Duration::from_secs(20);
    source
}

/// Settings with a state folder and a host called `lists.test`.
fn settings(state: &Path) -> Settings {
    Settings::new(Some(state.to_path_buf()), Arc::new(Hosts("lists.test")), Hand::new())
}

impl Bench {
    /// Keeps a source in a state folder.
    fn new(source: Source, state: &Path) -> Bench {
        let (keeper, hints) = Keeper::new(vec![source], settings(state)).unwrap();
        Bench { keeper, hints }
    }

    /// Refreshes it.
    async fn refresh(&self) -> Outcome {
        self.refresh_as(&Wish::default()).await
    }

    /// Refreshes it with a wish.
    async fn refresh_as(&self, wish: &Wish) -> Outcome {
        let mut refreshed = self.keeper.refresh(None, wish).await.unwrap();
        assert_eq!(refreshed.len(), 1);
        refreshed.remove(0).outcome
    }

    /// How it stands.
    fn status(&self) -> SourceStatus {
        self.keeper.status().remove(0)
    }

    /// The copy.
    fn copy(&self) -> Option<String> {
        fs::read_to_string(self.keeper.path("x").unwrap()).ok()
    }
}

/// Packed by gzip.
fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(text).unwrap();
    packer.finish().unwrap()
}

/// Packed by zstd.
fn zstd(text: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest)
}

/// A zip of files; a name that ends with a slash is a folder.
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
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

/// A list that packs a thousand times: one line, for more than may be unpacked of anything.
fn monotony() -> Vec<u8> {
    b"0.0.0.0 bomb.example\n".repeat(60_000)
}

/// Each line: what comes, what the error says, and how often it was asked for.
#[tokio::test]
async fn nothing_bad_replaces_the_good_copy() {
    type Edit = fn(&mut Source);
    fn same(_: &mut Source) {}
    fn once(source: &mut Source) {
        source.retries = 0;
    }
    fn signed(source: &mut Source) {
        source.minisign = KEY.parse().ok();
    }
    fn pinned(source: &mut Source) {
        source.sha256 = "ab".repeat(32).parse().ok();
    }
    fn small(source: &mut Source) {
        source.limits.max_octets = 8000;
    }
    fn impatient(source: &mut Source) {
        (source.retries, source.limits.total) = (1, Duration::from_millis(30));
    }
    fn wants_flow(source: &mut Source) {
        (source.retries, source.limits.stall_window) = (1, Duration::from_millis(30));
    }
    let octets = |head: &str, body: &[u8]| Reply::Octets(reply(head, body));
    let cut = |mut whole: Vec<u8>| {
        whole.truncate(whole.len() / 2);
        Reply::Octets(whole)
    };
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n";
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\na.b\n\n\r\n";
    let page = b"<!DOCTYPE html><title>Sorry</title>";
    let two_files = zip(&[("a", list(100).as_bytes()), ("b", b"x")]);
    let cases: Vec<(&str, Edit, Reply, &str, usize)> = vec![
        (
            "500",
            same,
            octets("HTTP/1.1 500 Oh", &[]),
            "the server said 500 Internal Server Error, tried 4 times",
            4,
        ),
        ("503", same, Reply::Octets(status("503 Busy")), "503", 4),
        ("404", same, Reply::Octets(status("404 Not Found")), "404", 1),
        ("403", same, Reply::Octets(status("403 Forbidden")), "403", 1),
        ("204", same, Reply::Octets(status("204 No Content")), "204", 1),
        ("206", same, octets("HTTP/1.1 206 Partial", list(100).as_bytes()), "206", 1),
        ("half a body", once, cut(reply("HTTP/1.1 200 OK", list(100).as_bytes())), "the connection broke", 1),
        ("half a body, chunked", once, Reply::Octets(chunked.to_vec()), "the connection broke", 1),
        ("half a body, each time", same, Reply::Octets(head.to_vec()), "tried 4 times", 4),
        ("no HTTP", once, Reply::Octets(b"220 ftp.example\r\n".to_vec()), "the connection broke", 1),
        ("nothing", once, Reply::Octets(Vec::new()), "the connection broke", 1),
        ("an HTML page", same, ok(page), "a web page came", 1),
        ("an HTML page, packed", same, ok(gzip(page)), "a web page came", 1),
        (
            "HTML by its type",
            same,
            octets("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8", b" <p>"),
            "a web page came",
            1,
        ),
        ("empty", same, ok(""), "it is empty", 1),
        ("empty, packed", same, ok(gzip(b"")), "it is empty", 1),
        ("comments alone", same, ok("# sorry\n\n! none today\n"), "it has 0 entries, and must have 1", 1),
        ("ten times shrunk", same, ok(list(10)), "it has 10 entries where the last good copy has 100", 1),
        ("shrunk by one too many", same, ok(list(49)), "it has 49 entries where", 1),
        ("too few", |source| source.min_entries = 101, ok(list(100)), "must have 101 at least", 1),
        ("binary", same, ok(b"\x7fELF\0\0\0"), "it is not text", 1),
        ("UTF-16", same, ok(b"\xff\xfea\0.\0b\0"), "it is not text", 1),
        ("xz", same, ok(b"\xfd7zXZ\0\0\x04"), "packed with xz", 1),
        ("a gzip bomb", same, ok(gzip(&monotony())), "unpack to more than 100 times", 1),
        ("a zstd bomb", same, ok(zstd(&monotony())), "unpack to more than 100 times", 1),
        ("a zip bomb", same, ok(zip(&[("a", &monotony())])), "unpack to more than 100 times", 1),
        ("half a gzip", same, ok(&gzip(list(100).as_bytes())[..200]), "cannot be unpacked", 1),
        ("half a zstd", same, ok(&zstd(list(100).as_bytes())[..200]), "cannot be unpacked", 1),
        ("half a zip", same, ok(&zip(&[("a", list(100).as_bytes())])[..200]), "cannot be unpacked", 1),
        ("a zip of two", same, ok(two_files), "a zip of 2 files", 1),
        ("a zip of none", same, ok(zip(&[])), "a zip of 0 files", 1),
        ("packed twice", same, ok(gzip(&gzip(list(100).as_bytes()))), "packed twice", 1),
        ("larger than allowed, as it says", small, ok(list(999)), "it is larger than 8 KiB", 1),
        (
            "larger than allowed, unsaid",
            small,
            Reply::Drip(b"HTTP/1.0 200 OK\r\n\r\n".iter().copied().chain([b'a'; 8001]).collect()),
            "it is larger than 8 KiB",
            1,
        ),
        (
            "larger than allowed, unpacked",
            small,
            ok(gzip(list(999).as_bytes())),
            "it is larger than 8 KiB",
            1,
        ),
        ("another digest", pinned, ok(list(100)), "not the abababab", 1),
        ("no signature", signed, ok(SIGNED), "its signature at http", 1),
        ("a drip", wants_flow, Reply::Drip(head.to_vec()), "it stalled", 2),
        ("a stall", wants_flow, Reply::Stall(head.to_vec()), "it stalled", 2),
        ("a drip for too long", impatient, Reply::Drip(head.to_vec()), "it took longer than 0.03 s", 2),
        ("silence", impatient, Reply::Stall(Vec::new()), "it took longer than 0.03 s", 2),
        (
            "a loop",
            same,
            octets("HTTP/1.1 302 Found\r\nLocation: /list", &[]),
            "it redirects more than 5 times",
            6,
        ),
        ("a way to nowhere", same, octets("HTTP/1.1 302 Found\r\nLocation: ftp://x/", &[]), "", 1),
        ("a redirect without a way", same, Reply::Octets(status("302 Found")), "302", 1),
        (
            "not modified, to nobody's question",
            |source| source.sha256 = Some(Digest([0; 32])),
            Reply::Octets(status("304 Not Modified")),
            "304",
            1,
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    for (what, edit, bad, part, asked) in cases {
        let state = dir.path().join(what);
        server.script("/list", [ok(list(100))]);
        let mut given = source(&server.url("/list"));
        let mut before = Bench::new(given.clone(), &state);
        assert_eq!(before.refresh().await, Outcome::Changed, "{what}");
        assert_eq!(before.hints.try_recv(), Ok(()), "{what}");
        drop(before);
        server.asked();

        edit(&mut given);
        server.script("/list", [bad]);
        let mut bench = Bench::new(given.clone(), &state);
        let Outcome::Failed(error) = bench.refresh().await else { panic!("{what}") };
        assert!(error.message.contains(part), "{what}: {error}");
        assert!(
            error.retryable == (asked > 1) || ["a loop"].contains(&what) || given.retries == 0,
            "{what}: {error:?}"
        );
        let lists = server.asked().iter().filter(|head| head.starts_with("get /list ")).count();
        assert_eq!(lists, asked, "{what}");
        assert_eq!(bench.copy(), Some(list(100)), "{what}");
        assert!(bench.hints.try_recv().is_err(), "{what}");
        let status = bench.status();
        assert_eq!((status.state, status.entries, status.failures), (SourceState::Failing, 100, 1), "{what}");
        let failure = status.last_error.unwrap();
        assert_eq!((&failure.message, &failure.hint), (&error.message, &error.hint), "{what}");
        assert!(failure.at >= START, "{what}");
        assert!(table(&bench.keeper.status()).contains(failure.message.get(..20).unwrap_or("")), "{what}");
        let left: Vec<_> =
            fs::read_dir(state.join("lists")).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{what}: {left:?}");

        // The next start knows of it; and when all is well again, so is this.
        drop(bench);
        let mut again = Bench::new(source(&server.url("/list")), &state);
        assert_eq!((again.status().failures, again.status().state), (1, SourceState::Failing), "{what}");
        server.script("/list", [ok(list(101))]);
        assert_eq!(again.refresh().await, Outcome::Changed, "{what}");
        assert_eq!(again.hints.try_recv(), Ok(()), "{what}");
        let status = again.status();
        assert_eq!((status.state, status.entries, status.failures), (SourceState::Fresh, 101, 0), "{what}");
        assert_eq!((status.last_error, again.copy()), (None, Some(list(101))), "{what}");
    }
}

/// Each line: what comes, and the copy it becomes.
#[tokio::test]
async fn what_is_good_is_taken() {
    let text = list(100);
    let page_like = format!("# <html>\n{text}");
    let longer = format!("{text}more\n");
    let digest = examine::sha256(text.as_bytes());
    let packed_digest = examine::sha256(&gzip(text.as_bytes()));
    let plain = |_: &mut Source| {};
    let pin = |digest: Digest| move |source: &mut Source| source.sha256 = Some(digest);
    let sign = |source: &mut Source| source.minisign = KEY.parse().ok();
    let typed = reply("HTTP/1.1 200 OK\r\nContent-Type: text/html", text.as_bytes());
    let encoded = reply("HTTP/1.1 200 OK\r\nContent-Encoding: gzip", &gzip(text.as_bytes()));
    let unsized_ = [b"HTTP/1.0 200 OK\r\n\r\n", text.as_bytes()].concat();
    let frames = [zstd(text.as_bytes()), zstd(b"more\n")].concat();
    let folder_zip: &[(&str, &[u8])] = &[("dir/", b""), ("dir/list", text.as_bytes())];
    let moved = |to: &str| Reply::Octets(reply(&format!("HTTP/1.1 301 Moved\r\nLocation: {to}"), b""));
    let busy = || Reply::Octets(status("503 Busy"));
    let cases: Vec<(&str, Box<dyn Fn(&mut Source)>, Vec<Reply>, &str)> = vec![
        ("plain", Box::new(plain), vec![ok(&text)], &text),
        ("of unknown length", Box::new(plain), vec![Reply::Octets(unsized_)], &text),
        ("called HTML, and none", Box::new(plain), vec![Reply::Octets(typed)], &text),
        ("about HTML", Box::new(plain), vec![ok(&page_like)], &page_like),
        ("gzip", Box::new(plain), vec![ok(gzip(text.as_bytes()))], &text),
        ("gzip on the way", Box::new(plain), vec![Reply::Octets(encoded)], &text),
        ("zstd", Box::new(plain), vec![ok(zstd(text.as_bytes()))], &text),
        ("zstd in frames", Box::new(plain), vec![ok(frames)], &longer),
        ("zip", Box::new(plain), vec![ok(zip(&[("list", text.as_bytes())]))], &text),
        ("zip with a folder", Box::new(plain), vec![ok(zip(folder_zip))], &text),
        ("after two failures", Box::new(plain), vec![busy(), Reply::Octets(Vec::new()), ok(&text)], &text),
        ("moved", Box::new(plain), vec![moved("/list"), moved("list?2"), ok(&text)], &text),
        ("its digest", Box::new(pin(digest)), vec![ok(&text)], &text),
        ("its digest, packed on the way", Box::new(pin(digest)), vec![ok(gzip(text.as_bytes()))], &text),
        ("the digest as packed", Box::new(pin(packed_digest)), vec![ok(gzip(text.as_bytes()))], &text),
        ("signed", Box::new(sign), vec![ok(SIGNED)], SIGNED),
        ("signed, then packed", Box::new(sign), vec![ok(gzip(SIGNED.as_bytes()))], SIGNED),
    ];
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    for (what, edit, replies, expected) in cases {
        server.script("/list.minisig", [ok(SIGNATURE)]);
        server.script("/list?2", [replies.last().unwrap().clone()]);
        server.script("/list", replies);
        let mut given = source(&server.url("/list"));
        edit(&mut given);
        let mut bench = Bench::new(given, &dir.path().join(what));
        assert_eq!(bench.status().state, SourceState::Never, "{what}");
        assert_eq!(bench.refresh().await, Outcome::Changed, "{what}");
        assert_eq!(bench.copy().as_deref(), Some(expected), "{what}");
        assert_eq!(bench.hints.try_recv(), Ok(()), "{what}");
        let status = bench.status();
        assert_eq!(status.state, SourceState::Fresh, "{what}");
        assert_eq!(status.octets, expected.len() as u64, "{what}");
        assert_eq!(status.entries, entry_lines(expected.as_bytes()) as u64, "{what}");
        // The same once more is no news, though this server knows no conditions.
        assert_eq!(bench.refresh().await, Outcome::Unchanged, "{what}");
        assert!(bench.hints.try_recv().is_err(), "{what}");
    }
}

#[tokio::test]
async fn signatures() {
    type Edit = fn(&mut Source, &Server);
    let cases: [(&str, Edit, &str, Reply, &str); 7] = [
        ("right", |_, _| {}, SIGNED, ok(SIGNATURE), ""),
        ("somebody else's", |_, _| {}, SIGNED, ok(OTHER_SIGNATURE), "signed by another key"),
        ("of another list", |_, _| {}, "0.0.0.0 forged.example\n", ok(SIGNATURE), "its signature is wrong"),
        (
            "tampered with",
            |_, _| {},
            SIGNED,
            ok(SIGNATURE.replace("AdHeQL", "BdHeQL")),
            "its signature is wrong",
        ),
        ("no signature at all", |_, _| {}, SIGNED, ok(list(9)), "no minisign signature"),
        ("endless", |_, _| {}, SIGNED, ok(list(9999)), "larger than 16 KiB"),
        (
            "elsewhere",
            |source, server| source.signature = server.url("/elsewhere").parse().ok(),
            SIGNED,
            Reply::Octets(status("404 Not Found")),
            "",
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    server.script("/elsewhere", [ok(SIGNATURE)]);
    for (what, edit, text, signature, part) in cases {
        server.script("/list", [ok(text)]);
        server.script("/list.minisig", [signature]);
        let mut given = source(&server.url("/list"));
        given.minisign = KEY.parse().ok();
        edit(&mut given, &server);
        let bench = Bench::new(given, &dir.path().join(what));
        match bench.refresh().await {
            Outcome::Changed => assert_eq!(part, "", "{what}"),
            Outcome::Failed(error) => {
                assert!(!part.is_empty() && error.message.contains(part), "{what}: {error}");
                assert_eq!((bench.copy(), bench.status().state), (None, SourceState::Never), "{what}");
            }
            Outcome::Unchanged => panic!("{what}"),
        }
    }
}

#[tokio::test]
async fn requests_are_conditional_only_while_the_copy_is_what_they_are_about() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let first = reply(
        "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nLast-Modified: Tue, 01 Jul 2014 00:00:00 GMT",
        list(9).as_bytes(),
    );
    let unchanged = || Reply::Octets(status("304 Not Modified"));
    server.script("/list", [Reply::Octets(first), unchanged()]);
    server.script("/moved", [ok(list(2))]);
    let given = source(&server.url("/list"));
    let conditions = |server: &Server| {
        let asked = server.asked();
        let [head] = asked.as_slice() else { panic!("{asked:?}") };
        assert!(head.contains("\r\nuser-agent: sinkscope/"), "{head}");
        (
            head.contains("\r\nif-none-match: \"v1\"\r\n"),
            head.contains("\r\nif-modified-since: tue, 01 jul 2014"),
        )
    };

    let bench = Bench::new(given.clone(), dir.path());
    assert_eq!(bench.refresh().await, Outcome::Changed);
    assert_eq!(conditions(&server), (false, false));
    assert_eq!(bench.refresh().await, Outcome::Unchanged);
    assert_eq!(conditions(&server), (true, true));
    // Another run knows as much.
    let bench = Bench::new(given.clone(), dir.path());
    assert_eq!(bench.refresh().await, Outcome::Unchanged);
    assert_eq!(conditions(&server), (true, true));
    assert_eq!(bench.status().state, SourceState::Fresh);
    // Terms that the copy was not taken on.
    let mut pinned = given.clone();
    pinned.sha256 = Some(examine::sha256(list(9).as_bytes()));
    let Outcome::Failed(_) = Bench::new(pinned, dir.path()).refresh().await else { panic!() };
    assert_eq!(conditions(&server), (false, false));
    // A copy that is not the one told of: changed by hand, gone, or new when the program was killed.
    fs::write(copy_path(dir.path(), "x"), "0.0.0.0 other.example\n").unwrap();
    let Outcome::Failed(_) = bench.refresh().await else { panic!() };
    assert_eq!(conditions(&server), (false, false));
    server.script("/list", [ok(list(9))]);
    assert_eq!(bench.refresh().await, Outcome::Changed);
    assert_eq!(bench.copy(), Some(list(9)));
    // Another address: not bound by the entries of the old one's list.
    server.asked();
    let bench = Bench::new(source(&server.url("/moved")), dir.path());
    assert_eq!((bench.status().entries, bench.copy()), (9, Some(list(9))));
    assert_eq!(bench.refresh().await, Outcome::Changed);
    assert_eq!(conditions(&server), (false, false));
    assert_eq!((bench.status().entries, bench.copy()), (2, Some(list(2))));
}

#[tokio::test]
async fn a_smaller_list_is_taken_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    server.script("/list", [ok(list(100)), ok(list(10))]);
    let bench = Bench::new(source(&server.url("/list")), dir.path());
    assert_eq!(bench.refresh().await, Outcome::Changed);
    let Outcome::Failed(error) = bench.refresh().await else { panic!() };
    assert!(error.hint.contains("lists refresh x --allow-shrink"), "{error}");
    let wish = Wish { allow_shrink: true, ..Wish::default() };
    assert_eq!(bench.refresh_as(&wish).await, Outcome::Changed);
    assert_eq!((bench.status().entries, bench.copy()), (10, Some(list(10))));
    // From now on ten is the measure.
    assert_eq!(bench.refresh().await, Outcome::Unchanged);
}

#[tokio::test]
async fn who_knows_the_format_has_a_say() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    server.script("/list", [ok(list(100)), ok("odd\n")]);
    let accept = |name: &str, list: &[u8]| {
        assert_eq!(name, "x");
        if list.starts_with(b"odd") { Err("line 1 is odd".to_owned()) } else { Ok(7) }
    };
    let settings = Settings { accept: Arc::new(accept), ..settings(dir.path()) };
    let (keeper, hints) = Keeper::new(vec![source(&server.url("/list"))], settings).unwrap();
    let bench = Bench { keeper, hints };
    assert_eq!(bench.refresh().await, Outcome::Changed);
    assert_eq!(bench.status().entries, 7);
    let Outcome::Failed(error) = bench.refresh().await else { panic!() };
    assert_eq!(error.message, "it is no list that can be used: line 1 is odd");
    assert_eq!(bench.copy(), Some(list(100)));
    // What the loader found counts for more.
    bench.keeper.loaded("x", 6, 1);
    assert_eq!((bench.status().entries, bench.status().refused), (6, 1));
}

#[tokio::test]
async fn hosts_are_found_by_who_was_given() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    server.script("/list", [ok(list(9))]);
    let at = |host: &str| format!("http://{host}:{}/list", server.port());
    type Edit = fn(&mut Source);
    let cases: [(&str, Edit, &str); 5] = [
        ("lists.test", |_| {}, ""),
        ("empty.test", |_| {}, "its host was not found: empty.test has no address"),
        // The system knows this one.
        ("localhost", |_| {}, "its host was not found: nobody answered"),
        ("given.test", |source| source.addresses = vec!["127.0.0.1".parse().unwrap()], ""),
        ("127.0.0.1", |_| {}, ""),
    ];
    for (host, edit, part) in cases {
        let mut given = source(&at(host));
        edit(&mut given);
        match Bench::new(given, &dir.path().join(host)).refresh().await {
            Outcome::Changed => assert_eq!(part, "", "{host}"),
            Outcome::Failed(error) => {
                assert!(!part.is_empty() && error.message.contains(part), "{host}: {error}")
            }
            Outcome::Unchanged => panic!("{host}"),
        }
    }
    assert!(server.asked().iter().any(|head| head.contains(&format!("host: lists.test:{}", server.port()))));
}

#[tokio::test]
async fn a_start_without_network_has_the_copy() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    server.script("/list", [ok(list(100))]);
    let mut given = source(&server.url("/list"));
    assert_eq!(Bench::new(given.clone(), dir.path()).refresh().await, Outcome::Changed);
    given.retries = 1;
    drop(server);
    // Killed in the middle of a later download.
    fs::write(dir.path().join("lists/x.1.part"), "half").unwrap();

    let bench = Bench::new(given, dir.path());
    assert_eq!(bench.copy(), Some(list(100)));
    let status = bench.status();
    assert_eq!((status.state, status.entries), (SourceState::Fresh, 100));
    assert_eq!(status.octets, list(100).len() as u64);
    assert!(status.due_at.unwrap() > START + 70_000, "{status:?}");
    assert!(!dir.path().join("lists/x.1.part").exists());
    let Outcome::Failed(error) = bench.refresh().await else { panic!() };
    assert!(error.message.contains("could not be connected to"), "{error}");
    assert_eq!((bench.copy(), bench.status().state), (Some(list(100)), SourceState::Failing));
    assert!(bench.status().due_at.unwrap() < START + 400);
}

#[tokio::test]
async fn downloads_say_how_far_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    server.script("/list", [ok(list(1000))]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let watcher: Watcher = Arc::new({
        let seen = seen.clone();
        move |at: Progress<'_>| seen.lock().unwrap().push((at.name.to_owned(), at.octets, at.total))
    });
    let wish = Wish { watcher: Some(watcher), ..Wish::default() };
    let bench = Bench::new(source(&server.url("/list")), dir.path());
    assert_eq!(bench.refresh_as(&wish).await, Outcome::Changed);
    let seen = seen.lock().unwrap();
    let whole = list(1000).len() as u64;
    assert_eq!(seen.last(), Some(&("x".to_owned(), whole, Some(whole))));
    assert!(seen.is_sorted_by_key(|(_, octets, _)| *octets));
}
