//! What each error says, what helps, and whether waiting does.

use std::time::Duration;

use reqwest::StatusCode;

use super::*;

/// One error of each kind: what it says, what helps, and whether it may pass.
#[test]
fn each_says_what_is_wrong_and_what_helps() {
    const BROWSER: &str = "look at the address in a browser";
    const DAMAGED: &str = "the server has a damaged file; it may be mended at the next refresh";
    const TAMPERED: &str = "if the list has a new key, change minisign; else somebody has tampered with it";
    let disk = |work, kind| SourceError::disk(work, &io::Error::new(kind, "it is odd"));
    let spec = |error| SourceError::Spec { name: "x".into(), error };
    let day = Duration::from_secs(86_400);
    let half = Duration::from_millis(500);
    let cases: Vec<(SourceError, &str, &str, bool)> = vec![
        (SourceError::TooMany { most: 9 }, "there are more than 9 sources", "", false),
        (
            SourceError::SameName { name: "A".into(), other: "a".into() },
            "two sources are called A and a",
            "give each a name of its own; case does not count",
            false,
        ),
        (
            spec(SpecError::Name { name: "a/b".into(), longest: 64 }),
            "source x: \"a/b\" cannot be a source's name: use letters, digits, `-`, `_` and `.`, up to 64, the first no dot",
            "",
            false,
        ),
        (
            spec(SpecError::TooOften { shortest: day }),
            "source x: it would be refreshed more often than every 86400 s",
            "",
            false,
        ),
        (
            spec(SpecError::TooSeldom { longest: day }),
            "source x: it would be refreshed less often than every 86400 s",
            "",
            false,
        ),
        (
            spec(SpecError::Retries { most: 10, longest: day }),
            "source x: retries are at most 10, the first after 86400 s at most",
            "",
            false,
        ),
        (spec(SpecError::NoPercentage), "source x: max_shrink is a percentage: 0 to 100", "", false),
        (
            spec(SpecError::VouchedFile),
            "source x: sha256 and minisign are for downloads; who may write a file here may write both",
            "",
            false,
        ),
        (
            spec(SpecError::SignatureWithoutKey),
            "source x: signature is given without minisign, the key to check it by",
            "",
            false,
        ),
        (spec(SpecError::NoLimit), "source x: a limit of nothing lets nothing in", "", false),
        (
            spec(SpecError::NoLocation),
            "source x: a source is a file, a folder or a URL; this is empty",
            "",
            false,
        ),
        (
            spec(SpecError::NoUrl { text: "a://".into(), error: "odd".into() }),
            "source x: \"a://\" is no URL: odd",
            "",
            false,
        ),
        (spec(SpecError::FileUrl("/x".into())), "source x: write a file as a path: /x", "", false),
        (
            spec(SpecError::Scheme("ftp".into())),
            "source x: ftp:// is not fetched; there are http:// and https://",
            "",
            false,
        ),
        (
            spec(SpecError::Password),
            "source x: a password in a URL would end up in logs; lists are fetched without one",
            "",
            false,
        ),
        (
            spec(SpecError::NoDigest("ab".into())),
            "source x: \"ab\" is no SHA-256 digest: it has 64 hexadecimal digits, as sha256sum prints",
            "",
            false,
        ),
        (
            spec(SpecError::NoKey("ab".into())),
            "source x: \"ab\" is no minisign public key: it is the line that starts with RW",
            "",
            false,
        ),
        (LocalError::NotFound.into(), "there is no such file or folder", "check the path", false),
        (
            LocalError::Denied.into(),
            "permission to read it is denied",
            "let the user that Sinkscope runs as read it",
            false,
        ),
        (LocalError::Unreadable("odd".into()).into(), "it cannot be read: odd", "", false),
        (LocalError::NeitherFileNorFolder.into(), "it is neither a file nor a folder", "", false),
        (
            disk(DiskWork::OpenFolder, io::ErrorKind::PermissionDenied),
            "the folder of lists cannot be used: it is odd",
            "let the user that Sinkscope runs as write the state folder",
            false,
        ),
        (
            disk(DiskWork::WriteDownload, io::ErrorKind::StorageFull),
            "the download cannot be written: it is odd",
            "make room where the state folder is",
            false,
        ),
        (
            disk(DiskWork::ReadDownload, io::ErrorKind::QuotaExceeded),
            "the download cannot be read back: it is odd",
            "make room where the state folder is",
            false,
        ),
        (
            disk(DiskWork::KeepCopy, io::ErrorKind::TimedOut),
            "the copy cannot be kept: it is odd",
            "look after the state folder",
            false,
        ),
        (SourceError::NotLookedAt("odd".into()), "it could not be looked at: odd", "", false),
        (SourceError::NotWorkedOn("odd".into()), "the download could not be worked on: odd", "", false),
        (
            NetworkError::HostNotFound("odd".into()).into(),
            "its host was not found: odd",
            "check the name; if no server is to be asked for it, set addresses",
            true,
        ),
        (NetworkError::ConnectTimedOut.into(), "its server could not be connected to in time", "", true),
        (
            NetworkError::NotConnected("odd".into()).into(),
            "its server could not be connected to: odd",
            "",
            true,
        ),
        (
            NetworkError::Untrusted("odd".into()).into(),
            "its certificate is not to be trusted: odd",
            "somebody is in between, the server is misconfigured, or this machine's clock is wrong",
            false,
        ),
        (NetworkError::NotAsked("odd".into()).into(), "it cannot be asked for: odd", "", false),
        (
            NetworkError::Redirect(BadRedirect::GivesUpTls).into(),
            "it redirects from https:// to http://, which is not followed",
            "use the address that it leads to",
            false,
        ),
        (
            NetworkError::Redirect(BadRedirect::TooMany { most: 5 }).into(),
            "it redirects more than 5 times",
            "use the address that it leads to",
            false,
        ),
        (
            NetworkError::Redirect(BadRedirect::Other("odd".into())).into(),
            "odd",
            "use the address that it leads to",
            false,
        ),
        (NetworkError::Broke("odd".into()).into(), "the connection broke: odd", "", true),
        (
            NetworkError::Stalled { window: half, octets: 17 }.into(),
            "it stalled: too little came within 0.5 s, 17 octets in all",
            "",
            true,
        ),
        (
            NetworkError::TookTooLong { limit: day }.into(),
            "it took longer than 86400 s",
            "if the server is just slow, raise the source's time limit",
            true,
        ),
        (
            SourceError::CutOff { error: NetworkError::Broke("odd".into()), octets: 5000 },
            "the connection broke: odd after 5 KiB",
            "",
            true,
        ),
        (
            PackedError::Damaged("odd".into()).into(),
            "it is packed and cannot be unpacked: odd",
            DAMAGED,
            false,
        ),
        (
            PackedError::TooManyMembers { most: 1000 }.into(),
            "it is packed and cannot be unpacked: it has more than 1000 files",
            DAMAGED,
            false,
        ),
        (
            PackedError::Bomb { served: 17, ratio: 100 }.into(),
            "17 octets unpack to more than 100 times as much, as no list does",
            "it looks like an attack; if it is none, have it served unpacked",
            false,
        ),
        (PackedError::Twice.into(), "it is packed twice", "have it served packed once", false),
        (
            PackedError::Foreign("xz").into(),
            "it is packed with xz, which is not unpacked here",
            "take it as gzip, zstd or zip, or unpacked",
            false,
        ),
        (
            PackedError::NotOneFile(2).into(),
            "it is a zip of 2 files, so that nobody can say which is the list",
            "take the list itself, or a zip of it alone",
            false,
        ),
        (ListError::Empty.into(), "it is empty", BROWSER, false),
        (
            ListError::WebPage.into(),
            "a web page came instead of a list",
            "the list has moved, or a login or consent page is in between: look at the address in a browser",
            false,
        ),
        (
            ListError::NotText.into(),
            "it is not text",
            "take it as UTF-8, unpacked or as gzip, zstd or zip",
            false,
        ),
        (
            ListError::TooLarge { most: 5 << 20 }.into(),
            "it is larger than 5 MiB",
            "if that is right, raise the source's max_size",
            false,
        ),
        (
            ListError::OtherDigest { served: "ab".into(), pinned: "cd".into() }.into(),
            "its SHA-256 is ab, not the cd that the source must have",
            "if the list has rightly changed, change sha256; else somebody has tampered with it",
            false,
        ),
        (
            ListError::Unusable("odd".into()).into(),
            "it is no list that can be used: odd",
            "look at the address in a browser, and check the source's format",
            false,
        ),
        (
            ListError::TooFew { entries: 0, least: 1 }.into(),
            "it has 0 entries, and must have 1 at least",
            "look at the address in a browser; if that is right, lower the source's min_entries",
            false,
        ),
        (
            ListError::Shrunk { name: "x".into(), entries: 1, before: 9 }.into(),
            "it has 1 entries where the last good copy has 9",
            "if that is right, take it once with `sinkscope lists refresh x --allow-shrink`",
            false,
        ),
        (
            SignatureError::NoMinisign.into(),
            "its signature is no minisign signature",
            "say where it is: signature = \"https://...\"",
            false,
        ),
        (SignatureError::OtherKey.into(), "it is signed by another key than the source's", TAMPERED, false),
        (SignatureError::Wrong.into(), "its signature is wrong", TAMPERED, false),
        (
            SignatureError::Older { name: "x".into(), signed: Some(1), before: 2 }.into(),
            "it was signed at 1970-01-01T00:00:01Z; a version signed at 1970-01-01T00:00:02Z was taken before",
            "an older version is being served: ask its publisher; if that is meant, remove lists/x.json from the state \
             folder while the server is down",
            false,
        ),
        (
            SignatureError::Older { name: "x".into(), signed: None, before: 2 }.into(),
            "its signature does not say when it was made; a version signed at 1970-01-01T00:00:02Z was taken before",
            "an older version is being served: ask its publisher; if that is meant, remove lists/x.json from the state \
             folder while the server is down",
            false,
        ),
    ];
    for (error, message, hint, may_pass) in cases {
        assert_eq!((&*error.message(), &*error.hint(), error.may_pass()), (message, hint, may_pass));
        let shown = if hint.is_empty() { message.to_owned() } else { format!("{message} ({hint})") };
        assert_eq!(error.to_string(), shown);
        // A try that failed again says so, and is what it was otherwise.
        let again = SourceError::Again { error: Box::new(error.clone()), tries: 4 };
        assert_eq!(again.message(), format!("{message}, tried 4 times"));
        assert_eq!((&*again.hint(), again.may_pass()), (hint, may_pass));
        // A signature that did not come is looked for elsewhere, whatever was wrong.
        let unsigned = SourceError::NoSignature { place: "http://x/".into(), error: Box::new(error) };
        assert_eq!(unsigned.message(), format!("its signature at http://x/: {message}"));
        assert_eq!(unsigned.hint(), "say where the signature is: signature = \"https://...\"");
        assert_eq!(unsigned.may_pass(), may_pass);
    }
}

#[test]
fn what_statuses_mean() {
    let browser = "look at the address in a browser";
    let elsewhere = "the list is no longer there: find where it went";
    let closed = "it does not give the list to everybody: look at the address in a browser";
    for (status, may_pass, hint) in [
        (204, false, browser),
        (206, false, browser),
        (304, false, browser),
        (400, false, browser),
        (401, false, closed),
        (403, false, closed),
        (404, false, elsewhere),
        (407, false, closed),
        (408, true, ""),
        (410, false, elsewhere),
        (425, true, ""),
        (429, false, "it is asked too often: raise the source's refresh"),
        (500, true, ""),
        (503, true, ""),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let error = NetworkError::Status(status);
        assert_eq!((error.hint(), error.may_pass()), (hint, may_pass), "{status}");
        assert_eq!(error.to_string(), format!("the server said {status}"));
    }
}
