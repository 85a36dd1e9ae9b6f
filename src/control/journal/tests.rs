//! Torn, altered, moved and foreign journals.

use super::*;
use crate::control::record::{Match, Names};

/// A lift of that order, or of a name of it.
fn lift(order: &str, name: Option<&str>) -> Record {
    Record {
        verb: Verb::Lift,
        order: order.into(),
        names: name.map(|name| Names { name: name.into(), kind: Match::Exact }),
        standing: Some(RecordedStanding::Lifted),
        why: "settled \u{2713}".into(),
        ..blank(1_000_000_000, "uid 0")
    }
}

/// What stands, in words.
fn standing(journal: &Journal) -> Vec<String> {
    let shown = |statement: &crate::policy::Override| {
        let names = statement.names.as_ref().map_or(String::new(), |(name, _)| format!(" {name}"));
        format!("{}{names}", statement.order)
    };
    journal.stated().overrides().iter().map(shown).collect()
}

/// A folder whose journal lifts a, b and x.example of c; the journal's text.
fn three() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, problems) = Journal::open(dir.path(), 0).unwrap();
    assert!(problems.is_empty() && journal.path().is_some());
    journal.append(vec![lift("a", None)]).unwrap();
    journal.append(vec![lift("b", None), lift("c", Some("x.example"))]).unwrap();
    let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
    (dir, text)
}

#[test]
fn what_was_written_is_read_and_gone_on_with() {
    let (dir, text) = three();
    assert_eq!(text.lines().count(), 3);
    let (mut journal, problems) = Journal::open(dir.path(), 0).unwrap();
    assert_eq!((problems, standing(&journal)), (vec![], vec!["a".into(), "b".into(), "c x.example".into()]));
    let head = journal.head().to_string();
    let records = journal.append(vec![lift("d", None)]).unwrap();
    assert_eq!((records[0].seq, &records[0].prev), (4, &head));
    assert_eq!(Journal::open(dir.path(), 0).unwrap().0.records(), journal.records());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_tail_torn_anywhere_is_cut_off() {
    let (dir, text) = three();
    let path = dir.path().join(FILE);
    let last = text.trim_end().rfind('\n').unwrap() + 1;
    for end in last..text.len() {
        fs::write(&path, &text[..0]).unwrap();
        fs::write(&path, &text.as_bytes()[..end]).unwrap();
        let (mut journal, problems) = Journal::open(dir.path(), 0).unwrap();
        assert_eq!(standing(&journal), ["a", "b"], "torn at {end}");
        let warned =
            problems.iter().any(|problem| !problem.is_error() && problem.message.contains("cut off"));
        assert_eq!((warned, problems.len()), (end > last, usize::from(end > last)), "torn at {end}");
        // Whatever comes next stands behind what was whole.
        journal.append(vec![lift("d", None)]).unwrap();
        let (journal, problems) = Journal::open(dir.path(), 0).unwrap();
        assert_eq!((standing(&journal), problems), (vec!["a".into(), "b".into(), "d".into()], vec![]));
    }
}

#[test]
fn what_was_tampered_with_is_put_aside_and_the_rest_stands() {
    type Tamper = fn(&mut Vec<String>);
    let cases: [(&str, Tamper, &str, &[&str]); 6] = [
        (
            "a record altered",
            |lines| lines[0] = lines[0].replace("\"a\"", "\"z\""),
            "its hash is another",
            &["b", "c x.example"],
        ),
        (
            "the last altered",
            |lines| lines[2] = lines[2].replace("uid 0", "uid 1"),
            "its hash is another",
            &["a", "b"],
        ),
        (
            "a record taken out",
            |lines| drop(lines.remove(1)),
            "record 3 does not follow",
            &["a", "c x.example"],
        ),
        ("records swapped", |lines| lines.swap(0, 1), "record 2 does not follow", &["a", "b", "c x.example"]),
        (
            "a line of something else",
            |lines| lines.insert(1, "hello".into()),
            "is no record",
            &["a", "b", "c x.example"],
        ),
        (
            "the first taken out",
            |lines| drop(lines.remove(0)),
            "record 2 does not follow",
            &["b", "c x.example"],
        ),
    ];
    for (case, tamper, said, expected) in cases {
        let (dir, text) = three();
        let path = dir.path().join(FILE);
        let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
        tamper(&mut lines);
        let tampered = lines.join("\n") + "\n";
        fs::write(&path, &tampered).unwrap();
        let (journal, problems) = Journal::open(dir.path(), 77).unwrap();
        assert!(
            problems.iter().any(|problem| problem.is_error() && problem.message.contains(said)),
            "{case}: {problems:?}"
        );
        assert_eq!(standing(&journal), expected, "{case}");
        assert_eq!(
            fs::read_to_string(dir.path().join("orders.journal.refused-77")).unwrap(),
            tampered,
            "{case}"
        );
        // The next start finds a journal that is whole, and says where it came from.
        let (again, problems) = Journal::open(dir.path(), 78).unwrap();
        assert_eq!((standing(&again), problems), (standing(&journal), vec![]), "{case}");
        assert!(
            again
                .records()
                .iter()
                .all(|record| record.verb == Verb::Carry && record.why.contains("refused-77"))
        );
    }
}

#[test]
fn a_second_refused_journal_does_not_replace_the_first() {
    let dir = tempfile::tempdir().unwrap();
    for (text, kept) in [("one\n", "orders.journal.refused-5"), ("two\n", "orders.journal.refused-5-1")] {
        fs::write(dir.path().join(FILE), text).unwrap();
        assert!(Journal::open(dir.path(), 5).unwrap().0.stated().is_empty());
        assert_eq!(fs::read_to_string(dir.path().join(kept)).unwrap(), text);
    }
}

#[test]
fn what_cannot_be_read_is_no_empty_journal() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(FILE)).unwrap();
    let problem = Journal::open(dir.path(), 0).unwrap_err();
    assert!(problem.is_error() && problem.hint.contains("which orders were lifted"), "{problem}");
}

