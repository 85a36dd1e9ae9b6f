//! Lines as they are documented in docs/query-log.md, to the letter.

use super::super::line::Line;
use super::super::{Format, Settings};
use super::*;
use crate::plain;

/// A record as a line without its end.
fn line(shown: &Shown<'_>, format: Format) -> String {
    let mut out = Vec::new();
    Line::of(shown).write(format, &mut out);
    let text = String::from_utf8(out).expect("UTF-8");
    assert!(text.bytes().filter(|octet| !octet.is_ascii_graphic() && *octet != b' ').eq([b'\n']), "{text:?}");
    text.trim_end_matches('\n').to_owned()
}

#[test]
fn lines_say_what_the_page_says() {
    let messages = messages("www.evil.example");
    let plain = record(&messages);
    let silent = Decided::By(Cause {
        action: Action::DROP,
        family: "",
        ..*Record { decided: sinkholed(), ..plain.clone() }.cause().unwrap()
    });
    for (record, json, text) in [
        (
            plain.clone(),
            r#"{"time":"2014-06-30T12:00:01.500000Z","client":"192.0.2.77","port":5353,"transport":"udp","qname":"www.evil.example","qtype":"A","qclass":"IN","rcode":"NOERROR","source":"cached","took_us":42,"answers":1,"size":75,"ede":[16,4],"verdict":"clear"}"#,
            "2014-06-30T12:00:01.500000Z 192.0.2.77 www.evil.example A NOERROR clear source=cached took=42us transport=udp port=5353 answers=1 size=75 ede=16,4",
        ),
        (
            Record { decided: sinkholed(), source: "forged", observed: vec!["try", "out"], ..plain.clone() },
            r#"{"time":"2014-06-30T12:00:01.500000Z","client":"192.0.2.77","port":5353,"transport":"udp","qname":"www.evil.example","qtype":"A","qclass":"IN","rcode":"NOERROR","source":"forged","took_us":42,"answers":1,"size":75,"ede":[16,4],"verdict":"sinkhole","order":"2:14-cv-00987","family":"Bladabindi","on":"qname","trigger":"evil.example","match":"subtree","observed":["try","out"]}"#,
            "2014-06-30T12:00:01.500000Z 192.0.2.77 www.evil.example A NOERROR sinkhole order=2:14-cv-00987 trigger=evil.example on=qname match=subtree family=Bladabindi observed=try,out source=forged took=42us transport=udp port=5353 answers=1 size=75 ede=16,4",
        ),
        (
            Record {
                decided: silent,
                source: "forged",
                reply: &[],
                transport: Transport::Tcp,
                client: addr("[::ffff:192.0.2.9]:1"),
                ..plain.clone()
            },
            r#"{"time":"2014-06-30T12:00:01.500000Z","client":"192.0.2.9","port":1,"transport":"tcp","qname":"www.evil.example","qtype":"A","qclass":"IN","source":"forged","took_us":42,"verdict":"drop","order":"2:14-cv-00987","on":"qname","trigger":"evil.example","match":"subtree"}"#,
            "2014-06-30T12:00:01.500000Z 192.0.2.9 www.evil.example A - drop order=2:14-cv-00987 trigger=evil.example on=qname match=subtree source=forged took=42us transport=tcp port=1",
        ),
    ] {
        let shown = shown(record);
        assert_eq!(line(&shown, Format::Json), json);
        assert_eq!(line(&shown, Format::Text), text);
    }
}

#[test]
fn what_others_write_stays_in_its_place() {
    // A line's end, a quote, an escape that clears a terminal, and octets that are no text.
    let messages = messages(r#"a\010b.\"}\;x.\027[2j.\200\255.example"#);
    let family = "x\n\u{202e}\"y z";
    let trigger = Trigger::new(1, MatchKind::SubtreeBelow);
    let cause = Cause { action: Action::NXDOMAIN, order: "o", family, trigger, matched: b"" };
    let group_of: super::super::GroupOf = Box::new(|_| Some("k\u{9b}ids\n".into()));
    let show = Show::new(&Settings::default(), &std::sync::Arc::new(group_of));
    let shown = show.show(Record { decided: Decided::By(cause), ..record(&messages) }, BEGAN).unwrap();
    let json = line_of_any(&shown, Format::Json);
    assert_eq!(json.lines().count(), 1);
    let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(read["qname"], r#"a\010b.\"}\;x.\027[2j.\200\255.example"#);
    assert_eq!((&read["family"], &read["group"]), (&family.into(), &"k\u{9b}ids\n".into()));
    assert!(plain::is_all_plain(&json), "{json}");
    let text = line_of_any(&shown, Format::Text);
    assert!(plain::is_all_plain(&text), "{text}");
    assert!(
        text.contains(r#" family="x\n\u202e\"y z" "#)
            && text.contains(r#" a\010b.\"}\;x.\027[2j.\200\255.example A "#),
        "{text}"
    );
}

/// A record as a line without its end, whatever is in it.
fn line_of_any(shown: &Shown<'_>, format: Format) -> String {
    let mut out = Vec::new();
    Line::of(shown).write(format, &mut out);
    assert_eq!(out.pop(), Some(b'\n'));
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn no_more_is_shown_of_clients_than_is_to_be_known() {
    let messages = messages("www.example.com");
    for (addresses, client, expected, port) in [
        (Addresses::Full, "192.0.2.77:53", Some("192.0.2.77"), Some(53)),
        (Addresses::Full, "[::ffff:192.0.2.77]:53", Some("192.0.2.77"), Some(53)),
        (Addresses::Prefix, "192.0.2.77:53", Some("192.0.2.0"), None),
        (Addresses::Prefix, "[::ffff:192.0.2.77]:53", Some("192.0.2.0"), None),
        (Addresses::Prefix, "[2001:db8:1:2ff:3::4]:53", Some("2001:db8:1:200::"), None),
        (Addresses::None, "192.0.2.77:53", None, None),
        (Addresses::None, "[2001:db8::1]:53", None, None),
    ] {
        let record = Record { client: addr(client), ..record(&messages) };
        let shown = show(addresses).show(record, BEGAN).unwrap();
        let read: serde_json::Value = serde_json::from_str(&line(&shown, Format::Json)).unwrap();
        assert_eq!(read.get("client").and_then(|client| client.as_str()), expected, "{client}");
        assert_eq!(read.get("port").and_then(|port| port.as_u64()), port, "{client}");
    }
}

#[test]
fn only_the_groups_that_are_asked_for_are_shown() {
    let messages = messages("www.example.com");
    for (groups, client, expected) in [
        (&[][..], "192.0.2.1:1", true),
        (&["kids"][..], "192.0.2.1:1", true),
        (&["kids"], "198.51.100.1:1", false),
        (&["kids", "default"], "198.51.100.1:1", true),
    ] {
        let groups = groups.iter().map(ToString::to_string).collect();
        let group_of: super::super::GroupOf = Box::new(|addr| {
            Some(if addr.to_string().starts_with("192.") { "kids" } else { "default" }.to_owned())
        });
        let show = Show::new(&Settings { groups, ..Settings::default() }, &std::sync::Arc::new(group_of));
        let record = Record { client: addr(client), ..record(&messages) };
        assert_eq!(show.show(record, BEGAN).is_some(), expected, "{client}");
    }
}
