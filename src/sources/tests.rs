//! Downloads against a scripted server: what is taken, on what condition, and how it shows.

use std::fs;
use std::sync::{Arc, Mutex};

use super::testing::{
    Bench, DATED_SIGNATURE, DATING_KEY, KEY, NEWER, NEWER_SIGNATURE, OTHER_SIGNATURE, Reply, SIGNATURE,
    SIGNED, START, Server, UNDATED_SIGNATURE, gzip, list, ok, reply, settings, source, status, zip, zstd,
};
use super::*;

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
    type Edit = Box<dyn Fn(&mut Source)>;
    let cases: Vec<(&str, Edit, Vec<Reply>, &str)> = vec![
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
    let failed = |error: SignatureError| Outcome::Failed(error.into());
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let endless = SourceError::NoSignature {
        place: server.url("/list.minisig"),
        error: Box::new(ListError::TooLarge { most: 16 << 10 }.into()),
    };
    let cases: [(&str, Edit, &str, Reply, Outcome); 7] = [
        ("right", |_, _| {}, SIGNED, ok(SIGNATURE), Outcome::Changed),
        ("somebody else's", |_, _| {}, SIGNED, ok(OTHER_SIGNATURE), failed(SignatureError::OtherKey)),
        (
            "of another list",
            |_, _| {},
            "0.0.0.0 forged.example\n",
            ok(SIGNATURE),
            failed(SignatureError::Wrong),
        ),
        (
            "tampered with",
            |_, _| {},
            SIGNED,
            ok(SIGNATURE.replace("AdHeQL", "BdHeQL")),
            failed(SignatureError::Wrong),
        ),
        ("no signature at all", |_, _| {}, SIGNED, ok(list(9)), failed(SignatureError::NoMinisign)),
        ("endless", |_, _| {}, SIGNED, ok(list(9999)), Outcome::Failed(endless)),
        (
            "elsewhere",
            |source, server| source.signature = server.url("/elsewhere").parse().ok(),
            SIGNED,
            Reply::Octets(status("404 Not Found")),
            Outcome::Changed,
        ),
    ];
    server.script("/elsewhere", [ok(SIGNATURE)]);
    for (what, edit, text, signature, expected) in cases {
        server.script("/list", [ok(text)]);
        server.script("/list.minisig", [signature]);
        let mut given = source(&server.url("/list"));
        given.minisign = KEY.parse().ok();
        edit(&mut given, &server);
        let bench = Bench::new(given, &dir.path().join(what));
        let outcome = bench.refresh().await;
        assert_eq!(outcome, expected, "{what}");
        if outcome != Outcome::Changed {
            assert_eq!((bench.copy(), bench.status().state), (None, SourceState::Never), "{what}");
        }
    }
}

#[tokio::test]
async fn an_older_signed_version_is_not_taken_again() {
    let older = "a version signed at 2023-11-14T22:14:20Z was taken before";
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let mut given = source(&server.url("/list"));
    given.minisign = DATING_KEY.parse().ok();
    // Each with a process of its own: it is on the disk what was taken. Served by another mirror it is no newer.
    for (what, path, text, signature, expected) in [
        ("undated, and nothing to compare with", "/list", SIGNED, UNDATED_SIGNATURE, Ok(SIGNED)),
        ("the first that is dated", "/list", SIGNED, DATED_SIGNATURE, Ok(SIGNED)),
        ("a newer one", "/list", NEWER, NEWER_SIGNATURE, Ok(NEWER)),
        ("the same again", "/list", NEWER, NEWER_SIGNATURE, Ok(NEWER)),
        ("an older one", "/list", SIGNED, DATED_SIGNATURE, Err(older)),
        ("an older one of another mirror", "/mirror", SIGNED, DATED_SIGNATURE, Err(older)),
        ("one that says no time", "/list", SIGNED, UNDATED_SIGNATURE, Err(older)),
    ] {
        server.script(path, [ok(text)]);
        server.script(&format!("{path}.minisig"), [ok(signature)]);
        given.location = server.url(path).parse().unwrap();
        let bench = Bench::new(given.clone(), dir.path());
        match (bench.refresh().await, expected) {
            (Outcome::Changed | Outcome::Unchanged, Ok(expected)) => {
                assert_eq!(bench.copy().as_deref(), Some(expected), "{what}");
            }
            (Outcome::Failed(error), Err(part)) => {
                assert!(error.message().contains(part), "{what}: {error}");
                assert_eq!(bench.copy().as_deref(), Some(NEWER), "{what}");
            }
            (outcome, _) => panic!("{what}: {outcome:?}"),
        }
    }
    // Another key begins anew: the operator says whom to believe.
    server.script("/list", [ok(SIGNED)]);
    server.script("/list.minisig", [ok(SIGNATURE)]);
    given.location = server.url("/list").parse().unwrap();
    given.minisign = KEY.parse().ok();
    let bench = Bench::new(given, dir.path());
    assert!(matches!(bench.refresh().await, Outcome::Changed));
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
    assert!(error.hint().contains("lists refresh x --allow-shrink"), "{error}");
    let options = RefreshOptions { allow_shrink: true, ..RefreshOptions::default() };
    assert_eq!(bench.refresh_as(&options).await, Outcome::Changed);
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
    let (refresher, hints) = Refresher::new(vec![source(&server.url("/list"))], settings).unwrap();
    let bench = Bench { refresher, hints };
    assert_eq!(bench.refresh().await, Outcome::Changed);
    assert_eq!(bench.status().entries, 7);
    let Outcome::Failed(error) = bench.refresh().await else { panic!() };
    assert_eq!(error, ListError::Unusable("line 1 is odd".to_owned()).into());
    assert_eq!(bench.copy(), Some(list(100)));
    // What the loader found counts for more.
    bench.refresher.loaded("x", 6, 1);
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
                assert!(!part.is_empty() && error.message().contains(part), "{host}: {error}")
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
    assert!(error.message().contains("could not be connected to"), "{error}");
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
    let options = RefreshOptions { watcher: Some(watcher), ..RefreshOptions::default() };
    let bench = Bench::new(source(&server.url("/list")), dir.path());
    assert_eq!(bench.refresh_as(&options).await, Outcome::Changed);
    let seen = seen.lock().unwrap();
    let whole = list(1000).len() as u64;
    assert_eq!(seen.last(), Some(&("x".to_owned(), whole, Some(whole))));
    assert!(seen.is_sorted_by_key(|(_, octets, _)| *octets));
}