#[test]
fn two_servers_do_not_write_to_one_journal() {
    let (dir, _) = three();
    let (mut one, _) = Journal::open(dir.path(), 0).unwrap();
    let (mut other, _) = Journal::open(dir.path(), 0).unwrap();
    one.append(vec![lift("d", None)]).unwrap();
    let error = other.append(vec![lift("e", None)]).unwrap_err().to_string();
    assert!(error.contains("somebody else") && error.contains("nothing was changed"), "{error}");
    assert_eq!(other.records().len(), 3);
    one.append(vec![lift("f", None)]).unwrap();
    assert_eq!(Journal::open(dir.path(), 0).unwrap().0.records().len(), 5);
}

#[test]
fn a_journal_that_was_taken_away_is_put_back_whole() {
    let (dir, text) = three();
    let path = dir.path().join("state").join(FILE);
    fs::create_dir(dir.path().join("state")).unwrap();
    fs::rename(dir.path().join(FILE), &path).unwrap();
    let (mut journal, _) = Journal::open(&dir.path().join("state"), 0).unwrap();
    // With its folder, and a change comes.
    fs::remove_dir_all(dir.path().join("state")).unwrap();
    journal.append(vec![lift("d", None)]).unwrap();
    let four = fs::read_to_string(&path).unwrap();
    assert!(four.starts_with(&text) && four.lines().count() == 4, "{four}");
    // Alone, and nobody changes anything.
    fs::remove_file(&path).unwrap();
    journal.keep_in_place().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), four);
    // Brought back from a copy: another file with the same in it.
    fs::write(dir.path().join("copy"), &four).unwrap();
    fs::rename(dir.path().join("copy"), &path).unwrap();
    journal.append(vec![lift("e", None)]).unwrap();
    let audit = Journal::audit(&path).unwrap();
    assert_eq!((audit.records.len(), audit.breaks, audit.torn), (5, vec![], 0));
    // One that says something else: whatever was told as changed would be changed in one of them alone.
    fs::remove_file(&path).unwrap();
    fs::write(&path, &text).unwrap();
    let error = journal.append(vec![lift("f", None)]).unwrap_err().to_string();
    assert!(error.contains("another journal lies there") && error.contains("nothing was changed"), "{error}");
    assert!(journal.keep_in_place().is_err());
    assert_eq!((journal.records().len(), fs::read_to_string(&path).unwrap()), (5, text));
    // Moved away, as it says.
    fs::remove_file(&path).unwrap();
    journal.append(vec![lift("f", None)]).unwrap();
    assert_eq!(Journal::open(&dir.path().join("state"), 0).unwrap().0.records(), journal.records());
}

#[test]
fn a_journal_without_records_is_not_put_back() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let (mut journal, _) = Journal::open(&state, 0).unwrap();
    journal.hold().unwrap();
    fs::remove_dir_all(&state).unwrap();
    journal.keep_in_place().unwrap();
    assert!(!state.exists());
    journal.append(vec![lift("a", None)]).unwrap();
    assert_eq!(Journal::open(&state, 0).unwrap().0.records().len(), 1);
}

