//! What must never replace a good copy, a line a case.

use std::fs;
use std::time::Duration;

use tokio::task::JoinSet;

use super::testing::{
    Bench, KEY, Reply, SIGNED, START, Server, gzip, list, ok, reply, source, status, zip, zstd,
};
use super::{Digest, Outcome, Source, SourceError, SourceState, table};

/// A list that packs a thousand times: one line, for more than may be unpacked of anything.
fn monotony() -> Vec<u8> {
    b"0.0.0.0 bomb.example\n".repeat(60_000)
}

/// What is different about a source.
type Edit = fn(&mut Source);

/// Each line: what comes, what the error says, and how often it was asked for.
#[tokio::test]
async fn nothing_bad_replaces_the_good_copy() {
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
        // Long enough for a busy machine to ask, short enough to wait for.
        (source.retries, source.limits.total) = (0, Duration::from_millis(500));
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
    let names: Vec<String> = (0..1001).map(|number| format!("{number}/")).collect();
    let crowded = zip(&names.iter().map(|name| (name.as_str(), b"".as_slice())).collect::<Vec<_>>());
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
        ("a zip of a great many", same, ok(crowded), "more than 1000 files", 1),
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
        ("a drip for too long", impatient, Reply::Drip(head.to_vec()), "it took longer than 0.5 s", 1),
        ("silence", impatient, Reply::Stall(Vec::new()), "it took longer than 0.5 s", 1),
        (
            "a loop",
            same,
            octets("HTTP/1.1 302 Found\r\nLocation: /list", &[]),
            "it redirects more than 5 times",
            6,
        ),
        (
            "a way to nowhere",
            same,
            octets("HTTP/1.1 302 Found\r\nLocation: ftp://x/", &[]),
            "URL scheme is not allowed",
            1,
        ),
        ("a redirect without a way", same, Reply::Octets(status("302 Found")), "302", 1),
        (
            "not modified, to nobody's question",
            |source| source.sha256 = Some(Digest([0; 32])),
            Reply::Octets(status("304 Not Modified")),
            "304",
            1,
        ),
    ];
    // All at once: most of the time goes into waiting for the disk.
    let mut under_way = JoinSet::new();
    for (what, edit, bad, part, asked) in cases {
        under_way.spawn(holds(what, edit, bad, part, asked));
    }
    while let Some(held) = under_way.join_next().await {
        held.unwrap();
    }
}

/// Fetches what is good, then what is bad, then what is good again.
async fn holds(what: &'static str, edit: Edit, bad: Reply, part: &'static str, asked: usize) {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path();
    let server = Server::start().await;
    server.script("/list", [ok(list(100))]);
    let mut given = source(&server.url("/list"));
    let mut before = Bench::new(given.clone(), state);
    assert_eq!(before.refresh().await, Outcome::Changed, "{what}");
    assert_eq!(before.hints.try_recv(), Ok(()), "{what}");
    drop(before);
    server.asked();

    edit(&mut given);
    server.script("/list", [bad]);
    let mut bench = Bench::new(given.clone(), state);
    let Outcome::Failed(error) = bench.refresh().await else { panic!("{what}") };
    assert!(error.message().contains(part), "{what}: {error}");
    assert!(
        error.may_pass() == (asked > 1) || ["a loop"].contains(&what) || given.retries == 0,
        "{what}: {error:?}"
    );
    let lists = server.asked().iter().filter(|head| head.starts_with("get /list ")).count();
    assert_eq!(lists, asked, "{what}");
    // It says how often it was tried; redirects are no tries.
    let said = if let SourceError::Again { tries, .. } = error { tries as usize } else { 1 };
    assert_eq!(said, if what == "a loop" { 1 } else { asked }, "{what}: {error}");
    assert_eq!(bench.copy(), Some(list(100)), "{what}");
    assert!(bench.hints.try_recv().is_err(), "{what}");
    let status = bench.status();
    assert_eq!((status.state, status.entries, status.failures), (SourceState::Failing, 100, 1), "{what}");
    let failure = status.last_error.unwrap();
    assert_eq!((&*failure.message, &*failure.hint), (&*error.message(), &*error.hint()), "{what}");
    assert!(failure.at >= START, "{what}");
    assert!(table(&bench.refresher.status()).contains(failure.message.get(..20).unwrap_or("")), "{what}");
    let left: Vec<_> =
        fs::read_dir(state.join("lists")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{what}: {left:?}");

    // The next start knows of it; and when all is well again, so is this.
    drop(bench);
    let mut again = Bench::new(source(&server.url("/list")), state);
    assert_eq!((again.status().failures, again.status().state), (1, SourceState::Failing), "{what}");
    server.script("/list", [ok(list(101))]);
    assert_eq!(again.refresh().await, Outcome::Changed, "{what}");
    assert_eq!(again.hints.try_recv(), Ok(()), "{what}");
    let status = again.status();
    assert_eq!((status.state, status.entries, status.failures), (SourceState::Fresh, 101, 0), "{what}");
    assert_eq!((status.last_error, again.copy()), (None, Some(list(101))), "{what}");
}