#[test]
fn what_is_wrong_with_a_line_is_told_in_words() {
    let nameless = Record { seq: 1, prev: NO_RECORD.into(), ..lift("a", Some("a..b")) }.seal().1;
    let (second, altered) = {
        let record = Record { seq: 2, prev: NO_RECORD.into(), ..lift("a", None) };
        let line = record.seal().1;
        (line.clone(), line.replace("uid 0", "uid 1"))
    };
    for (line, said) in [
        (b"\xff".as_slice(), "is no text"),
        (b"hello", "is no record: expected value at line 1 column 1"),
        (altered.as_bytes(), "is not what was written: its hash is another"),
        (nameless.as_bytes(), "has no name: \"a..b\""),
        (second.as_bytes(), "record 2 does not follow the one before"),
    ] {
        let problems = Journal::default().take(&[line, b"\n"].concat(), "j");
        assert_eq!(problems, [Problem::error("j", Some(1), said)]);
    }
}

#[test]
fn a_full_journal_takes_no_more() {
    let mut journal = Journal { octets: MAX_OCTETS, ..Journal::default() };
    let error = journal.append(vec![lift("a", None)]).unwrap_err();
    assert_eq!(error, JournalError::Full { most: MAX_OCTETS });
    assert_eq!(
        error.to_string(),
        "the journal would pass 67108864 octets: move it away while the server is down"
    );
    assert!(journal.records().is_empty());
}

#[test]
fn without_a_folder_it_is_in_memory() {
    let mut journal = Journal::in_memory();
    journal.append(vec![lift("a", None)]).unwrap();
    assert_eq!((standing(&journal), journal.path()), (vec!["a".into()], None));
}

#[cfg(unix)]
#[test]
fn a_journal_that_others_may_write_to_is_not_taken() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, _) = three();
    let path = dir.path().join(FILE);
    for (mode, expected) in [(0o600, None), (0o644, None), (0o606, Some("everybody may write to it"))] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let said = Journal::open(dir.path(), 0).err().map(|problem| problem.message);
        let fits =
            expected.is_none_or(|expected| said.as_ref().is_some_and(|said| said.starts_with(expected)));
        assert!(fits && said.is_some() == expected.is_some(), "{mode:o}: {said:?}");
    }
    // One that came into the place before the first record was written: it is empty, and not ours.
    fs::remove_file(&path).unwrap();
    let (mut journal, _) = Journal::open(dir.path(), 0).unwrap();
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let error = journal.append(vec![lift("a", None)]).unwrap_err();
    let JournalError::Unwritable { path: at, error } = error else { panic!("{error}") };
    assert!(at == path && error.starts_with("everybody may write to it"), "{error}");
}

#[test]
fn numbers_of_any_size_are_no_reason_to_panic() {
    let dir = tempfile::tempdir().unwrap();
    for (seq, unix, bound_s) in [(u64::MAX, i64::MAX, u32::MAX), (0, i64::MIN, 0), (2, -1, 1)] {
        let record = Record { seq, unix, bound_s: Some(bound_s), prev: NO_RECORD.into(), ..lift("a", None) };
        let next = Record { seq: seq.wrapping_add(1), ..record.clone() };
        let (first, second) = (record.seal(), next.seal());
        fs::write(dir.path().join(FILE), format!("{}\n{}\n", first.1, second.1)).unwrap();
        let (mut journal, problems) = Journal::open(dir.path(), i64::MAX).unwrap();
        assert!(problems.iter().any(Problem::is_error), "{seq}");
        // It goes on standing, and can be gone on with.
        assert_eq!(standing(&journal), ["a"], "{seq}");
        journal.append(vec![lift("b", None)]).unwrap();
        assert_eq!(standing(&Journal::open(dir.path(), 0).unwrap().0), ["a", "b"], "{seq}");
    }
}

#[test]
fn what_happens_beside_orders_joins_the_chain_and_leaves_it_room() {
    let (dir, _) = three();
    let (mut journal, _) = Journal::open(dir.path(), 0).unwrap();
    let stands = standing(&journal);
    let note = |verb| Record { verb, about: "ads".into(), now: "xxh3:1".into(), ..blank(0, "files") };
    let all = [Verb::Configure, Verb::List, Verb::Pause, Verb::Resume, Verb::LogIn, Verb::Refuse];
    journal.note(all.map(note).into()).unwrap();
    journal.append(vec![lift("d", None)]).unwrap();
    let head = journal.head().to_owned();
    drop(journal);
    let (mut journal, problems) = Journal::open(dir.path(), 0).unwrap();
    assert_eq!((problems, journal.records().len(), journal.head()), (vec![], 10, head.as_str()));
    assert_eq!(standing(&journal).len(), stands.len() + 1, "nothing else is stated");
    journal.octets = MAX_OTHERS + 1;
    assert_eq!(journal.note(vec![note(Verb::List)]).unwrap_err(), JournalError::Full { most: MAX_OTHERS });
}

#[test]
fn a_journal_of_before_is_read_as_it_was() {
    // Written when there were no records but of orders.
    let old = r#"{"seq":1,"at":"2026-01-01T00:00:00Z","unix":1767225600,"who":"blast limit","verb":"observe","order":"a","names":null,"standing":"observing","from":"in-force","why":"it would newly take 20.0 % of recent queries and 50.0 % of their names; the blast limit is 10 %","bound_s":10,"prev":"0000000000000000000000000000000000000000000000000000000000000000","sha256":"15429ee16c7717f906583ab6c5419d08ac6ed33aa7d0d0eb4199568bc96c14a1"}"#;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE), format!("{old}\n")).unwrap();
    let (mut journal, problems) = Journal::open(dir.path(), 0).unwrap();
    assert_eq!((problems, journal.records().len()), (vec![], 1));
    journal.note(vec![Record { verb: Verb::LogIn, ..blank(0, "uid 0") }]).unwrap();
    let audit = Journal::audit(&dir.path().join(FILE)).unwrap();
    assert_eq!((audit.records.len(), audit.breaks, audit.torn), (2, vec![], 0));
}

#[test]
fn an_audit_says_where_the_chain_breaks_and_whether_a_head_is_in_it() {
    let (dir, text) = three();
    let path = dir.path().join(FILE);
    let lines: Vec<&str> = text.lines().collect();
    let head = Journal::audit(&path).unwrap().head().to_owned();
    let all = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    for (text, records, breaks, torn, has_head) in [
        (text.clone(), 3, &[][..], 0, true),
        (format!("{text}{{\"seq\""), 3, &[], 6, true),
        // A shorter one is whole: the head alone tells.
        (all(&lines[..2]), 2, &[], 0, false),
        (all(&[lines[0], lines[2]]), 2, &[Some(2)], 0, true),
        (text.replacen("settled", "settlex", 2).replacen("settlex", "settled", 1), 2, &[Some(2)], 0, true),
        (String::new(), 0, &[], 0, false),
    ] {
        fs::write(&path, &text).unwrap();
        let audit = Journal::audit(&path).unwrap();
        let lines: Vec<Option<u32>> = audit.breaks.iter().map(|problem| problem.line).collect();
        assert_eq!((audit.records.len(), &lines[..], audit.torn), (records, breaks, torn), "{text}");
        assert_eq!(audit.with_hash(&head.to_uppercase()).is_some(), has_head, "{text}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "it is left as it is");
    }
}

#[test]
fn what_is_signed_is_believed_by_the_key_and_nothing_behind_it() {
    use crate::control::signing::{Signer, Verifier};
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let key = |octet: u8| {
        // PKCS #8 of these 32 octets.
        let head =
            [0x30, 0x2e, 0x02, 0x01, 0, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
        let text = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            [&head[..], &[octet; 32]].concat(),
        );
        let path = dir.path().join("key.pem");
        fs::write(&path, format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"))
            .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        Signer::read(&path).unwrap()
    };
    let (mine, other) =
        (Verifier::read(&key(1).public()).unwrap(), Verifier::read(&key(2).public()).unwrap());
    let path = dir.path().join(FILE);
    let signed_by = |key| {
        let audit = Journal::audit(&path).unwrap();
        let (signed, behind, wrong) = audit.signed_by(key);
        (audit.breaks.len(), signed, behind, wrong.map(|record| record.seq))
    };
    let (mut journal, _) = Journal::open(dir.path(), 0).unwrap();
    journal.append(vec![lift("a", None)]).unwrap();
    assert_eq!(signed_by(&mine), (0, 0, 1, None));
    journal.sign_with(Some(key(1)));
    assert_eq!(journal.append(vec![lift("b", None), lift("c", None)]).unwrap().len(), 2);
    assert_eq!(journal.records().len(), 4);
    assert_eq!((signed_by(&mine), signed_by(&other)), ((0, 3, 0, None), (0, 0, 4, Some(4))));
    // Who writes another history signs it by no key, or by his own.
    journal.sign_with(None);
    journal.append(vec![lift("d", None)]).unwrap();
    assert_eq!(signed_by(&mine), (0, 3, 1, None));
    journal.sign_with(Some(key(2)));
    journal.append(vec![lift("e", None)]).unwrap();
    assert_eq!(signed_by(&mine), (0, 3, 3, Some(7)));
    assert_eq!(standing(&Journal::open(dir.path(), 0).unwrap().0).len(), 5, "nothing else is stated");
}
